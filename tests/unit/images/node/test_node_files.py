from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.images.node.node_files import CONTAINERD_PROGRAMS, KUBERNETES_PROGRAMS, containerd_config, make_layer, network

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "registry.k8s.io/pause:3.10"\n  x = 1\n'
SPEC = '{"process": {"rlimits": [{"type": "RLIMIT_NOFILE"}], "cwd": "/"}}'
PAUSE = "registry.k8s.io/pause:3.10.2"


@pytest.fixture
def kind_files(tmp_path: Path) -> Path:
    """kind's files, as its module has them: without a word on what may be executed."""
    files = {
        "usr/local/bin/entrypoint": "#!/bin/bash\n",
        "kind/bin/mount-product-files.sh": "#!/bin/bash\n",
        "etc/containerd/config.toml": CONFIG,
        "etc/systemd/system/kubelet.service": "[Unit]\n",
        "etc/systemd/system/containerd-fuse-overlayfs.service": "[Unit]\n",
    }
    for name, text in files.items():
        path = tmp_path / "kind-files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    return tmp_path / "kind-files"


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Path]:
    """Programs that are their own names."""
    found = {name: tmp_path / name for name in (*KUBERNETES_PROGRAMS, *CONTAINERD_PROGRAMS)}
    for name, path in found.items():
        path.write_text(name)
    return found


def test_the_layer_has_all_that_kind_asks_of_a_node(
    tmp_path: Path, kind_files: Path, programs: dict[str, Path]
) -> None:
    make_layer(
        tmp_path / "layer.tar", kind_files=kind_files, programs=programs, version="1.37.0", pause=PAUSE, spec=SPEC
    )

    with tarfile.open(tmp_path / "layer.tar") as tar:
        members = {member.name: member for member in tar}
        texts = {name: (tar.extractfile(member) or pytest.fail(name)).read() for name, member in members.items()
                 if member.isreg()}  # fmt: skip
    assert texts["kind/version"] == b"v1.37.0"
    for name in ("usr/bin/kubeadm", "usr/bin/kubelet", "usr/bin/kubectl", "usr/local/bin/containerd",
                 "usr/local/bin/containerd-shim-runc-v2", "usr/local/bin/ctr", "usr/local/bin/entrypoint",
                 "kind/bin/mount-product-files.sh"):  # fmt: skip
        assert members[name].mode == 0o755, name
    assert members["etc/systemd/system/kubelet.service"].mode == 0o644
    assert members["etc/systemd/system/multi-user.target.wants/kubelet.service"].linkname == (
        "/etc/systemd/system/kubelet.service"
    )
    assert "etc/systemd/system/containerd-fuse-overlayfs.service" not in members
    assert PAUSE.encode() in texts["etc/containerd/config.toml"]
    assert texts["etc/containerd/cri-base.json"] == (
        b'{"process": {"cwd": "/"}, "hooks": {"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}}'
    )


def test_only_the_name_of_the_sandbox_image_is_changed() -> None:
    assert containerd_config(CONFIG, PAUSE) == CONFIG.replace("pause:3.10", "pause:3.10.2")


def test_settings_without_a_sandbox_image_are_not_those_that_are_known() -> None:
    with pytest.raises(LabError) as caught:
        containerd_config("version = 3\n", PAUSE)
    assert caught.value.code == "node-image-kind"


def test_a_pod_has_one_default_route() -> None:
    bridge, portmap = network()["plugins"]

    # With isDefaultGateway the plugin would add the same route a second time, and fail.
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    assert bridge["isGateway"] is True
    assert "isDefaultGateway" not in bridge
    assert portmap["capabilities"] == {"portMappings": True}
