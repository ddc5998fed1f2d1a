from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.bench import peers
from lab.bench.peers import Kind, Kwokctl
from lab.bench.timing import Timed
from lab.errors import LabError
from lab.images.node import node_image_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KIND = Path("/bin/kind")
PROGRAMS = {name: Path("/store") / name for name in Kwokctl.COMPONENTS}


class Commands:
    """What would have been run."""

    def __init__(self, *, stderr: str = "Cluster is ready", fails: str | None = None) -> None:
        self.ran: list[tuple[str, ...]] = []
        self._stderr = stderr
        self._fails = fails

    def __call__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Timed:
        assert env is None or not any(name.startswith("KWOK_") and name != "KWOK_WORKDIR" for name in env)
        self.ran.append(tuple(argv))
        if self._fails in argv:
            raise LabError("bench-command", "failed", hint="none")
        return Timed(elapsed_s=9.0, stdout=json.dumps({"elapsed_s": 3.5, "exit_code": 0}), stderr=self._stderr)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(peers, "timed", commands)
    return commands


def answering(**answers: str | None) -> Callable[..., str | None]:
    return lambda *argv: answers.get(argv[1])


def test_kwokctl_gets_every_program_of_the_lab_and_none_of_the_users_settings(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KWOK_KUBE_VERSION", "v1.2.3")

    assert Kwokctl(PROGRAMS, tmp_path).create() == 3.5  # what the enclosure timed, not what it cost

    (argv,) = commands.ran
    text = " ".join(argv)
    assert "lab.bench.enclosure /store/kwokctl create cluster --name bench --runtime binary --wait 60s" in text
    for flag, program in {
        "--etcd-binary": "etcd",
        "--kube-apiserver-binary": "kube-apiserver",
        "--kube-controller-manager-binary": "kube-controller-manager",
        "--kube-scheduler-binary": "kube-scheduler",
        "--kwok-controller-binary": "kwok",
    }.items():
        assert f"{flag} /store/{program}" in text
    assert list(tmp_path.iterdir()) == []


def test_a_kwokctl_whose_cluster_is_not_ready_gives_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "timed", Commands(stderr="Waiting for cluster to be ready"))

    with pytest.raises(LabError) as caught:
        Kwokctl(PROGRAMS, tmp_path).create()
    assert caught.value.code == "bench-peer"


def test_kwokctl_names_the_programs_that_are_missing(tmp_path: Path) -> None:
    some = {name: path for name, path in PROGRAMS.items() if name not in {"kwokctl", "etcd"}}

    assert Kwokctl(PROGRAMS, tmp_path).missing() == ""
    assert Kwokctl(some, tmp_path).missing() == "not in the store: kwokctl, etcd (lab components fetch kwokctl etcd)"


@pytest.mark.parametrize(
    ("docker", "image", "kind", "why"),
    [
        (None, None, KIND, "no Docker"),
        ("up", "sha256:1", None, "no kind in the store or on PATH (lab components fetch kind)"),
        ("up", "", KIND, "no node image in Docker (lab node-image build)"),
        ("up", "sha256:1", KIND, ""),
    ],
)
def test_kind_says_what_it_lacks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    docker: str | None,
    image: str | None,
    kind: Path | None,
    why: str,
) -> None:
    monkeypatch.setattr(peers, "_answers", answering(info=docker, image=image))

    assert Kind("bench-1", tmp_path, kind).missing() == why


def test_kind_uses_an_image_that_is_there_and_is_deleted(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_answers", answering(image="sha256:1\nsha256:2"))

    assert Kind("bench-1", tmp_path, KIND).create() == 9.0

    create, delete = (" ".join(argv) for argv in commands.ran)
    named = f"cluster --name bench-1 --kubeconfig {tmp_path}/bench-1.kubeconfig"
    config = f"{tmp_path}/bench-1.kind.yaml"
    assert create == f"/bin/kind create {named} --image sha256:1 --config {config} --wait 60s"
    assert delete == f"/bin/kind delete {named}"
    assert "networking" not in Path(config).read_text()


def test_kind_is_not_told_to_wait_when_only_its_own_work_is_measured(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_answers", answering(image="sha256:1"))
    kind = Kind("bench-1", tmp_path, KIND, wait=None)

    assert kind.create() == 9.0
    assert "--wait" not in commands.ran[0]
    assert kind.name == "kind create cluster, node image present"


def test_kind_s_pods_are_waited_for_with_kubectl(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_answers", answering(image="sha256:1"))
    kind = Kind("bench-1", tmp_path, KIND, wait=None, kubectl=Path("/bin/kubectl"))

    assert kind.create() == 27.0
    assert [argv[0] for argv in commands.ran] == ["/bin/kind", "/bin/kubectl", "/bin/kubectl", "/bin/kind"]
    assert all(f"{tmp_path}/bench-1.kubeconfig" in argv for argv in commands.ran)
    assert kind.name == "kind create cluster, until every Pod is ready, node image present"


def test_the_lab_s_own_node_image_brings_its_own_network(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_answers", lambda *argv: "sha256:1" if argv[-1] == node_image_name() else "")

    assert Kind("bench-1", tmp_path, KIND).create() == 9.0

    assert f"--image {node_image_name()}" in " ".join(commands.ran[0])
    assert "disableDefaultCNI: true" in (tmp_path / "bench-1.kind.yaml").read_text()


def test_a_kind_cluster_that_failed_is_deleted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(fails="create")
    monkeypatch.setattr(peers, "timed", commands)
    monkeypatch.setattr(peers, "_answers", answering(image="sha256:1"))

    with pytest.raises(LabError):
        Kind("bench-1", tmp_path, KIND).create()
    assert commands.ran[-1][1] == "delete"
