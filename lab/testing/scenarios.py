"""Scenarios as tests: which cases there are, how one runs, and what is told about it.

A case is what can pass or fail by itself: the solution (with the untouched state that it starts from) and each mistake.
FAIL becomes a failed test, ERROR an error in its set-up, SKIP a skipped test with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from lab.paths import LabPaths
from lab.scenario import load
from lab.scenario.result import Outcome, PhaseKind, ScenarioResult
from lab.scenario.run import Event, EventKind, plan_for, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from lab.cluster.protocol import Cluster
    from lab.scenario.load import Scenario
    from lab.scenario.plan import Plan
    from lab.scenario.result import CheckResult, PhaseResult

SOLUTION = "solution"
UNTOUCHED = "untouched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test that a scenario makes.

    Attributes:
        scenario: the scenario.
        name: ``solution`` or ``mistake/<id>``.
    """

    scenario: Scenario
    name: str

    @property
    def id(self) -> str:
        """Its name among all cases, for ``-k`` and reports."""
        return f"{self.scenario.name}/{self.name}"

    def plan_on(self, cluster: Cluster) -> Plan:
        """The part of the scenario's plan that this case runs; the cluster need not run yet."""
        names = {UNTOUCHED, SOLUTION} if self.name == SOLUTION else {self.name}
        whole = plan_for(self.scenario, cluster)
        return replace(whole, phases=tuple(phase for phase in whole.phases if phase.name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRun:
    """A case that ran, to be judged by a test.

    Attributes:
        case: the case.
        result: what came of it.
    """

    case: Case
    result: ScenarioResult

    def verify(self) -> None:
        """Fail the test unless the case passed; says what was expected and what was seen."""
        __tracebackhide__ = True
        if self.result.outcome is not Outcome.PASS:
            pytest.fail(explain(self.result), pytrace=False)


def cases_in(directories: Iterable[Path], *, seed: int | None = None) -> tuple[Case, ...]:
    """The cases of all scenarios below some directories, those of one start state together.

    Args:
        directories: where scenarios lie.
        seed: have the scenarios in the random order of this seed instead.

    Raises:
        InputError: a directory is none, or a scenario is faulty; all faults are told.
    """
    scenarios = load.load_all([directory for root in directories for directory in load.discover(root)])
    return tuple(
        Case(scenario=scenario, name=name)
        for scenario in (load.by_state(scenarios) if seed is None else load.shuffle(scenarios, seed))
        for name in (SOLUTION, *(f"mistake/{mistake.id}" for mistake in scenario.document.mistakes))
    )


def reason_to_skip(to_run: Plan) -> str:
    """Why nothing of a plan can run; empty when something can."""
    if to_run.skip or not to_run.phases:
        return to_run.skip or "there is nothing to run"
    return to_run.phases[0].skip if all(phase.skip for phase in to_run.phases) else ""


def run_case(case: Case, cluster: Cluster, *, passed_after_s: dict[str, float], tell: Callable[[str], None]) -> CaseRun:
    """Run a case on a cluster that runs.

    Args:
        case: the case.
        cluster: where.
        passed_after_s: of this scenario, as `run_scenario` has it: the same for its solution and its mistakes.
        tell: given a line for everything that happens.
    """

    def on_event(event: Event) -> None:
        if event.kind is EventKind.PROGRESS:
            tell(f"{event.phase}: {event.text}")
        elif event.check is not None:
            tell(f"{event.phase}: {event.check.outcome.value} {event.check.id} ({event.check.duration_s:.1f} s)")

    result = run_scenario(
        case.scenario,
        cluster,
        to_run=case.plan_on(cluster),
        bundles=LabPaths.from_environment().state / "bundles",
        passed_after_s=passed_after_s,
        on_event=on_event,
    )
    return CaseRun(case=case, result=result)


def explain(result: ScenarioResult) -> str:
    """A result that is no pass, for a person: each phase, what is wrong in it, where the evidence is."""
    lines = [f"scenario {result.name} on {result.backend}: {result.outcome.value.upper()}"]
    for phase in result.phases:
        lines.append(f"{phase.name}: {phase.outcome.value.upper()}")
        if phase.outcome is not Outcome.PASS:
            lines += [f"  {line}" for line in phase.problem.splitlines()]
            lines += [f"  {line}" for check in _telling(phase) for line in _check_lines(check)]
    if result.bundle is not None:
        lines.append(f"evidence: {result.bundle}")
    return "\n".join(lines)


def _telling(phase: PhaseResult) -> Iterator[CheckResult]:
    """The checks that say why a phase did not pass; where a check had to fail, one that passed says it too."""
    for check in phase.checks:
        if check.outcome is not Outcome.PASS or phase.kind in (PhaseKind.UNTOUCHED, PhaseKind.MISTAKE):
            yield check


def _check_lines(check: CheckResult) -> Iterator[str]:
    yield f"{check.outcome.value} {check.id}: {check.title}"
    if check.probe is not None:
        yield f"  $ {check.probe.request}"
    for mismatch in check.mismatches:
        yield f"  {mismatch.what}: expected {mismatch.expected}"
        yield f"  {' ' * len(mismatch.what)}  actually {mismatch.actual}"
    if check.problem:
        yield from (f"  {line}" for line in check.problem.splitlines())
    if check.feedback is not None:
        yield f"  feedback {check.feedback.id}: {check.feedback.text}"
