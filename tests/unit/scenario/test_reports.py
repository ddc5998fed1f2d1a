"""What the reports look like: golden files."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from lab.scenario.report.json_report import json_report
from lab.scenario.report.junit import junit_report
from lab.scenario.report.terminal import print_report, times
from lab.scenario.result import (
    CheckResult,
    Expected,
    Feedback,
    Mismatch,
    Observed,
    Outcome,
    PhaseKind,
    PhaseResult,
    ProbeResult,
    ScenarioResult,
    Verdict,
    exit_code,
    worst,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Golden = Callable[[Path, str], None]

GOLDEN = Path(__file__).parent / "golden"

GATEKEEPER = 'admission webhook "validation.gatekeeper.sh" denied the request: [pod-trusted-images] not trusted image!'
CLOSED = (
    'pods "podx" is forbidden: Post "https://image-bouncer-webhook:30080/check-image?timeout=30s": dial tcp '
    "127.0.0.1:30080: connect: connection refused"
)

DENIED = CheckResult(
    id="short-name-denied",
    title="nginx, without a registry, is denied by the constraint",
    verb="probe",
    outcome=Outcome.PASS,
    points=4,
    duration_s=0.05,
    probe=ProbeResult(
        request="kubectl run podx --image=nginx",
        expected=Expected(
            verdict=Verdict.DENIED, deciders=frozenset({"gatekeeper:pod-trusted-images"}), message=GATEKEEPER
        ),
        observed=Observed(
            verdict=Verdict.DENIED,
            deciders=frozenset({"gatekeeper:pod-trusted-images"}),
            message=GATEKEEPER,
            reason="Forbidden",
            http_status=403,
            asked=frozenset({"validation.gatekeeper.sh"}),
            failed_open=(),
            proof=("the message has that decider's own shape",),
        ),
    ),
)
ALLOWED = CheckResult(
    id="docker-hub-allowed",
    title="docker.io/nginx is let in",
    verb="probe",
    outcome=Outcome.PASS,
    points=1,
    duration_s=0.06,
    probe=ProbeResult(
        request="kubectl run podx --image=docker.io/nginx",
        expected=Expected(verdict=Verdict.ALLOWED, deciders=frozenset({"nobody"})),
        observed=Observed(
            verdict=Verdict.ALLOWED,
            deciders=frozenset({"nobody"}),
            message="",
            reason="",
            http_status=201,
            failed_open=(),
            proof=("the audit event has no failed-open annotation",),
        ),
        stored={"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "podx"}},
    ),
)
WRONG = replace(
    DENIED,
    outcome=Outcome.FAIL,
    mismatches=(
        Mismatch(what="decider", expected="gatekeeper:pod-trusted-images", actual="image-policy-failed-closed"),
        Mismatch(what="message", expected=GATEKEEPER, actual=CLOSED),
    ),
    feedback=Feedback(id="other-cause", text="Something other than the constraint denied the Pod."),
    probe=replace(
        DENIED.probe,  # type: ignore[type-var]
        observed=Observed(
            verdict=Verdict.DENIED,
            deciders=frozenset({"image-policy-failed-closed"}),
            message=CLOSED,
            reason="Forbidden",
            http_status=403,
        ),
    ),
    waited_s=4.9,
    attempts=8,
)
UNPROVED = replace(
    ALLOWED,
    outcome=Outcome.ERROR,
    problem="not proved: whether something failed open: no audit event, no bracket and no record",
)

PASSED = ScenarioResult(
    name="gatekeeper-trusted-images",
    topic="gatekeeper",
    title="Let Gatekeeper admit Pods from two trusted registries only",
    backend="embedded",
    duration_s=6.25,
    phases=(
        PhaseResult(kind=PhaseKind.UNTOUCHED, name="untouched", outcome=Outcome.PASS, duration_s=2.1, setup_s=1.9),
        PhaseResult(
            kind=PhaseKind.SOLUTION,
            name="solution",
            outcome=Outcome.PASS,
            checks=(DENIED, ALLOWED),
            duration_s=2.0,
            waited_s=0.5,
        ),
        PhaseResult(kind=PhaseKind.MISTAKE, name="mistake/dry-run", outcome=Outcome.PASS, duration_s=2.15),
    ),
)
FAILED = replace(
    PASSED,
    name="imagepolicy-enable",
    topic="imagepolicy",
    title="Have the API server ask a webhook about every image",
    bundle=Path("bundles/imagepolicy-enable"),
    phases=(
        replace(
            PASSED.phases[1],
            outcome=Outcome.FAIL,
            checks=(WRONG, UNPROVED),
            problem="short-name-denied: fail, docker-hub-allowed: error",
        ),
        replace(PASSED.phases[2], outcome=Outcome.ERROR, problem="the start state could not be made \x07[red]"),
    ),
)
SKIPPED = ScenarioResult(
    name="image-slim",
    topic="images",
    title="Make a heavy image small",
    backend="embedded",
    skipped="the backend embedded lacks runs-images",
)
RESULTS = (PASSED, FAILED, SKIPPED)


def terminal(*, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    print_report(RESULTS, console, took_s=12.5)
    written = console.file
    assert isinstance(written, io.StringIO)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def test_the_terminal_report_without_colour_at_80_columns(golden: Golden) -> None:
    text = terminal(width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    golden(GOLDEN / "terminal.txt", text)


def test_every_message_is_in_the_terminal_report_whole() -> None:
    flat = "".join(terminal(width=80).split())
    for message in (GATEKEEPER, CLOSED):
        assert message.replace(" ", "") in flat


def test_the_json_report(golden: Golden) -> None:
    text = json_report(RESULTS)
    assert json.loads(text)["exitCode"] == 1
    golden(GOLDEN / "report.json", text)


def test_the_junit_report(golden: Golden) -> None:
    text = junit_report(RESULTS)
    root = ET.fromstring(text)  # noqa: S314  # made a line above
    counts = {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "1", "errors": "1", "skipped": "1"}
    golden(GOLDEN / "junit.xml", text)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PASS, Outcome.SKIP], 0),
        ([Outcome.PASS, Outcome.ERROR], 3),
        ([Outcome.ERROR, Outcome.FAIL], 1),
        ([], 0),
    ],
)
def test_the_exit_code_keeps_failed_and_could_not_run_apart(outcomes: list[Outcome], code: int) -> None:
    results = [
        replace(
            SKIPPED,
            skipped="x" if outcome is Outcome.SKIP else "",
            phases=(replace(PASSED.phases[0], outcome=outcome),),
        )
        for outcome in outcomes
    ]
    assert exit_code(results) == code


def test_only_several_scenarios_are_compared_by_their_time() -> None:
    slow, fast = replace(PASSED, name="slow", duration_s=9.0), replace(PASSED, name="fast", duration_s=1.0)

    assert list(times([PASSED, SKIPPED])) == []
    assert str(next(times([fast, PASSED, SKIPPED, slow, fast]))) == (
        f"slowest: slow 9.0 s, {PASSED.name} {PASSED.duration_s:.1f} s, fast 1.0 s"
    )


def test_nothing_at_all_is_no_success() -> None:
    assert worst([]) is Outcome.ERROR
