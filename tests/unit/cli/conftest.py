"""Labs that are plain values: what a command asks of them is noted, what they answer is set by the test."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from lab.cli import cli
from lab.cluster.protocol import ApiServerStatus, Capability, ClusterStatus, ExecResult, StartState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from click.testing import Result

    Lab = Callable[..., Result]

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- {name: kubernetes, cluster: {server: "https://127.0.0.1:4711"}}
users:
- {name: kubernetes-admin, user: {token: secret-of-the-lab}}
contexts:
- {name: admin@kubernetes, context: {cluster: kubernetes, user: kubernetes-admin}}
current-context: admin@kubernetes
"""


@dataclass
class FakeCluster:
    """A lab."""

    name: str
    directory: Path
    backend: str = "embedded"
    capabilities: frozenset[Capability] = frozenset()
    phase: str = "stopped"
    state: str = ""
    api_server: ApiServerStatus = field(default_factory=lambda: ApiServerStatus(state="running"))
    processes: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    on_up: Callable[[], None] = lambda: None
    on_down: Callable[[], None] = lambda: None
    logs: Mapping[str, str] = field(default_factory=dict)
    shell_code: int = 0

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        self.calls.append(("up", state.key))
        progress("etcd and the API server start")
        self.on_up()
        self.phase, self.state = "running", state.key

    def down(self) -> None:
        self.calls.append(("down",))
        self.on_down()
        self.phase = "stopped"

    def status(self) -> ClusterStatus:
        stopped = self.phase == "stopped"
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase=self.phase,
            state=self.state,
            server="" if stopped else "https://127.0.0.1:4711",
            api_server=ApiServerStatus(state="absent") if stopped else self.api_server,
            processes=self.processes,
            notes=self.notes,
        )

    def kubeconfig(self) -> Path:
        path = self.directory / f"{self.name}.kubeconfig"
        path.write_text(KUBECONFIG)
        return path

    def node_exec(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> ExecResult:
        raise NotImplementedError

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        self.calls.append(("node_shell", *argv))
        return self.shell_code

    def read_node_file(self, path: str) -> bytes | None:
        raise NotImplementedError

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        raise NotImplementedError

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        raise NotImplementedError

    def collect_logs(self, destination: Path) -> None:
        for number, (below, text) in enumerate(self.logs.items()):
            path = destination / below
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (number, number))


class ResettableCluster(FakeCluster):
    """A lab on a backend with snapshots."""

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        self.calls.append(("reset", state.key))
        progress("putting the state back")


@dataclass
class Labs:
    """The labs that there are, and how they were opened."""

    directory: Path
    clusters: dict[str, FakeCluster] = field(default_factory=dict)
    opened: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str = "lab", *, can_reset: bool = True, **values: Any) -> FakeCluster:
        made = (ResettableCluster if can_reset else FakeCluster)(name=name, directory=self.directory, **values)
        self.clusters[name] = made
        return made

    def open_cluster(self, name: str, **options: Any) -> FakeCluster:
        self.opened.append({"name": name, **options})
        return self.clusters.get(name) or self.add(name)


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Labs:
    """No lab yet; commands find the fakes instead of a backend's."""
    for variable in ("LAB_NAME", "LAB_BACKEND", "LAB_SCENARIOS", "KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    fakes = Labs(directory=tmp_path)
    monkeypatch.setattr("lab.cluster.backends.open_cluster", fakes.open_cluster)
    monkeypatch.setattr("lab.cluster.backends.list_labs", lambda _paths: tuple(sorted(fakes.clusters)))
    return fakes


@pytest.fixture
def run(labs: Labs) -> Lab:
    """Runs a command as ``lab`` does, exit code and all."""
    del labs  # it must be there before a command runs

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="lab")

    return invoke
