"""The commands of the practice: what they ask of a lab, what they print, and how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from lab.cluster.embedded import shell_commands
from lab.cluster.protocol import Capability
from lab.practice.record import RecordFile
from lab.scenario.load import discover
from lab.scenario.result import CheckResult, Feedback, Outcome, PhaseKind, PhaseResult, ScenarioResult
from tests.unit.cli.test_replay import root

if TYPE_CHECKING:
    from lab.practice.record import Attempt
    from lab.scenario.load import Scenario
    from tests.unit.cli.conftest import FakeCluster, Lab, Labs

__all__ = ["root"]


class Engine:
    """Stands in for the runner: start states are made, and the only check ends as the test says."""

    def __init__(self) -> None:
        self.outcome = Outcome.FAIL
        self.patience_s = -1.0

    def start_scenario(
        self, scenario: Scenario, cluster: FakeCluster, *, fresh: bool, **_more: object
    ) -> dict[str, str]:
        cluster.calls.append(("prepare", scenario.name, "fresh" if fresh else "put back"))
        return {}

    def run_scenario(self, scenario: Scenario, cluster: FakeCluster, *, patience_s: float, **_more: object) -> Any:
        self.patience_s = patience_s
        failed = self.outcome is Outcome.FAIL
        check = CheckResult(
            id="done",
            title="It is done",
            verb="exec",
            outcome=self.outcome,
            points=1,
            feedback=Feedback(id="not-done", text="It is not done.") if failed else None,
        )
        phase = PhaseResult(kind=PhaseKind.CHECK, name="check", outcome=self.outcome, checks=(check,))
        return ScenarioResult(
            name=scenario.name, topic=scenario.topic, title="", backend=cluster.backend, phases=(phase,)
        )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr("lab.practice.session.start_scenario", engine.start_scenario)
    monkeypatch.setattr("lab.practice.session.run_scenario", engine.run_scenario)
    return engine


@pytest.fixture
def start(run: Lab, root: Path, engine: Engine) -> Lab:
    """Starts a scenario of the test's own."""
    del engine
    return lambda *arguments: run("start", "--scenarios", str(root), *arguments)


def current(tmp_path: Path, lab: str = "lab") -> Attempt | None:
    return RecordFile(tmp_path / "home" / "state" / "practice" / f"{lab}.json").load().current


def test_start_brings_a_lab_up_and_shows_the_task(start: Lab, labs: Labs) -> None:
    result = start("first")

    assert result.exit_code == 0
    assert labs.clusters["lab"].calls == [("up", "off+gatekeeper"), ("prepare", "first", "fresh")]
    assert "first  easy, 1 points\n\nDo it.\n" in result.stdout
    assert re.search(r"time: \d+ s of 8 min; hints: 0 of 1", result.stdout)
    assert "lab node shell" in result.stdout


def test_no_shell_opens_where_there_is_no_terminal(start: Lab, labs: Labs) -> None:
    start("first")

    assert not [call for call in labs.clusters["lab"].calls if call[0] == "node_shell"]


@pytest.mark.parametrize(("options", "opened"), [((), True), (("--no-shell",), False)])
def test_in_a_terminal_a_shell_opens_on_the_node(
    start: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], *, opened: bool
) -> None:
    monkeypatch.setattr("lab.cli.practice.at_a_terminal", lambda: True)
    labs.add(shell_code=7)
    result = start("first", *options)

    assert result.exit_code == 0, "what the last command of the shell ended with says nothing of the start"
    assert (("node_shell",) in labs.clusters["lab"].calls) is opened


def test_on_the_node_no_shell_opens_in_the_shell(start: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.cli.practice.at_a_terminal", lambda: True)
    monkeypatch.setenv(shell_commands.INSIDE_VARIABLE, "1")
    start("first")

    assert ("node_shell",) not in labs.clusters["lab"].calls


def test_start_does_not_throw_work_away_unasked(start: Lab, labs: Labs, tmp_path: Path) -> None:
    cluster = labs.add(phase="running", state="off+gatekeeper")
    result = start("first")

    assert result.exit_code == 2
    assert "the lab lab runs; throw what was done in it away?" in result.stderr
    assert cluster.calls == []
    assert start("first", "--yes").exit_code == 0
    assert cluster.calls == [("prepare", "first", "put back")]
    assert "throw the practice of first away?" in start("second").stderr
    assert getattr(current(tmp_path), "scenario", "") == "first"


def test_what_is_solved_is_left_without_a_question(start: Lab, run: Lab, engine: Engine, tmp_path: Path) -> None:
    start("first")
    engine.outcome = Outcome.PASS
    run("check")
    result = start("first")

    assert result.exit_code == 0
    assert re.search(r"^your best so far: 1 of 1 points in \d+ s$", result.stderr, re.MULTILINE)
    assert getattr(current(tmp_path), "solved_at", "") is None


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 2)])
def test_a_person_is_asked(start: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch, *, answer: bool, code: int) -> None:
    labs.add(phase="running", state="off")
    monkeypatch.setattr("lab.cli.practice.at_a_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", lambda _question, **_more: answer)

    assert start("first").exit_code == code


