from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cluster.embedded.making import PROGRAMS
from lab.cluster.embedded.pod_environment import container_argv
from lab.cluster.embedded.programs import ON_DEMAND, ProgramTable, component_of
from lab.cluster.protocol import DEFAULT_STATE, Addon, ImagePolicy, StartState
from lab.components.pins import ETCD_VERSION, KUBERNETES_VERSION, PINS
from lab.errors import LabError

EXECUTABLES = {
    name: f"/store/{name}"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "gatekeeper", "opa")
}
DIGESTS = dict.fromkeys(EXECUTABLES, "ab" * 32)
TABLE = ProgramTable(EXECUTABLES, digests=DIGESTS, state=lambda: DEFAULT_STATE)
API_SERVER = f"registry.k8s.io/kube-apiserver:v{KUBERNETES_VERSION}"


def test_a_control_plane_image_is_the_program_of_its_version() -> None:
    program = TABLE.control_plane(API_SERVER)
    assert program is not None
    assert program.image_id == "registry.k8s.io/kube-apiserver@sha256:" + "ab" * 32
    assert program.binds[0].source == Path("/run/host/store/kube-apiserver")
    assert program.binds[0].read_only


def test_the_api_server_has_more_memory_in_a_state_with_gatekeeper() -> None:
    state = StartState(image_policy=ImagePolicy.OFF)
    table = ProgramTable(EXECUTABLES, digests=DIGESTS, state=lambda: state)

    def bound_mib() -> int:
        program = table.control_plane(API_SERVER)
        assert program is not None
        return int(dict(program.environment)["GOMEMLIMIT"].removesuffix("MiB"))

    without = bound_mib()
    state = replace(state, addons=frozenset({Addon.GATEKEEPER}))
    assert bound_mib() > without


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


@pytest.mark.parametrize("image", ["openpolicyagent/opa:1.22.2", "docker.io/openpolicyagent/opa:latest-static"])
def test_opa_is_the_program_of_its_component(image: str) -> None:
    program = TABLE.workload(image)
    assert program is not None
    assert [(bind.source, bind.target) for bind in program.binds] == [(Path("/run/host/store/opa"), "/opa")]
    assert (program.entrypoint, program.arguments) == (("/opa",), ("run",))


@pytest.mark.parametrize("image", ["python", "python:3", "docker.io/library/python:3.14-slim"])
def test_python_is_an_interpreter_that_sees_nothing_of_the_labs_environment(image: str) -> None:
    program = TABLE.workload(image)
    assert program is not None
    environment = dict(program.environment)
    interpreter = shutil.which("python3", path=environment["PATH"])
    assert interpreter is not None
    assert Path(interpreter).is_relative_to(sys.base_prefix)
    bound = [Path(bind.target) for bind in program.binds]
    assert any(Path(interpreter).resolve().is_relative_to(tree) for tree in bound)
    assert not any(Path(sys.prefix).is_relative_to(tree) for tree in bound)
    ended = subprocess.run(
        ["python3", "-c", "import http.server, ssl, json; import aiohttp"],
        env=environment, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "No module named 'aiohttp'" in ended.stderr


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ["python3"]),
        ({"args": ["python3", "-V"]}, ["python3", "-V"]),
        ({"command": ["python3", "/srv/webhook.py"]}, ["python3", "/srv/webhook.py"]),
    ],
)
def test_an_image_without_an_entrypoint_runs_what_the_pod_says_or_its_own_arguments(
    container: dict[str, list[str]], argv: list[str]
) -> None:
    program = TABLE.workload("python:3")
    assert program is not None
    assert container_argv(container, {}, entrypoint=program.entrypoint, default_args=program.arguments) == argv


def test_arguments_of_the_pod_take_the_place_of_the_images_own() -> None:
    program = TABLE.workload("openpolicyagent/opa")
    assert program is not None
    argv = container_argv(
        {"args": ["run", "--server"]}, {}, entrypoint=program.entrypoint, default_args=program.arguments
    )
    assert argv == ["/opa", "run", "--server"]


@pytest.mark.parametrize(
    ("image", "component"),
    [
        ("openpolicyagent/opa:1.22.2", "opa"),
        ("openpolicyagent/gatekeeper:v3.23.1", "gatekeeper"),
        ("python:3", None),
        ("nginx", None),
        ("not a reference", None),
    ],
)
def test_the_component_that_an_image_needs(image: str, component: str | None) -> None:
    assert component_of(image) == component


def test_no_template_depends_on_a_program_that_is_fetched_on_demand() -> None:
    assert set(ON_DEMAND).isdisjoint(PROGRAMS)
    assert set(ON_DEMAND) <= set(PINS)


def test_an_image_whose_program_is_fetched_later_is_missing_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.cluster.embedded.programs.HOST_ROOT", Path("/"))
    program = tmp_path / "opa"
    table = ProgramTable({"opa": str(program)}, digests={}, state=lambda: DEFAULT_STATE)
    with pytest.raises(LabError, match="lab components fetch opa") as caught:
        table.require_present("openpolicyagent/opa")
    assert caught.value.code == "program-missing"
    program.touch()
    table.require_present("openpolicyagent/opa")
    table.require_present("nginx")


@pytest.mark.parametrize("image", ["nginx", "UPPER/case", "evil.example/kainlite/kube-image-bouncer"])
def test_any_other_image_is_played(image: str) -> None:
    assert TABLE.workload(image) is None
