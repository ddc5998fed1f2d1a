"""How a task, a grade and a solution look: in a terminal, and where nobody looks."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from lab.practice.grading import Grade, GradedCheck
from lab.practice.json_report import json_report
from lab.practice.record import Attempt
from lab.practice.session import Hint
from lab.practice.terminal import print_grade, print_hint, print_solution, print_task
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from lab.scenario.load import Scenario

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ATTEMPT = Attempt(scenario="demo", directory="", captures={}, started_at=START, possible=4, hints=1)
GRADE = Grade(
    scenario="demo",
    title="A demonstration",
    notes=("the API server is failed: unknown flag",),
    checks=(
        GradedCheck(
            id="other-registry-denied",
            title="gcr.io/x is denied by the bouncer",
            outcome=Outcome.FAIL,
            points=3,
            earned=0,
            request="kubectl run podx --image=gcr.io/x",
            expected="denied by image-policy-backend",
            seen=("allowed",),
            feedback="It was let in. " + "It is a long story. " * 6,
            mistakes=("bouncer-down",),
        ),
        GradedCheck(
            id="docker-hub-allowed", title="docker.io/nginx [is] let in", outcome=Outcome.PASS, points=1, earned=1
        ),
    ),
)


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=60, force_terminal=terminal, color_system=None, highlight=False)


def printed(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_the_task_shows_its_text_the_time_and_the_hints_that_were_taken(scenario: Scenario) -> None:
    out = console(terminal=False)
    print_task(scenario, ATTEMPT, out, now=START + timedelta(minutes=2))

    assert printed(out) == ("demo  easy, 4 points\n\nDo it.\n\nhint 1: Look.\ntime: 2 min of 5 min; hints: 1 of 1\n")


def test_in_a_terminal_the_task_is_rendered(scenario: Scenario) -> None:
    (scenario.directory / "task.md").write_text("Use **Gatekeeper** and\n\n- `one`\n")
    out = console(terminal=True)
    print_task(scenario, ATTEMPT, out, now=START)

    assert "Use Gatekeeper and" in printed(out)
    assert " • one" in printed(out)


def test_where_nobody_looks_a_grade_has_whole_lines(scenario: Scenario) -> None:
    out = console(terminal=False)
    print_grade(GRADE, scenario, ATTEMPT, out, now=START + timedelta(minutes=6))

    assert printed(out).splitlines() == [
        "FAIL  0/3  gcr.io/x is denied by the bouncer",
        "      request  kubectl run podx --image=gcr.io/x",
        "      expected denied by image-policy-backend",
        "      seen     allowed",
        "      feedback It was let in. " + "It is a long story. " * 6,
        "PASS  1/1  docker.io/nginx [is] let in",
        "",
        "note: the API server is failed: unknown flag",
        "1 of 4 points  demo",
        "time: 6 min of 5 min, 1 min over; hints: 1 of 1",
    ]


def test_in_a_terminal_a_grade_fits_its_width(scenario: Scenario) -> None:
    out = console(terminal=True)
    print_grade(GRADE, scenario, ATTEMPT, out, now=START)

    assert max(map(len, printed(out).splitlines())) <= 60
    assert "It is a long story." in printed(out)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_solution_is_shown_as_it_is(*, terminal: bool) -> None:
    out = console(terminal=terminal)
    print_solution("kubectl get pods [x]  # all\n", out)

    assert printed(out).rstrip() == "kubectl get pods [x]  # all"


def test_when_no_hint_is_left_all_are_shown(scenario: Scenario) -> None:
    out = console(terminal=False)
    print_hint(Hint(number=1, total=1, text="Look."), scenario, out)
    print_hint(Hint(number=2, total=1, text=""), scenario, out)

    assert printed(out).splitlines() == [
        "hint 1 of 1: Look.",
        "there is no further hint; these are all 1:",
        "  1. Look.",
    ]


def test_the_grade_as_json_says_all_that_the_terminal_says() -> None:
    report = json.loads(json_report(GRADE, ATTEMPT, used_s=360.4, allowed_minutes=5))

    assert (report["kind"], report["exitCode"], report["points"]) == (
        "PracticeGrade",
        1,
        {"earned": 1, "possible": 4},
    )
    assert (report["usedSeconds"], report["timeMinutes"], report["hintsTaken"]) == (360, 5, 1)
    assert report["checks"][0] == {
        "id": "other-registry-denied",
        "title": "gcr.io/x is denied by the bouncer",
        "outcome": "fail",
        "points": {"earned": 0, "possible": 3},
        "request": "kubectl run podx --image=gcr.io/x",
        "expected": "denied by image-policy-backend",
        "seen": ["allowed"],
        "feedback": GRADE.checks[0].feedback,
        "mistakes": ["bouncer-down"],
    }