def test_ctrl_c_at_the_question_is_an_interrupt(start: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_question: str, **_more: object) -> bool:
        raise click.Abort

    labs.add(phase="running", state="off")
    monkeypatch.setattr("lab.cli.practice.at_a_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", interrupt)

    assert start("first").exit_code == 130


def test_an_unknown_scenario_is_told_with_the_nearest_and_starts_nothing(start: Lab, labs: Labs) -> None:
    result = start("frist")

    assert result.exit_code == 2
    assert "did you mean first" in result.stderr
    assert labs.opened == []


def test_one_faulty_scenario_does_not_keep_another_from_being_started(start: Lab, root: Path) -> None:
    (root / "audit" / "second" / "scenario.yaml").write_text("kind: [")

    assert start("first").exit_code == 0


@pytest.mark.parametrize("command", ["task", "check", "hint", "solution"])
def test_without_a_started_scenario_there_is_nothing_to_show(run: Lab, command: str) -> None:
    result = run(command)

    assert result.exit_code == 3
    assert "[no-scenario-started]" in result.stderr
    assert "lab start NAME" in result.stderr


def test_check_ends_with_0_for_full_points_only(start: Lab, run: Lab, engine: Engine) -> None:
    start("first")
    failed = run("check", "--wait", "7")
    engine.outcome = Outcome.PASS
    passed = run("check")

    assert (failed.exit_code, passed.exit_code) == (1, 0)
    assert "      feedback It is not done.\n" in failed.stdout
    assert "0 of 1 points  first" in failed.stdout
    assert "1 of 1 points  first" in passed.stdout
    assert engine.patience_s == 0.5


def test_check_hands_on_how_long_to_wait(start: Lab, run: Lab, engine: Engine) -> None:
    start("first")
    run("check", "--wait", "7")

    assert engine.patience_s == 7.0


def test_check_as_json(start: Lab, run: Lab) -> None:
    start("first")
    run("hint")
    result = run("check", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == report["exitCode"] == 1
    assert report["points"] == {"earned": 0, "possible": 1}
    assert report["hintsTaken"] == 1


def test_hints_come_in_turn(start: Lab, run: Lab) -> None:
    start("first")

    assert run("hint").stdout == "hint 1 of 1: Look closely.\n"
    assert "there is no further hint" in run("hint").stdout
    assert "hint 1: Look closely.\n" in run("task").stdout


def test_the_solution_is_not_shown_unasked(start: Lab, run: Lab) -> None:
    start("first")
    refused = run("solution")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "[nobody-to-ask]" in refused.stderr
    assert run("solution", "--yes").stdout == "true\n"
    assert "the solution was shown" in run("task").stdout


def test_a_person_who_says_no_does_not_see_the_solution(start: Lab, run: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    start("first")
    monkeypatch.setattr("lab.cli.practice.at_a_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", lambda _question, **_more: False)
    result = run("solution")

    assert (result.exit_code, result.stdout) == (0, "")


def test_each_lab_has_a_practice_of_its_own(start: Lab, run: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    start("first")
    monkeypatch.setenv("LAB_NAME", "two")
    start("third")

    assert run("task").stdout.startswith("third ")
    assert run("task", "-n", "lab").stdout.startswith("first ")


def test_reset_puts_back_the_scenario_that_was_started(start: Lab, run: Lab, labs: Labs, tmp_path: Path) -> None:
    start("first")
    labs.clusters["lab"].calls.clear()
    result = run("reset")

    assert result.stdout.endswith(" s: first\n")
    assert labs.clusters["lab"].calls == [("prepare", "first", "put back")]
    assert current(tmp_path) is not None


@pytest.mark.parametrize(
    "command", [("reset", "--state", "off"), ("down",), ("down", "--all"), ("run", "first", "--name", "lab")]
)
def test_whatever_takes_the_start_state_away_ends_the_practice_and_says_so(
    start: Lab, run: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    start("first")
    run("check")
    monkeypatch.setenv("LAB_SCENARIOS", str(tmp_path / "scenarios"))
    monkeypatch.setattr("lab.cli.replay.replay_in", lambda *_args, **_more: ())
    result = run(*command)

    assert "the practice of first has ended, 0 of 1 points\n" in result.stderr
    assert current(tmp_path) is None


def test_a_lab_that_ended_by_itself_is_brought_up_without_the_practice(
    start: Lab, run: Lab, labs: Labs, tmp_path: Path
) -> None:
    start("first")
    labs.clusters["lab"].phase = "stopped"
    lost = run("check")
    run("up")

    assert "[lab-not-running]" in lost.stderr
    assert current(tmp_path) is None


def test_every_scenario_of_the_project_can_be_started(
    run: Lab, labs: Labs, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    del engine
    for directory in discover(Path(__file__).parents[3] / "scenarios"):
        monkeypatch.setenv("LAB_NAME", directory.name)
        labs.add(directory.name, capabilities=frozenset(Capability))
        result = run("start", directory.name, "--scenarios", str(directory.parents[1]))
        assert result.exit_code == 0, result.stderr
