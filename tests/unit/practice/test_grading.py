"""What a person is told about a check: what was seen, and never what to write."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lab.practice.grading import HELD_BEFORE, SEEN_LINES, SEEN_MAX, Grade, grade
from lab.scenario.result import (
    CheckResult,
    Feedback,
    Mismatch,
    Outcome,
    PhaseKind,
    PhaseResult,
    ScenarioResult,
)

if TYPE_CHECKING:
    from lab.scenario.load import Scenario

SECRET = "the text that solves it"


def graded(scenario: Scenario, *checks: CheckResult) -> Grade:
    phase = PhaseResult(kind=PhaseKind.CHECK, name="check", outcome=Outcome.FAIL, checks=checks)
    result = ScenarioResult(name="demo", topic="topic", title="", backend="embedded", phases=(phase,))
    return grade(scenario, result)


def first(outcome: Outcome, *mismatches: Mismatch, problem: str = "", feedback: str = "other") -> CheckResult:
    return CheckResult(
        id="other-registry-denied",
        title="its title",
        verb="nodeFile",
        outcome=outcome,
        points=3,
        mismatches=mismatches,
        problem=problem,
        feedback=Feedback(id=feedback, text="Think.") if outcome is Outcome.FAIL else None,
    )


KEPT = CheckResult(id="docker-hub-allowed", title="kept", verb="probe", outcome=Outcome.PASS, points=1)


def test_of_a_file_or_an_object_it_is_told_what_is_there_and_not_what_should_be(scenario: Scenario) -> None:
    wrong = Mismatch(what="/etc/file .key", expected=SECRET, actual="true")
    check = graded(scenario, first(Outcome.FAIL, wrong), KEPT).checks[0]

    assert check.seen == ("/etc/file .key: true",)
    assert check.expected == "gcr.io/x is denied by the bouncer"
    assert SECRET not in repr(check)


def test_only_the_first_things_seen_are_told_each_in_a_short_line(scenario: Scenario) -> None:
    wrong = [Mismatch(what=f"line {number}", expected="", actual="a\n" * 500) for number in range(9)]
    seen = graded(scenario, first(Outcome.FAIL, *wrong), KEPT).checks[0].seen

    assert len(seen) == SEEN_LINES
    assert all(len(line) <= SEEN_MAX + 3 and "\n" not in line for line in seen)


def test_what_could_not_be_looked_at_is_told_and_brings_nothing(scenario: Scenario) -> None:
    result = graded(scenario, first(Outcome.ERROR, problem="nobody answered"), KEPT)

    assert (result.checks[0].seen, result.checks[0].feedback) == (("nobody answered",), "")
    assert (result.points, result.complete) == (0, False)


def test_a_check_that_never_ran_is_no_pass(scenario: Scenario) -> None:
    result = graded(scenario)

    assert [check.outcome for check in result.checks] == [Outcome.ERROR, Outcome.ERROR]
    assert (result.points, result.possible) == (0, 4)


def test_what_was_kept_counts_once_something_is_done_and_until_then_it_is_told_why_not(scenario: Scenario) -> None:
    done = graded(scenario, first(Outcome.PASS), KEPT)
    assert (done.points, done.notes) == (4, ())
    nothing = graded(scenario, first(Outcome.FAIL), KEPT)
    assert (nothing.points, nothing.notes) == (0, (HELD_BEFORE,))


def test_where_nothing_passes_there_is_nothing_to_explain(scenario: Scenario) -> None:
    assert graded(scenario, first(Outcome.FAIL), replace(KEPT, outcome=Outcome.FAIL)).notes == ()


@pytest.mark.parametrize(("feedback", "mistakes"), [("not-asked", ("bouncer-down",)), ("other", ())])
def test_feedback_of_a_known_mistake_names_it(scenario: Scenario, feedback: str, mistakes: tuple[str, ...]) -> None:
    assert graded(scenario, first(Outcome.FAIL, feedback=feedback), KEPT).checks[0].mistakes == mistakes
