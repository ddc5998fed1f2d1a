from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.images.node.debian import Debian
from lab.images.node.system_images import PROGRAMS, make_images, oci_archive, pause_name
from lab.images.node.tarballs import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = (
    "registry.k8s.io/kube-apiserver:v1.37.0",
    "registry.k8s.io/kube-proxy:v1.37.0",
    "registry.k8s.io/coredns/coredns:v1.14.6",
    "registry.k8s.io/pause:3.10.2",
    "registry.k8s.io/etcd:3.7.0-0",
)


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Debian]:
    packages = "".join(f"Package: {name}\n\n" for name in ("conntrack", "iptables", "nftables"))
    with Layer(tmp_path / "debian.tar") as layer:
        layer.file("/usr/bin/catatonit", b"pause", mode=0o755)
        layer.file("/etc/ssl/certs/ca-certificates.crt", b"roots")
        layer.file("/usr/sbin/xtables-nft-multi", b"xtables", mode=0o755)
        layer.file("/var/lib/dpkg/status", packages.encode())
        layer.file("/var/lib/dpkg/info/conntrack.list", b"")
        layer.file("/var/lib/dpkg/info/iptables.list", b"/usr/sbin/xtables-nft-multi\n")
        layer.file("/var/lib/dpkg/info/nftables.list", b"")
    with Debian(tmp_path / "debian.tar") as found:
        yield found


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / f"{name}-program" for name in PROGRAMS}
    for name, path in found.items():
        path.write_text(name)
    return found


def content(layer: Path) -> dict[str, str]:
    """Files and links of a layer."""
    found = {}
    with tarfile.open(layer) as tar:
        for member in tar:
            if member.issym():
                found[member.name] = f"-> {member.linkname}"
            elif file := tar.extractfile(member):
                found[member.name] = file.read().decode()
    return found


def test_each_image_holds_its_program_where_the_path_finds_it(
    tmp_path: Path, debian: Debian, programs: dict[str, Path]
) -> None:
    images = {image.name: image for image in make_images(NAMES, programs, debian, tmp_path)}

    assert tuple(images) == NAMES
    api_server = images["registry.k8s.io/kube-apiserver:v1.37.0"]
    assert content(api_server.layer) == {"usr/local/bin/kube-apiserver": "kube-apiserver"}
    assert api_server.entrypoint == ("/usr/local/bin/kube-apiserver",)
    assert content(images["registry.k8s.io/etcd:3.7.0-0"].layer) == {"usr/local/bin/etcd": "etcd"}
    assert content(images["registry.k8s.io/pause:3.10.2"].layer) == {"pause": "pause"}
    assert images["registry.k8s.io/pause:3.10.2"].entrypoint == ("/pause", "-P")
    assert content(images["registry.k8s.io/coredns/coredns:v1.14.6"].layer) == {
        "etc/ssl/certs/ca-certificates.crt": "roots",
        "usr/local/bin/coredns": "coredns",
    }


def test_kube_proxy_has_iptables_and_what_it_needs(tmp_path: Path, debian: Debian, programs: dict[str, Path]) -> None:
    (image,) = make_images(["registry.k8s.io/kube-proxy:v1.37.0"], programs, debian, tmp_path)

    found = content(image.layer)
    assert found["usr/sbin/xtables-nft-multi"] == "xtables"
    assert found["usr/sbin/iptables-restore"] == found["usr/sbin/ip6tables-save"] == "-> xtables-nft-multi"
    assert found["lib"] == "-> usr/lib"
    assert found["usr/local/bin/kube-proxy"] == "kube-proxy"


def test_an_image_that_nobody_knows_is_an_error(tmp_path: Path, debian: Debian, programs: dict[str, Path]) -> None:
    with pytest.raises(LabError, match="kube-new:v1") as caught:
        make_images(["registry.k8s.io/kube-new:v1"], programs, debian, tmp_path)
    assert caught.value.code == "node-image-unknown"


def test_the_archive_names_every_image_and_every_digest_is_right(
    tmp_path: Path, debian: Debian, programs: dict[str, Path]
) -> None:
    images = make_images(NAMES, programs, debian, tmp_path)

    members = dict(oci_archive(images, "amd64"))

    blobs = {name: value if isinstance(value, bytes) else value.read_bytes() for name, value in members.items()}
    for name, data in blobs.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    index = json.loads(blobs["index.json"])
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]] == list(NAMES)
    for entry, image in zip(index["manifests"], images, strict=True):
        manifest = json.loads(blobs[entry["digest"].replace("sha256:", "blobs/sha256/")])
        config = json.loads(blobs[manifest["config"]["digest"].replace("sha256:", "blobs/sha256/")])
        (layer,) = manifest["layers"]
        assert config["rootfs"]["diff_ids"] == [layer["digest"]]
        assert config["config"]["Entrypoint"] == list(image.entrypoint)
        assert len(blobs[layer["digest"].replace("sha256:", "blobs/sha256/")]) == layer["size"]


def test_the_sandbox_image_is_the_one_that_kubeadm_names() -> None:
    assert pause_name(NAMES) == "registry.k8s.io/pause:3.10.2"
