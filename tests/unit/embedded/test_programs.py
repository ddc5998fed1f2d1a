from __future__ import annotations

from pathlib import Path

import pytest

from lab.cluster.embedded.programs import ProgramTable
from lab.components.pins import ETCD_VERSION, KUBERNETES_VERSION

EXECUTABLES = {
    name: f"/store/{name}"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "gatekeeper")
}
TABLE = ProgramTable(EXECUTABLES, digests=dict.fromkeys(EXECUTABLES, "ab" * 32))


def test_a_control_plane_image_is_the_program_of_its_version() -> None:
    program = TABLE.control_plane(f"registry.k8s.io/kube-apiserver:v{KUBERNETES_VERSION}")
    assert program is not None
    assert program.image_id == "registry.k8s.io/kube-apiserver@sha256:" + "ab" * 32
    assert program.binds[0].source == Path("/run/host/store/kube-apiserver")
    assert program.binds[0].read_only


def test_etcd_is_matched_by_its_version() -> None:
    assert TABLE.control_plane(f"registry.k8s.io/etcd:{ETCD_VERSION}-0") is not None
    assert TABLE.control_plane("registry.k8s.io/etcd:3.5.1-0") is None


@pytest.mark.parametrize(
    "image",
    [
        "k8s.gcr.io/kube-apiserver-amd64:v1.13.3",
        "registry.k8s.io/kube-apiserver:v1.20.2",
        "registry.k8s.io/kube-apiserver",
        "docker.io/library/nginx",
        "not a reference",
    ],
)
def test_another_image_is_no_program_of_the_control_plane(image: str) -> None:
    assert TABLE.control_plane(image) is None


@pytest.mark.parametrize("image", ["kainlite/kube-image-bouncer:latest", "docker.io/kainlite/kube-image-bouncer:v1"])
def test_the_bouncer_is_this_packages_own_module(image: str) -> None:
    program = TABLE.workload(image)
    assert program is not None
    assert program.entrypoint[-2:] == ("-m", "lab.bouncer")
    assert program.image_id == "", "the registry serves that image and answers for its digest"


def test_gatekeeper_is_its_manager() -> None:
    program = TABLE.workload("openpolicyagent/gatekeeper:v3.23.1")
    assert program is not None
    assert program.entrypoint == ("/manager",)


@pytest.mark.parametrize("image", ["nginx", "UPPER/case", "evil.example/kainlite/kube-image-bouncer"])
def test_any_other_image_is_played(image: str) -> None:
    assert TABLE.workload(image) is None
