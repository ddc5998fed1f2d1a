"""What came of a scenario: values that reports print and the exit code is made from.

PASS, FAIL, ERROR (could not run) and SKIP stay apart all the way: an outcome is never derived from another one's text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.errors import EXIT_COULD_NOT_RUN, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Outcome(StrEnum):
    """How something ended."""

    PASS = "pass"  # noqa: S105  # an outcome, not a password
    FAIL = "fail"
    """It ran, and what was seen is not what must be seen."""
    ERROR = "error"
    """It could not run, or its cause could not be proved."""
    SKIP = "skip"
    """The backend cannot hold it; the reason is told."""


class Verdict(StrEnum):
    """What became of a request."""

    ALLOWED = "allowed"
    DENIED = "denied"
    ERROR = "error"
    """The API server gave up: a time-out, a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was observed of a probe, and the cause as far as it is proved.

    Attributes:
        verdict: what became of the request.
        deciders: who decided; ``nobody`` for an allowed request, empty when the cause cannot be told.
        message: the API server's Status message; empty when it was allowed.
        reason: the Status reason, for example ``Forbidden``.
        http_status: the HTTP status.
        asked: the backends proved to have been asked.
        not_asked: the backends proved not to have been asked.
        reviewed_images: the images that the backend was shown; None when there is no evidence.
        failed_open: the decision points that failed open; None when there is no evidence either way.
        proof: the evidence behind each statement, one sentence each.
    """

    verdict: Verdict
    deciders: frozenset[str]
    message: str
    reason: str
    http_status: int
    asked: frozenset[str] = frozenset()
    not_asked: frozenset[str] = frozenset()
    reviewed_images: tuple[str, ...] | None = None
    failed_open: tuple[str, ...] | None = None
    proof: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a probe had to get; see `lab.scenario.schema.verbs.Expectation`."""

    verdict: Verdict
    deciders: frozenset[str]
    message: str | None = None
    message_pattern: str | None = None
    asked: frozenset[str] | None = None
    reviewed_images: tuple[str, ...] | None = None
    failed_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """A request, the verdict expected of it and the verdict that it got.

    Attributes:
        request: the request as a person would type it: ``kubectl run podx --image=nginx``.
        expected: what it had to get.
        observed: what it got; None when it could not be sent.
        stored: the object as the API server has it after an allowed request, or would have it after a dry run; None
            when it answers with no object.
        evidence: raw material for the bundle: Status, audit event, reviews.
    """

    request: str
    expected: Expected
    observed: Observed | None
    stored: Mapping[str, object] | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing that is not as it must be: both sides, to be rendered beside each other."""

    what: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a person is told about a failed check."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check.

    Attributes:
        id: its name within the scenario.
        title: one line for a person.
        verb: which verb it used.
        outcome: PASS, FAIL or ERROR.
        points: what it is worth; earned only with PASS.
        mismatches: why it failed.
        problem: why it could not run or prove its cause; empty unless ERROR.
        observed: the facts that were seen, by which feedback is chosen.
        feedback: what to tell a person; None unless FAIL.
        probe: the probe behind it, if its verb is one.
        duration_s: how long it took, in seconds.
        waited_s: how much of that was spent waiting for it to become true.
        attempts: how often it was tried.
    """

    id: str
    title: str
    verb: str
    outcome: Outcome
    points: int
    mismatches: tuple[Mismatch, ...] = ()
    problem: str = ""
    observed: Mapping[str, str] = field(default_factory=dict)
    feedback: Feedback | None = None
    probe: ProbeResult | None = None
    duration_s: float = 0.0
    waited_s: float = 0.0
    attempts: int = 1

    @property
    def earned(self) -> int:
        """The points that it brings."""
        return self.points if self.outcome is Outcome.PASS else 0


class PhaseKind(StrEnum):
    """What a phase of a scenario proves."""

    UNTOUCHED = "untouched"
    """The start state does not solve the task."""
    SOLUTION = "solution"
    """The solution does."""
    MISTAKE = "mistake"
    """A mistake is found, with its feedback."""
    CHECK = "check"
    """What a person did is graded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResult:
    """One phase.

    Attributes:
        kind: what it proves.
        name: ``untouched``, ``solution``, ``mistake/<id>`` or ``check``.
        outcome: whether it proved that.
        checks: the checks that ran in it, with their own outcomes: an untouched start state PASSes by a check that
            FAILs.
        problem: why the phase did not pass, in a sentence; empty when it did.
        setup_s: how long the start state took, in seconds.
        duration_s: how long all of it took.
        waited_s: how much of that was spent in waits.
    """

    kind: PhaseKind
    name: str
    outcome: Outcome
    checks: tuple[CheckResult, ...] = ()
    problem: str = ""
    setup_s: float = 0.0
    duration_s: float = 0.0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """One scenario on one backend.

    Attributes:
        name: its name.
        topic: its topic.
        title: one line for a person.
        backend: where it ran.
        phases: what was proved.
        skipped: why it was skipped; empty when it ran.
        bundle: where the evidence of a failure lies.
        duration_s: how long it took, in seconds.
    """

    name: str
    topic: str
    title: str
    backend: str
    phases: tuple[PhaseResult, ...] = ()
    skipped: str = ""
    bundle: Path | None = None
    duration_s: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """SKIP when it did not run; else FAIL before ERROR before PASS."""
        if self.skipped:
            return Outcome.SKIP
        return worst(phase.outcome for phase in self.phases)

    @property
    def waited_s(self) -> float:
        """How much of the time was spent in waits."""
        return sum(phase.waited_s for phase in self.phases)

    @property
    def points(self) -> tuple[int, int]:
        """Points earned and points possible in the last phase that was graded by points."""
        graded = [p for p in self.phases if p.kind in (PhaseKind.SOLUTION, PhaseKind.CHECK)]
        checks = graded[-1].checks if graded else ()
        return sum(check.earned for check in checks), sum(check.points for check in checks)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """FAIL if any failed, else ERROR if any could not run, else PASS if any passed; ERROR for nothing at all.

    FAIL wins over ERROR: a wrong verdict is a finding whatever else could not run. Nothing at all is no success.
    """
    seen = set(outcomes)
    for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.PASS, Outcome.SKIP):
        if outcome in seen:
            return outcome
    return Outcome.ERROR


def exit_code(results: Iterable[ScenarioResult]) -> int:
    """The exit code of a run: 0 when all passed or were skipped, 1 when any failed, else 3 when any could not run."""
    seen = {result.outcome for result in results}
    if Outcome.FAIL in seen:
        return EXIT_FAILED
    return EXIT_COULD_NOT_RUN if Outcome.ERROR in seen else EXIT_OK
