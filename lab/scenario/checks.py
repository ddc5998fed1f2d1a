"""Runs a check or a wait: looks until it is as it must be, or the time is over; chooses the feedback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.errors import LabError, WaitError
from lab.scenario import verbs
from lab.scenario.result import CheckResult, Feedback, Outcome
from lab.scenario.sighting import Sighting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.scenario.schema.scenario import Check, FeedbackRule, Wait
    from lab.scenario.schema.verbs import Verbs
    from lab.scenario.sighting import Context

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
LONGEST_PAUSE_OF_WAITS_S = 0.25
"""A start state is waited for by a person, and what it waits for mostly comes within seconds."""


def run_check(check: Check, context: Context, *, deadline: float) -> CheckResult:
    """Run a check until it passes or the deadline is over; once, when that is over already.

    Args:
        check: the check.
        context: what its verb works with.
        deadline: on the context's clock.
    """
    began = context.clock()
    sighting, attempts, first_s = _until_pass(check, context, deadline, longest_pause_s=LONGEST_PAUSE_S)
    duration = context.clock() - began
    return CheckResult(
        id=check.id,
        title=check.title,
        verb=check.chosen,
        outcome=sighting.outcome,
        points=check.points,
        mismatches=sighting.mismatches,
        problem=sighting.problem,
        observed=sighting.facts,
        feedback=choose(check.feedback, sighting.facts) if sighting.outcome is Outcome.FAIL else None,
        probe=sighting.probe,
        duration_s=duration,
        waited_s=duration - first_s if attempts > 1 else 0.0,
        attempts=attempts,
    )


def run_wait(wait: Wait, context: Context) -> None:
    """Wait for a condition.

    Raises:
        WaitError: it did not come true.
    """
    deadline = context.clock() + wait.timeout_seconds
    sighting, _, _ = _until_pass(wait, context, deadline, longest_pause_s=LONGEST_PAUSE_OF_WAITS_S)
    if sighting.outcome is not Outcome.PASS:
        seen = [f"{m.what}: {m.actual} (must be {m.expected})" for m in sighting.mismatches] or [sighting.problem]
        raise WaitError(
            what=wait.title,
            timeout_s=wait.timeout_seconds,
            last_seen="; ".join(seen),
            hint="see `lab status` and `lab logs`; the start state of the scenario may not fit this cluster",
        )


def choose(rules: Sequence[FeedbackRule], facts: Mapping[str, str]) -> Feedback:
    """The first feedback whose every condition is found in the facts; the last one has none."""
    for rule in rules:
        if all(re.search(pattern, facts.get(fact, "")) for fact, pattern in rule.when.items()):
            return Feedback(id=rule.id, text=rule.say)
    return Feedback(id=rules[-1].id, text=rules[-1].say)


def _until_pass(
    step: Verbs, context: Context, deadline: float, *, longest_pause_s: float
) -> tuple[Sighting, int, float]:
    """The last sighting, how many there were, and how long the first one took."""
    attempts, pause, first_s = 0, FIRST_PAUSE_S, 0.0
    while True:
        began = context.clock()
        sighting = _sight(step, context)
        attempts += 1
        if attempts == 1:
            first_s = context.clock() - began
        if sighting.outcome is Outcome.PASS or context.clock() + pause > deadline:
            return sighting, attempts, first_s
        context.pause(pause)
        pause = min(pause * 2, longest_pause_s)


def _sight(step: Verbs, context: Context) -> Sighting:
    """Look once. What stops a verb from looking is its result: ERROR, with the reason."""
    try:
        return verbs.look(step, context)
    except LabError as error:
        return Sighting(facts={}, problem=str(error))
