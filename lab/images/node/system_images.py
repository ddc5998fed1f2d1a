"""The images of a control plane, each made of one pinned program: no registry is asked for them.

Which images there must be, and under which names, kubeadm says itself; the kubelet looks them up by these names and
finds them in containerd's store. What is in them is the lab's: etcd, for example, is the pinned one, whatever version
kubeadm's name for it carries.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.images.node.tarballs import Layer
from lab.images.oci import CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lab.images.node.debian import Debian

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns")
"""Components that become images."""
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PROXY_PACKAGES = ("conntrack", "iptables", "nftables")
_IPTABLES = tuple(f"{family}{suffix}" for family in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore"))
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PAUSE = "/usr/bin/catatonit"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemImage:
    """An image for containerd's store.

    Attributes:
        name: full name, for example ``registry.k8s.io/pause:3.10.2``.
        layer: its one layer, an uncompressed tar archive.
        entrypoint: program and arguments.
    """

    name: str
    layer: Path
    entrypoint: tuple[str, ...]


def wanted_names(kubeadm: Path, version: str) -> tuple[str, ...]:
    """The images that kubeadm asks for, by its own word.

    Raises:
        LabError: ``node-image-kubeadm``.
    """
    argv = [str(kubeadm), "config", "images", "list", "--kubernetes-version", f"v{version}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    names = tuple(done.stdout.split())
    if done.returncode != 0 or not names:
        raise LabError(
            "node-image-kubeadm",
            "kubeadm does not say which images a control plane needs",
            hint="run it to see why; 'lab components list --verify' tells whether the program is whole",
            context={"command": " ".join(argv), "kubeadm": done.stderr.strip()},
        )
    return names


def pause_name(names: Sequence[str]) -> str:
    """The name of the image that every Pod's sandbox is made of."""
    return next(name for name in names if _short(name) == "pause")


def make_images(
    names: Sequence[str], programs: Mapping[str, Path], debian: Debian, work: Path
) -> tuple[SystemImage, ...]:
    """Make the images; their layers are written below a directory.

    Args:
        names: see `wanted_names`.
        programs: path of each of `PROGRAMS`.
        debian: where libraries, certificates and the pause program come from.
        work: an existing directory.

    Raises:
        LabError: ``node-image-unknown``: kubeadm wants an image that there is no program for.
    """
    images = []
    for name in names:
        program = _short(name)
        path = work / f"{program}.tar"
        with Layer(path) as layer:
            if program == "pause":
                # It starts nothing and reaps what is left to it: what a Pod's sandbox is for.
                layer.file("/pause", debian.open(_PAUSE), mode=0o755)
                entrypoint: tuple[str, ...] = ("/pause", "-P")
            elif program in PROGRAMS:
                _FILL.get(program, _nothing)(layer, debian)
                # Static pods name the program without a path.
                layer.file(f"/usr/local/bin/{program}", programs[program], mode=0o755)
                entrypoint = (f"/usr/local/bin/{program}",)
            else:
                raise LabError(
                    "node-image-unknown",
                    f"this version of kubeadm asks for an image that the lab has no program for: {name}",
                    hint="pin that program in lab/components/pins.py and name it in lab/images/node/system_images.py",
                )
        images.append(SystemImage(name=name, layer=path, entrypoint=entrypoint))
    return tuple(images)


def oci_archive(images: Sequence[SystemImage], architecture: str) -> Iterator[tuple[str, bytes | Path]]:
    """The images as members of one OCI archive, as ``ctr images import`` reads it."""
    manifests = []
    for image in images:
        with image.layer.open("rb") as file:
            layer = {
                "mediaType": LAYER_TYPE,
                "digest": f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}",
                "size": image.layer.stat().st_size,
            }
        yield _blob_name(layer), image.layer
        config, config_text = _document(CONFIG_TYPE, _config(image, layer["digest"], architecture))
        yield _blob_name(config), config_text
        body = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
        manifest, manifest_text = _document(MANIFEST_TYPE, body)
        yield _blob_name(manifest), manifest_text
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append({**manifest, "platform": platform, "annotations": {"io.containerd.image.name": image.name}})
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
    yield "index.json", json.dumps(index).encode()
    yield "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode()


def _config(image: SystemImage, diff_id: object, architecture: str) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": [PATH], "Entrypoint": list(image.entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "k8s-supply-chain-lab"}],
    }


def _document(media_type: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(text)}, text


def _blob_name(descriptor: Mapping[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1].partition(":")[0]


def _nothing(layer: Layer, debian: Debian) -> None:
    """A program that needs no other file."""


def _proxy_files(layer: Layer, debian: Debian) -> None:
    for directory in ("bin", "lib", "lib64", "sbin"):
        layer.link(f"/{directory}", f"usr/{directory}")
    for file in debian.files_of(_PROXY_PACKAGES):
        if file.target is None:
            layer.file(file.path, debian.open(file.path), mode=file.mode)
        else:
            layer.link(file.path, file.target)
    for name in _IPTABLES:
        layer.link(f"/usr/sbin/{name}", "xtables-nft-multi")  # what Debian's alternatives point at


def _certificates(layer: Layer, debian: Debian) -> None:
    layer.file(_CERTIFICATES, debian.read(_CERTIFICATES))


_FILL: Mapping[str, Callable[[Layer, Debian], None]] = {"kube-proxy": _proxy_files, "coredns": _certificates}
"""What an image holds beside its program."""
