"""The command ``lab parity``: what is replayed where, what is read, which report, which exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lab.scenario.result import Outcome

# Fixtures, named here to be found by pytest.
from tests.unit.cli.test_replay import Engine, root
from tests.unit.parity.conftest import embedded, kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult
    from tests.unit.cli.conftest import FakeCluster, Lab, Labs
    from tests.unit.parity.conftest import MakeReport

__all__ = ["embedded", "kind", "root"]


class TwoBackends(Engine):
    """Each scenario ends as the test says of the backend."""

    def __init__(self, labs: Labs) -> None:
        super().__init__()
        self.labs = labs
        self.on: dict[str, dict[str, Outcome]] = {}

    def run_scenario(self, scenario: Scenario, cluster: FakeCluster, **options: Any) -> ScenarioResult:
        cluster.backend = self.labs.opened[-1]["backend"]
        self.outcomes = self.on.get(cluster.backend, {})
        return super().run_scenario(scenario, cluster, **options)


@pytest.fixture
def engine(labs: Labs, monkeypatch: pytest.MonkeyPatch) -> TwoBackends:
    engine = TwoBackends(labs)
    monkeypatch.setattr("lab.scenario.run.run_scenario", engine.run_scenario)
    monkeypatch.setattr("os.getpid", lambda: 4711)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    return engine


@pytest.fixture
def recorded(embedded: MakeReport, kind: MakeReport, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Writes two reports, the other one changed by a function."""

    def write(change: Callable[[dict[str, Any]], None] = lambda _: None) -> tuple[str, str]:
        one, other = embedded("closed", "more"), kind("closed", "more")
        change(other)
        files = tmp_path / "embedded.json", tmp_path / "kind.json"
        for file, report in zip(files, (one, other), strict=True):
            file.write_text(json.dumps(report))
        return str(files[0]), str(files[1])

    return write


def deny_by_another(report: dict[str, Any]) -> None:
    report["scenarios"][0]["phases"][0]["checks"][0]["probe"]["observed"]["deciders"] = ["somebody"]


def test_it_replays_on_one_backend_after_the_other_in_labs_of_its_own(
    run: Lab, labs: Labs, root: Path, engine: TwoBackends
) -> None:
    result = run("parity", "first", "third", "--scenarios", str(root))

    assert result.exit_code == 0, result.stderr
    assert [(opened["name"], opened["backend"]) for opened in labs.opened] == [
        ("parity-4711", "embedded"),
        ("parity-4711", "kind"),
    ]
    assert [name for name, _ in engine.ran] == ["first", "third"] * 2
    assert labs.clusters["parity-4711"].calls == [("up", "off+gatekeeper"), ("down",)] * 2
    assert "embedded and kind" in result.stdout


@pytest.mark.parametrize(
    ("on", "code"),
    [
        ({"kind": {"first": Outcome.FAIL}}, 1),
        ({"embedded": {"first": Outcome.FAIL}, "kind": {"first": Outcome.FAIL}}, 0),
        ({"kind": {"first": Outcome.ERROR}}, 3),
        ({"kind": {"first": Outcome.ERROR, "second": Outcome.FAIL}}, 1),
        ({"kind": {"first": Outcome.SKIP}}, 0),
    ],
)
def test_the_exit_code_says_whether_they_agree(
    run: Lab, root: Path, engine: TwoBackends, on: dict[str, dict[str, Outcome]], code: int
) -> None:
    engine.on = on
    assert run("parity", "--all", "--scenarios", str(root)).exit_code == code


def test_what_one_backend_cannot_hold_is_not_replayed_on_the_other(run: Lab, root: Path, engine: TwoBackends) -> None:
    engine.on = {"embedded": {"first": Outcome.SKIP}}
    result = run("parity", "first", "second", "--scenarios", str(root))

    assert [name for name, _ in engine.ran] == ["first", "second", "second"]
    assert result.exit_code == 0
    assert "embedded: the backend lacks something" in result.stdout


def test_one_backend_can_be_compared_with_itself(run: Lab, root: Path, engine: TwoBackends) -> None:
    result = run("parity", "first", "--backends", "embedded, embedded", "--scenarios", str(root))

    assert result.exit_code == 0
    assert len(engine.ran) == 2
    assert "embedded (1) and embedded (2)" in result.stdout


def test_the_cluster_to_be_a_guest_in_is_told_to_that_backend_alone(
    run: Lab, labs: Labs, root: Path, engine: TwoBackends, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "theirs"
    kubeconfig.touch()
    options = ("--backends", "embedded,existing", "--kubeconfig", str(kubeconfig), "--scenarios", str(root))
    assert run("parity", "first", *options).exit_code == 0
    assert [opened["kubeconfig"] for opened in labs.opened] == [None, kubeconfig]
    assert len(engine.ran) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the names of scenarios"),
        (("first", "--all"), "give the names of scenarios"),
        (("first", "--backends", "embedded"), "[backends-not-two]"),
        (("first", "--backends", "embedded,kind,existing"), "[backends-not-two]"),
        (("first", "--backends", "embedded,minikube"), "[backend-unknown]"),
        (("first", "--backends", "embedded,existing"), "[kubeconfig-missing]"),
        (("frist",), "did you mean first"),
    ],
)
def test_bad_input_is_told_before_anything_is_replayed(
    run: Lab, labs: Labs, root: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run("parity", *arguments, "--scenarios", str(root))

    assert result.exit_code == 2
    assert said in result.stderr
    assert labs.opened == []


def test_two_recorded_runs_are_compared_and_nothing_is_replayed(
    run: Lab, labs: Labs, recorded: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    result = run("parity", "--from", *recorded(), "--json", str(tmp_path / "below" / "parity.json"))

    assert result.exit_code == 0, result.stderr
    assert labs.opened == []
    document = json.loads((tmp_path / "below" / "parity.json").read_text())
    assert (document["left"], document["right"], document["summary"]["pass"]) == ("embedded", "kind", 2)


def test_a_difference_between_recorded_runs_is_exit_code_1(run: Lab, recorded: Callable[..., tuple[str, str]]) -> None:
    files = recorded(deny_by_another)
    assert run("parity", "--from", *files).exit_code == 1
    assert run("parity", "more", "--from", *files).exit_code == 0, "names choose among what was recorded"


def test_reports_of_one_backend_are_told_apart_by_their_files(
    run: Lab, recorded: Callable[..., tuple[str, str]]
) -> None:
    one, _ = recorded()
    result = run("parity", "--from", one, one)
    assert result.exit_code == 0
    assert "embedded.json (1)" in result.stdout.replace("\n", "")


def test_what_is_no_report_is_bad_input(run: Lab, recorded: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    one, _ = recorded()
    (tmp_path / "none.json").write_text("{}")
    for arguments, said in (
        (("--from", one, str(tmp_path / "none.json")), "[no-report]"),
        (("--from", one, str(tmp_path / "nowhere.json")), "does not exist"),
        (("--from", one, one, "--all"), "--all replays"),
        (("other", "--from", one, one), "[scenario-not-recorded]"),
    ):
        result = run("parity", *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
