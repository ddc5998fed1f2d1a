"""The real programs agree with what the node image is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.components import KUBERNETES_VERSION, Components
from lab.components.pins import COREDNS_VERSION
from lab.errors import LabError
from lab.images.node import content_store
from lab.images.node.apt import read_setup
from lab.images.node.cli import node_image_group
from lab.images.node.node_files import base_spec, default_spec
from lab.images.node.system_images import PROGRAMS, SystemImage, oci_archive, wanted_names
from lab.images.node.tarballs import Layer
from lab.paths import LabPaths

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def components() -> Components:
    return Components(LabPaths.from_environment())


@pytest.fixture(scope="module")
def containerd(components: Components) -> dict[str, Path]:
    """containerd and its client, where they were fetched: a test does not build what only kind needs."""
    found = {name: path for name in ("containerd", "ctr") if (path := components.path(name)) is not None}
    if len(found) < 2:
        pytest.skip("containerd is not in the component store: run 'lab components fetch containerd ctr'")
    return found


def test_kubeadm_asks_for_no_image_that_there_is_no_program_for(components: Components) -> None:
    names = wanted_names(components.ensure("kubeadm")["kubeadm"], KUBERNETES_VERSION)

    assert {name.rsplit("/", 1)[-1].partition(":")[0] for name in names} == {*PROGRAMS, "pause"}
    assert all(name.startswith("registry.k8s.io/") for name in names)


def test_the_pinned_coredns_is_the_one_that_kubeadm_names(components: Components) -> None:
    names = wanted_names(components.ensure("kubeadm")["kubeadm"], KUBERNETES_VERSION)

    assert f"registry.k8s.io/coredns/coredns:v{COREDNS_VERSION}" in names


def test_containerd_takes_the_images_under_their_names_and_only_content_and_metadata_are_kept(
    tmp_path: Path, containerd: dict[str, Path]
) -> None:
    with Layer(tmp_path / "image.tar") as layer:
        layer.file("/program", b"x", mode=0o755)
    image = SystemImage(name="registry.k8s.io/a/b:v1", layer=tmp_path / "image.tar", entrypoint=("/program",))

    with tempfile.TemporaryDirectory(prefix="lab-") as short:
        content_store.make_layer(
            tmp_path / "layer.tar", oci_archive([image], "amd64"),
            containerd=containerd["containerd"], ctr=containerd["ctr"], root=tmp_path / "root", work=Path(short),
        )  # fmt: skip

    with tarfile.open(tmp_path / "layer.tar") as tar:
        names = tar.getnames()
        metadata = tar.extractfile("var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
        assert metadata is not None
        known = metadata.read()
    assert b"registry.k8s.io/a/b:v1" in known
    assert b"io.cri-containerd.pinned" in known
    assert len([name for name in names if "/blobs/sha256/" in name]) >= 3
    kept = {name.split("/")[3] for name in names if name.count("/") >= 3}
    assert kept == {"io.containerd.content.v1.content", "io.containerd.metadata.v1.bolt"}


def test_the_settings_that_a_container_starts_from_have_no_fixed_limits(containerd: dict[str, Path]) -> None:
    spec = default_spec(containerd["ctr"])

    assert '"rlimits"' in spec
    assert '"rlimits"' not in base_spec(spec)
    assert "/kind/bin/mount-product-files.sh" in base_spec(spec)


def test_without_docker_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")  # the discard port: nothing listens

    result = CliRunner().invoke(node_image_group, ["build"])

    assert isinstance(result.exception, LabError)
    assert result.exception.code == "docker-unreachable"
    assert "--output" in result.exception.hint
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt")
def test_this_machine_says_where_its_packages_come_from() -> None:
    setup = read_setup()

    assert setup.codename
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {line.split()[1] for line in setup.sources} <= set(listed)
    assert all(line.startswith("deb ") for line in setup.sources)
