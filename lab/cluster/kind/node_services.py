"""What the lab runs on a kind node beside Kubernetes: its resolver, and the registry that containerd pulls from.

Both are units of the node's own systemd, which starts them before the container runtime; a file of the lab's makes
containerd's unit want them. So they are there before kubeadm runs, and again after a restart of the node. The programs
are the pinned ones of this machine, mounted read-only.

No name exists for the resolver, as on the embedded node: what the node knows stands in its ``/etc/hosts``. Docker's own
resolver would hand an unknown name on to the machine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.admission.boot import BOUNCER_NAMES
from lab.bouncer.reference import parse
from lab.cluster.kind import node_python
from lab.cluster.kind.layout import NODE_FILES
from lab.images.catalogue import CATALOGUE
from lab.images.endpoint import Endpoint, stored_name
from lab.images.private import HTPASSWD, PRIVATE_DOMAIN
from lab.images.registry import ENVIRONMENT, RegistryConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RESOLVER_ADDRESS = "169.254.169.254"
"""As on the embedded node; an address that Pods reach too, because their way out leads through the node."""
_BOOT_ADDRESS = "127.0.0.54"
"""Until the resolver runs: nobody answers there, and nothing asked there can leave the node."""
REGISTRY = Endpoint(address="127.0.0.1:5000")
PRIVATE_REGISTRY = Endpoint(address="127.0.0.1:5001")
_BIN = "/run/lab/bin"
CERTIFICATES = "/run/lab/certificates"
BOOT_BOUNCER = "boot-bouncer.yaml"
"""The static pod of the boot, by the name that it has on the node too."""
_BOOT_IMAGES = "boot-images"
_IMAGES = "/run/lab/images"
PROGRAMS = ("coredns", "registry")
"""Components that run on the node."""
UNITS = ("lab-resolver", "lab-registry", "lab-private-registry", "lab-boot-bouncer", "lab-boot-images")

_COREFILE = f"""\
. {{
    bind {RESOLVER_ADDRESS} {_BOOT_ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
    errors
}}
"""
_RESOLVER = f"""\
[Unit]
Description=The lab's resolver: no name exists
Before=containerd.service kubelet.service

[Service]
ExecStartPre=/bin/sh -c 'ip address replace {RESOLVER_ADDRESS}/32 dev lo'
ExecStartPre=/bin/sh -c 'grep -qw {BOUNCER_NAMES[0]} /etc/hosts || echo "127.0.0.1 {BOUNCER_NAMES[0]}" >> /etc/hosts'
ExecStart={_BIN}/coredns -conf {NODE_FILES}/Corefile
ExecStartPost=/bin/sh -c 'echo "nameserver {RESOLVER_ADDRESS}" > /etc/resolv.conf'
Restart=always
RestartSec=1
"""
_REGISTRY_UNIT = """\
[Unit]
Description=The lab's image registry ({name})
Before=containerd.service

[Service]
{environment}
ExecStart={program} serve {config}
Restart=always
RestartSec=1
"""
_BOOT_BOUNCER = f"""\
[Unit]
Description=The bouncer that answers until the lab's own is deployed
Before=containerd.service kubelet.service
ConditionPathExists={NODE_FILES}/{BOOT_BOUNCER}
ConditionPathExists=!/etc/kubernetes/admin.conf

[Service]
Type=oneshot
ExecStart=/bin/mkdir -p /etc/kubernetes/manifests
ExecStart=/bin/cp {NODE_FILES}/{BOOT_BOUNCER} /etc/kubernetes/manifests/
"""
_BOOT_IMAGES_UNIT = f"""\
[Unit]
Description=Pulls and unpacks what the kubelet is going to ask for, while the machine waits for other things
After=containerd.service
ConditionPathExists={NODE_FILES}/{_BOOT_IMAGES}
ConditionPathExists=!/etc/kubernetes/admin.conf

[Service]
Type=exec
ExecStart=/bin/sh {NODE_FILES}/{_BOOT_IMAGES}
Restart=on-failure
RestartSec=100ms
"""
"""kind may start containerd anew meanwhile. What is not there in time the kubelet pulls and unpacks, as ever."""
_BOOT_IMAGES_SCRIPT = """\
set -e
crictl pull {image}
set -- $(ctr -n k8s.io images ls 'name~="/kube-proxy"' | tail -n 1)
ctr -n k8s.io snapshots unpack "$3"
"""
"""The Service of the bouncer needs kube-proxy, whose image the node has, but packed."""
_WANTED = f"[Unit]\nWants={' '.join(f'{unit}.service' for unit in UNITS)}\n"
_HOSTS_TOML = """\
server = "{url}"
override_path = true

[host."{url}"]
  capabilities = ["pull", "resolve"]
  override_path = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMount:
    """Something of this machine that the lab puts on the node.

    Attributes:
        host_path: absolute, or below the lab's directory.
        container_path: on the node.
        read_only: whether the node may only read it.
    """

    host_path: str
    container_path: str
    read_only: bool = True


def write_files(root: Path, *, boot_bouncer: Mapping[str, Any] | None = None) -> None:
    """Write what the services are told, below a lab's directory.

    Args:
        root: the lab's directory.
        boot_bouncer: a static pod that the node has from its first boot on; None for none.
    """
    node = root / "node"
    for directory in (node, root / "certificates", root / "pki"):
        directory.mkdir(parents=True, exist_ok=True)
    (root / "resolv.conf").write_text(f"nameserver {_BOOT_ADDRESS}\n")
    bashrc = resources.files("lab.cluster.embedded").joinpath("bashrc").read_text()
    (node / "bashrc").write_text(f"{bashrc}\nalias k=kubectl\n")
    (node / "Corefile").write_text(_COREFILE)
    (node / "lab-resolver.service").write_text(_RESOLVER)
    (node / "lab-boot-bouncer.service").write_text(_BOOT_BOUNCER)
    (node / "lab-boot-images.service").write_text(_BOOT_IMAGES_UNIT)
    if boot_bouncer is not None:
        (node / BOOT_BOUNCER).write_text(yaml.safe_dump(dict(boot_bouncer)))
        image = boot_bouncer["spec"]["containers"][0]["image"]
        (node / _BOOT_IMAGES).write_text(_BOOT_IMAGES_SCRIPT.format(image=image))
    (node / "htpasswd").write_text(HTPASSWD)
    (node / "wanted.conf").write_text(_WANTED)
    node_python.write_files(root)
    registries = {
        "lab-registry": (REGISTRY, None),
        "lab-private-registry": (PRIVATE_REGISTRY, Path(NODE_FILES, "htpasswd")),
    }
    for unit, (endpoint, htpasswd) in registries.items():
        config = RegistryConfig(endpoint=endpoint, root=Path(_IMAGES), htpasswd=htpasswd, read_only=True)
        (node / f"{unit}.yaml").write_text(config.render())
        (node / f"{unit}.service").write_text(
            _REGISTRY_UNIT.format(
                name=endpoint.address,
                environment="\n".join(f"Environment={name}={value}" for name, value in ENVIRONMENT.items()),
                program=f"{_BIN}/registry",
                config=f"{NODE_FILES}/{unit}.yaml",
            )
        )
    for domain in domains():
        directory = root / "certs.d" / domain
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(_hosts(domain))


def mounts(programs: dict[str, Path], images: Path, python: Path) -> Iterator[NodeMount]:
    """What the lab puts on the node: the scenarios' certificates, the pki that kubeadm fills, what the services need.

    Args:
        programs: `PROGRAMS` by name.
        images: the storage that the registry serves.
        python: a Python with all that it needs, for the commands of `node_python`.
    """
    yield NodeMount(host_path="certificates", container_path=CERTIFICATES)
    yield NodeMount(host_path="pki", container_path="/etc/kubernetes/pki", read_only=False)
    yield NodeMount(host_path="node", container_path=NODE_FILES)
    # From the first moment on, or the node would begin with Docker's resolver, which asks the machine's.
    yield NodeMount(host_path="resolv.conf", container_path="/etc/resolv.conf", read_only=False)
    yield NodeMount(host_path="certs.d", container_path="/etc/containerd/certs.d")
    for program in PROGRAMS:
        yield NodeMount(host_path=str(programs[program].resolve()), container_path=f"{_BIN}/{program}")
    yield NodeMount(host_path=str(images.resolve()), container_path=_IMAGES)
    for unit in UNITS:
        yield NodeMount(host_path=f"node/{unit}.service", container_path=f"/etc/systemd/system/{unit}.service")
    yield NodeMount(host_path=str(python.resolve()), container_path=node_python.PYTHON)
    yield NodeMount(host_path=str(node_python.package()), container_path=node_python.PACKAGE)
    yield NodeMount(host_path=node_python.RUN_DIRECTORY, container_path=str(node_python.RUN), read_only=False)
    for command in node_python.COMMANDS:
        yield NodeMount(host_path=f"node/{command}", container_path=f"/usr/local/bin/{command}")
    yield NodeMount(host_path="node/wanted.conf", container_path="/etc/systemd/system/containerd.service.d/10-lab.conf")


def domains() -> tuple[str, ...]:
    """Every registry that the lab's own stands in for, sorted."""
    return tuple(sorted({parse(image.repository).domain for image in CATALOGUE}))


def _hosts(domain: str) -> str:
    endpoint = PRIVATE_REGISTRY if domain == PRIVATE_DOMAIN else REGISTRY
    return _HOSTS_TOML.format(url=endpoint.url(stored_name(domain, "").rstrip("/")))
