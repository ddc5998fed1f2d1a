"""The second layer: what makes a Debian a node of kind's.

kind's entrypoint, units and settings are taken out of its verified module as they stand, so that the node behaves as
kind's own does. Ours are the programs, and the network: kind's own plugin is an image on a registry, so Pods are
connected by a plain bridge, which is all that a node on its own needs.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.images.node.tarballs import Layer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KUBERNETES_PROGRAMS = ("kubeadm", "kubelet", "kubectl")
CONTAINERD_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "crictl", "ctr")
POD_SUBNET = "10.244.0.0/24"
"""What the first node gets of kind's default, 10.244.0.0/16."""

_UNITS = ("containerd", "kubelet", "undo-mount-hacks")
_LEFT_OUT = ("LICENSES/README.txt", "etc/systemd/system/containerd-fuse-overlayfs.service")
_PROGRAM_DIRECTORIES = ("kind/bin/", "usr/local/bin/")
_SANDBOX_IMAGE = re.compile(r'^(\s*sandbox_image = )".*"$', re.MULTILINE)
_HOOK = "/kind/bin/mount-product-files.sh"


def make_layer(
    target: Path, *, kind_files: Path, programs: Mapping[str, Path], version: str, pause: str, spec: str
) -> None:
    """Write the layer.

    Args:
        target: the file to write.
        kind_files: directory of kind's own files for a node image.
        programs: path of each of `KUBERNETES_PROGRAMS` and `CONTAINERD_PROGRAMS`.
        version: of Kubernetes, without the ``v``.
        pause: name of the image for sandboxes.
        spec: see `default_spec`.

    Raises:
        LabError: ``node-image-kind``: kind's files are not as they were.
    """
    with Layer(target) as layer:
        for file in sorted(kind_files.rglob("*")):
            name = str(file.relative_to(kind_files))
            if file.is_file() and name not in _LEFT_OUT:
                content = file.read_bytes()
                if name == "etc/containerd/config.toml":
                    content = containerd_config(content.decode(), pause).encode()
                layer.file(f"/{name}", content, mode=0o755 if name.startswith(_PROGRAM_DIRECTORIES) else 0o644)
        for unit in _UNITS:
            wanted_by = f"/etc/systemd/system/multi-user.target.wants/{unit}.service"
            layer.link(wanted_by, f"/etc/systemd/system/{unit}.service")
        for name in KUBERNETES_PROGRAMS:
            layer.file(f"/usr/bin/{name}", programs[name], mode=0o755)
        for name in CONTAINERD_PROGRAMS:
            layer.file(f"/usr/local/bin/{name}", programs[name], mode=0o755)
        layer.file("/etc/containerd/cri-base.json", base_spec(spec).encode())
        layer.file("/etc/cni/net.d/10-bridge.conflist", json.dumps(network(), indent=2).encode())
        layer.file("/kind/version", f"v{version}".encode())


def containerd_config(text: str, pause: str) -> str:
    """Kind's settings of containerd with the name of the sandbox image that this node has.

    Raises:
        LabError: ``node-image-kind``: they name none.
    """
    changed, count = _SANDBOX_IMAGE.subn(rf'\1"{pause}"', text)
    if count != 1:
        raise LabError(
            "node-image-kind",
            "kind's settings of containerd do not name the sandbox image as they did",
            hint="compare images/base/files of the pinned kind with lab/images/node/node_files.py",
        )
    return changed


def network() -> dict[str, Any]:
    """The CNI settings: one bridge with a fixed subnet, addresses hidden behind the node's, hostPorts."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_SUBNET}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "bridge", "plugins": [bridge, portmap]}


def base_spec(default: str) -> str:
    """What containerd starts every container from: its default, with kind's hook and without fixed limits.

    Args:
        default: what ``ctr oci spec`` prints.
    """
    spec: dict[str, Any] = json.loads(default)
    hooks = spec.setdefault("hooks", {}).setdefault("createContainer", [])
    hooks.append({"path": _HOOK})
    spec["process"].pop("rlimits", None)
    return json.dumps(spec)


def default_spec(ctr: Path) -> str:
    """What ``ctr oci spec`` prints.

    Raises:
        LabError: ``node-image-ctr``.
    """
    argv = [str(ctr), "oci", "spec"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError(
            "node-image-ctr",
            "containerd's client does not print the settings that a container starts from",
            hint="'lab components list --verify' tells whether the program is whole",
            context={"command": " ".join(argv), "ctr": done.stderr.strip()},
        )
    return done.stdout
