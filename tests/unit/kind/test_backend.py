"""The backend without Docker behind it: what it says of a lab, and what it does to what it finds."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.kind import leftovers
from lab.cluster.kind.backend import KindCluster
from lab.cluster.kind.layout import KindSettings, cluster_name
from lab.cluster.kind.node_api_server import NodeApiServer
from lab.cluster.protocol import Cluster, ExecResult, ImageLoading, Snapshots
from lab.errors import LabError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.cluster.kind.engine import Engine

MANIFEST = b"kind: Pod\nspec: {containers: [{command: [kube-apiserver, --a=b]}]}\n"
SETTINGS = KindSettings(
    name="one", cluster="one-123456", state="off", definition="d", image="i", gatekeeper_manifest="g"
)
KUBECONFIG = "clusters: [{name: one, cluster: {server: 'https://127.0.0.1:1'}}]\n"


def look(argv: Sequence[str], *, ticks: int = 100, written_s: int = 900) -> str:
    command = base64.b64encode("\0".join([*argv, ""]).encode()).decode()
    manifest = base64.b64encode(MANIFEST).decode()
    return f"now 1000\nwritten {written_s}\nmanifest {manifest}\nprocess 7 {ticks} {command} Lwo=\nuptime 50 100\n"


class FakeEngine:
    """A Docker with one node, or none."""

    def __init__(self, *, node: str | None = "node", output: str = "", clusters: tuple[str, ...] = ()) -> None:
        self.node = node
        self.output = output
        self.held = clusters
        self.removed: list[str] = []
        self.ran: list[tuple[str, ...]] = []
        self.fails = ""

    def node_id(self, _cluster: str) -> str | None:
        return self.node

    def run(self, _node: str, argv: Sequence[str], **_: Any) -> ExecResult:
        self.ran.append(tuple(argv))
        failed = self.fails != "" and self.fails in argv[-1]
        return ExecResult(argv=tuple(argv), exit_code=1 if failed else 0, stdout=self.output, stderr="")

    @property
    def wakes(self) -> int:
        return sum("kubectl delete lease" in argv[-1] for argv in self.ran)

    def processes(self, _node: str) -> dict[int, str]:
        return {2**22 + 1: "kube-controller"}

    def clusters(self) -> tuple[str, ...]:
        return self.held

    def network_of(self, cluster: str) -> str:
        return f"lab-{cluster}"

    def remove(self, cluster: str) -> None:
        self.removed.append(cluster)


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")


def lab(paths: LabPaths, engine: FakeEngine, *, made: bool = True) -> KindCluster:
    cluster = KindCluster("one", paths=paths, connect=lambda: cast("Engine", engine))
    if made:
        (paths.labs / "one").mkdir(parents=True)
        SETTINGS.save(paths.labs / "one" / "lab.json")
        (paths.labs / "one" / "kubeconfig").write_text(KUBECONFIG)
    return cluster


def test_it_is_what_scenarios_ask_for(paths: LabPaths) -> None:
    cluster = lab(paths, FakeEngine(), made=False)
    assert isinstance(cluster, Cluster)
    assert isinstance(cluster, Snapshots)
    assert isinstance(cluster, ImageLoading)


def test_a_lab_that_was_never_made_is_stopped_and_docker_is_not_asked(paths: LabPaths) -> None:
    def unreachable() -> Engine:
        raise AssertionError

    status = KindCluster("one", paths=paths, connect=unreachable).status()
    assert (status.phase, status.server, status.backend) == ("stopped", "", "kind")


def test_a_lab_whose_node_is_gone_says_so(paths: LabPaths) -> None:
    status = lab(paths, FakeEngine(node=None)).status()
    assert status.phase == "stopped"
    assert "lab down" in status.notes[0]


def test_a_lab_whose_api_server_does_not_answer_is_starting(paths: LabPaths) -> None:
    status = lab(paths, FakeEngine(output=look(["kube-apiserver", "--a=b"]))).status()
    assert (status.phase, status.state, status.server) == ("starting", "off", "https://127.0.0.1:1")
    assert status.api_server.flags == ("--a=b",)
    assert [process.name for process in status.processes] == ["kube-controller-manager"]


def test_the_rest_of_the_node_is_woken_once_for_each_new_api_server(
    paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    hears = iter((False, True))
    monkeypatch.setattr(NodeApiServer, "_answers", lambda _: True)
    monkeypatch.setattr(NodeApiServer, "_kubelet_hears", lambda _: next(hears))
    engine = FakeEngine(output=look(["kube-apiserver", "--a=b"]))
    cluster = lab(paths, engine)
    cluster.wait_api_server(timeout_s=1)
    assert engine.wakes == 0, "the first one was there before the others"
    engine.output = look(["kube-apiserver", "--a=b"], ticks=200)
    cluster.wait_api_server(timeout_s=1)
    cluster.wait_api_server(timeout_s=1)
    assert engine.wakes == 1
    assert list(hears) == [], "the kubelet is waited for until it hears"


def test_a_kubelet_that_stays_deaf_is_told(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeApiServer, "_answers", lambda _: True)
    monkeypatch.setattr(NodeApiServer, "_kubelet_hears", lambda _: False)
    monkeypatch.setattr("lab.cluster.kind.node_api_server._KUBELET_S", 0.05)
    engine = FakeEngine(output=look(["kube-apiserver", "--a=b"]))
    cluster = lab(paths, engine)
    cluster.wait_api_server(timeout_s=1)
    engine.output = look(["kube-apiserver", "--a=b"], ticks=200)
    with pytest.raises(LabError) as caught:
        cluster.wait_api_server(timeout_s=1)
    assert caught.value.code == "followers-asleep"


def test_what_cannot_be_woken_is_tried_again(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeApiServer, "_answers", lambda _: True)
    engine = FakeEngine(output=look(["kube-apiserver", "--a=b"]))
    cluster = lab(paths, engine)
    cluster.wait_api_server(timeout_s=1)
    engine.output, engine.fails = look(["kube-apiserver", "--a=b"], ticks=200), "kubectl delete lease"
    for _ in range(2):
        with pytest.raises(LabError) as caught:
            cluster.wait_api_server(timeout_s=1)
        assert caught.value.code == "followers-asleep"
    assert engine.wakes == 2


def test_an_api_server_of_before_is_ended_and_the_kubelet_looks_at_once(
    paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeApiServer, "_answers", lambda _: True)
    engine = FakeEngine(output=look(["kube-apiserver", "--old"], written_s=990))
    cluster = lab(paths, engine)
    with pytest.raises(LabError):
        cluster.wait_api_server(timeout_s=0.01)
    assert engine.ran[1][-1] == "7"
    assert engine.ran[2] == ("systemctl", "restart", "kubelet")


def test_a_kubelet_that_would_wait_for_ever_is_started_anew(paths: LabPaths) -> None:
    engine = FakeEngine(output=look(["/usr/bin/kubelet"], written_s=960))
    with pytest.raises(LabError):
        lab(paths, engine).wait_api_server(timeout_s=0.01)
    assert ("systemctl", "restart", "kubelet") in engine.ran


def test_a_command_for_a_lab_that_does_not_run_is_an_error(paths: LabPaths) -> None:
    with pytest.raises(LabError) as caught:
        lab(paths, FakeEngine(node=None)).node_exec(["true"])
    assert caught.value.code == "lab-not-running"


def test_down_removes_what_docker_holds_and_the_directory(paths: LabPaths) -> None:
    engine = FakeEngine()
    cluster = lab(paths, engine)
    cluster.down()
    cluster.down()
    assert set(engine.removed) == {cluster_name("one", paths.labs)}
    assert list(paths.labs.iterdir()) == []


def test_what_killed_runs_left_is_removed_and_nothing_of_anybody_else(
    paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, kept = cluster_name("left", paths.labs), cluster_name("one", paths.labs)
    engine = FakeEngine(clusters=(left, kept, "kind", "left-000000"))
    lab(paths, engine)
    monkeypatch.setattr("lab.cluster.kind.engine.Engine.connect", lambda: engine)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/docker")
    assert leftovers.remove_left_over(paths) == (left,)
    assert engine.removed == [left]


def test_without_docker_nothing_is_left_over(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert leftovers.remove_left_over(paths) == ()


def test_settings_are_read_as_they_were_saved(tmp_path: Path) -> None:
    SETTINGS.save(tmp_path / "lab.json")
    assert KindSettings.load(tmp_path / "lab.json") == SETTINGS


def test_the_same_name_in_another_directory_is_another_cluster(tmp_path: Path) -> None:
    assert cluster_name("one", tmp_path / "a") != cluster_name("one", tmp_path / "b")
