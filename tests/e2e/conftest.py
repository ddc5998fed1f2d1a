"""What the end-to-end tests share: a node to type commands on, labs of a test's own, waiting for a condition.

The session's lab is `lab_cluster` of the plugin; a test that changes it says so (marker ``lab_changes``), and the next
one finds it put back. Only tests about a lab's own life and death start labs of their own. To put a lab back takes
seconds, so tests of one start state run in one worker, those first that change nothing.

What `make test` runs of them takes minutes: the solution of every scenario, the contract, the node. The rest is marked
``thorough``: every mistake of every scenario, a candidate's typing, the plugin's upstream cases, labs that are killed,
another's cluster. CI's run takes a third of those that are marked ``in_turns``, because their cases are alike or repeat
what other tests show of each scenario; another third each time.

``--lab-backend kind`` runs them on kind. What is about the embedded backend alone is marked ``about_embedded`` with the
reason, and skips itself there.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest
import yaml

from lab.cluster.backends import open_cluster
from lab.paths import LabPaths
from lab.testing.scenarios import SOLUTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.cluster.protocol import Cluster, ExecResult

    class OwnCluster(Protocol):
        """What the fixture `own_cluster` is."""

        def __call__(self) -> Cluster:
            """A lab of the test's own, not started; taken down when the test ends."""

    T = TypeVar("T")

    class Eventually(Protocol):
        """What the fixture `eventually` is."""

        def __call__(self, look: Callable[[], T], *, within_s: float = 30.0) -> T:
            """Look again until no assertion fails and what is seen is not False; what was seen then."""


HERE = Path(__file__).parent
EMBEDDED = "embedded"
_TURNS = 3
MANIFESTS = "/etc/kubernetes/manifests"
API_SERVER_MANIFEST = f"{MANIFESTS}/kube-apiserver.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The control-plane node of a lab, as a person in a shell sees it."""

    cluster: Cluster

    def run(self, *argv: str, stdin: str = "", timeout_s: float = 60.0) -> str:
        """Run a command that must succeed; what it prints."""
        result = self.cluster.node_exec(argv, stdin=stdin.encode(), timeout_s=timeout_s)
        assert result.exit_code == 0, f"{' '.join(argv)}: {result.stderr or result.stdout}"
        return result.stdout

    def attempt(self, *argv: str, timeout_s: float = 60.0) -> ExecResult:
        """Run a command that may fail."""
        return self.cluster.node_exec(argv, timeout_s=timeout_s)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl; it must succeed."""
        return self.run("kubectl", *arguments, stdin=stdin)

    def get(self, *arguments: str) -> Any:
        """What ``kubectl get`` gives."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def edit(self, expression: str) -> None:
        """Edit the API server's manifest as a person does, with sed."""
        self.run("sed", "-i", expression, API_SERVER_MANIFEST)

    def change_manifest(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the API server's manifest as a document."""
        manifest = yaml.safe_load(self.run("cat", API_SERVER_MANIFEST))
        change(manifest)
        self.cluster.write_node_file(API_SERVER_MANIFEST, yaml.safe_dump(manifest).encode(), mode=0o600)

    def pid_of(self, process: str) -> int | None:
        """A process of the lab by its name, as seen from outside; None when it does not run."""
        pids = [found.pid for found in self.cluster.status().processes if found.name == process]
        return pids[0] if pids else None


@pytest.fixture
def node(lab_cluster: Cluster) -> Node:
    return Node(cluster=lab_cluster)


@pytest.fixture
def eventually() -> Eventually:
    def wait(look: Callable[[], T], *, within_s: float = 30.0) -> T:
        deadline = time.monotonic() + within_s
        while True:
            try:
                seen = look()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            else:
                if seen is not False:
                    return seen
                assert time.monotonic() < deadline, f"after {within_s:g} s it was still not so"
            time.sleep(0.05)

    return wait


_NUMBERS = itertools.count(1)


@pytest.fixture
def own_cluster(pytestconfig: pytest.Config) -> Iterator[OwnCluster]:
    worker: dict[str, Any] = getattr(pytestconfig, "workerinput", {})
    prefix = f"e2e-{os.getpid():x}{worker.get('workerid', '')}"
    with contextlib.ExitStack() as stack:

        def make() -> Cluster:
            cluster = open_cluster(
                f"{prefix}-{next(_NUMBERS)}",
                paths=LabPaths.from_environment(),
                backend=pytestconfig.getoption("--lab-backend"),
                bin_dir=pytestconfig.getoption("--lab-bin-dir"),
            )
            stack.callback(cluster.down)
            return cluster

        yield make


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab-rounds", type=int, default=10, help="how often labs are killed in the tests of the cleanup")
    parser.addoption("--lab-turn", type=int, metavar="N", help="a third of the tests marked in_turns, by N which one")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "attempt" in metafunc.fixturenames:
        metafunc.parametrize("attempt", range(1, metafunc.config.getoption("--lab-rounds", default=10) + 1))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which looks for groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    backend = config.getoption("--lab-backend")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("e2e")
            about_embedded = item.get_closest_marker("about_embedded")
            if about_embedded is not None and backend != EMBEDDED:
                item.add_marker(pytest.mark.skip(reason=f"not on {backend}: {about_embedded.args[0]}"))
            if "lab_scenario" in getattr(item, "fixturenames", ()) and f"/{SOLUTION}]" not in item.name:
                item.add_marker("thorough")
    _leave_to_other_turns(config, items)
    places = [number for number, item in enumerate(items) if _is_of_default_state(item)]
    for place, item in zip(places, sorted((items[place] for place in places), key=_changes_the_lab), strict=True):
        item.add_marker(pytest.mark.xdist_group("default-state"))
        items[place] = item


def _leave_to_other_turns(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of each test that is marked ``in_turns`` keep the cases whose turn it is."""
    turn = config.getoption("--lab-turn")
    if turn is None:
        return
    numbers: dict[str, Iterator[int]] = {}
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        number = 0
        if item.get_closest_marker("in_turns") is not None:
            number = next(numbers.setdefault(item.nodeid.partition("[")[0], itertools.count(turn))) % _TURNS
        (left if number else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def _is_of_default_state(item: pytest.Item) -> bool:
    uses_the_lab = "lab_cluster" in getattr(item, "fixturenames", ())
    return item.path.is_relative_to(HERE) and uses_the_lab and item.get_closest_marker("lab_state") is None


def _changes_the_lab(item: pytest.Item) -> bool:
    return item.get_closest_marker("lab_changes") is not None
