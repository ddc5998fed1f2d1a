"""Points from the outcomes of checks, and what a person is told about each: what was seen, never how to do it.

A check that holds in the untouched start state earns its points only once something of the task is done: whoever did
nothing has lost nothing, and has not earned anything either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import EXIT_FAILED, EXIT_OK
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.scenario.load import Scenario
    from lab.scenario.result import CheckResult, Observed, ProbeResult, ScenarioResult
    from lab.scenario.schema.scenario import Check

SEEN_MAX = 200
"""Characters that are shown of something seen."""
SEEN_LINES = 3
"""Things seen that are told of one check; the first ones say enough."""
HELD_BEFORE = "what holds without your doing brings its points once something of the task is done"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedCheck:
    """One check as a person is told about it.

    Attributes:
        id: its name within the scenario.
        title: what must be true, in a line.
        outcome: PASS, FAIL or ERROR.
        points: what it is worth.
        earned: what it brings.
        request: the request that was sent, for a probe; empty otherwise.
        expected: what must be seen; empty when it passed.
        seen: what was seen instead, or why it could not be seen; empty when it passed.
        feedback: what to think about; empty unless it failed.
        mistakes: ids of the known mistakes that have this feedback.
    """

    id: str
    title: str
    outcome: Outcome
    points: int
    earned: int
    request: str = ""
    expected: str = ""
    seen: tuple[str, ...] = ()
    feedback: str = ""
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What a person has achieved.

    Attributes:
        scenario: the scenario's name.
        title: its title.
        checks: in the order of the scenario.
        notes: what is to be said of more than one check, one sentence each.
    """

    scenario: str
    title: str
    checks: tuple[GradedCheck, ...]
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """Points earned."""
        return sum(check.earned for check in self.checks)

    @property
    def possible(self) -> int:
        """Points that there are."""
        return sum(check.points for check in self.checks)

    @property
    def complete(self) -> bool:
        """Whether every check passed."""
        return all(check.outcome is Outcome.PASS for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 for full points, 1 for less."""
        return EXIT_OK if self.complete else EXIT_FAILED


def grade(scenario: Scenario, result: ScenarioResult) -> Grade:
    """The grade for a scenario of which a person's work was checked.

    Args:
        scenario: the scenario.
        result: what its checks saw.
    """
    found = {check.id: check for phase in result.phases for check in phase.checks}
    checks = scenario.document.graded
    begun = any(check.untouched == "fails" and _passed(found.get(check.id)) for check in checks)
    passes_in_vain = not begun and any(_passed(check) for check in found.values())
    return Grade(
        scenario=scenario.name,
        title=scenario.document.metadata.title,
        checks=tuple(_graded(scenario, check, found.get(check.id), begun=begun) for check in checks),
        notes=(HELD_BEFORE,) if passes_in_vain else (),
    )


def possible_points(scenario: Scenario) -> int:
    """The points that a scenario has."""
    return sum(check.points for check in scenario.document.checks)


def _passed(result: CheckResult | None) -> bool:
    return result is not None and result.outcome is Outcome.PASS


def _graded(scenario: Scenario, check: Check, result: CheckResult | None, *, begun: bool) -> GradedCheck:
    if result is None:
        why = ("it was not looked at",)
        return GradedCheck(
            id=check.id, title=check.title, outcome=Outcome.ERROR, points=check.points, earned=0, seen=why
        )
    request = "" if result.probe is None else result.probe.request
    if result.outcome is Outcome.PASS:
        return GradedCheck(
            id=check.id,
            title=check.title,
            outcome=result.outcome,
            points=check.points,
            earned=result.earned if begun else 0,
            request=request,
        )
    feedback = result.feedback
    return GradedCheck(
        id=check.id,
        title=check.title,
        outcome=result.outcome,
        points=check.points,
        earned=0,
        request=request,
        expected=check.title if result.probe is None else _expected(result.probe),
        seen=tuple(_clipped(text) for text in _seen(result)),
        feedback="" if feedback is None else feedback.text,
        mistakes=tuple(
            mistake.id
            for mistake in scenario.document.mistakes
            if feedback is not None and (mistake.fails, mistake.feedback) == (check.id, feedback.id)
        ),
    )


def _expected(probe: ProbeResult) -> str:
    """The verdict that a request must get; the task says as much."""
    expected = probe.expected
    deciders = expected.deciders - {"nobody"}
    by = f" by {', '.join(sorted(deciders))}" if deciders else ""
    message = f": {expected.message}" if expected.message else ""
    return f"{expected.verdict.value}{by}{message}"


def _seen(result: CheckResult) -> Iterator[str]:
    """What was seen: of a request its verdict; of anything else what is there, and not what should be."""
    if result.problem:
        yield result.problem
        return
    if result.probe is not None and result.probe.observed is not None:
        yield _verdict(result.probe.observed)
        verdict_says_it = {"verdict", "decider", "message"}
    else:
        verdict_says_it = set()
    others = [mismatch for mismatch in result.mismatches if mismatch.what not in verdict_says_it]
    for mismatch in others[:SEEN_LINES]:
        yield f"{mismatch.what}: {mismatch.actual}"


def _verdict(observed: Observed) -> str:
    deciders = observed.deciders - {"nobody"}
    by = f" by {', '.join(sorted(deciders))}" if deciders else ""
    open_ = f", because {', '.join(observed.failed_open)} failed open" if observed.failed_open else ""
    message = f": {observed.message}" if observed.message else ""
    return f"{observed.verdict.value}{by}{open_}{message}"


def _clipped(text: str) -> str:
    """A text in one line, shortened to what a person reads."""
    line = " ".join(text.split())
    return line if len(line) <= SEEN_MAX else f"{line[:SEEN_MAX]}..."
