"""Runs a scenario on a cluster, phase by phase. Tells events, prints nothing, and gives back one result.

A phase that cannot run is ERROR with its reason; the next one that starts afresh runs all the same.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.cluster.protocol import Guest, Snapshots
from lab.errors import LabError
from lab.scenario import start
from lab.scenario.api import Api, KubeconfigTransport
from lab.scenario.bundle import write_bundle
from lab.scenario.checks import run_check
from lab.scenario.evidence import AuditLog, BouncerRecord
from lab.scenario.plan import Mode, Phase, Plan, plan
from lab.scenario.result import CheckResult, Outcome, PhaseKind, PhaseResult, ScenarioResult, worst
from lab.scenario.settling import come_to_rest
from lab.scenario.sighting import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lab.cluster.protocol import Cluster
    from lab.scenario.api import Transport
    from lab.scenario.load import Scenario
    from lab.scenario.schema.scenario import Check, Mistake


SETTLED_FACTOR = 3.0
SETTLED_MIN_S = 1.0
"""A mistake counts as found when its check still fails after this many times the time that went by until the solution's
passing attempt began, and after this many seconds at least: longer only waits for nothing."""


TAKES_HOLD_S = 5.0
AGAIN_S = 0.2
"""A check that passes in spite of a mistake, gives other feedback or cannot run is looked at again, every so many
seconds, for so long: what the mistake spoils may hold for a moment yet, because a policy takes effect a moment after it
is made, and a Pod of before may still be there."""


class EventKind(StrEnum):
    """What happened."""

    SCENARIO_STARTED = "scenario-started"
    PHASE_STARTED = "phase-started"
    PROGRESS = "progress"
    CHECK_FINISHED = "check-finished"
    PHASE_FINISHED = "phase-finished"
    SCENARIO_FINISHED = "scenario-finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a person who watches may want to see.

    Attributes:
        kind: what happened.
        scenario: name of the scenario.
        phase: name of the phase; empty outside of one.
        text: a sentence, for ``PROGRESS``.
        check: for ``CHECK_FINISHED``.
        result: for ``PHASE_FINISHED``.
    """

    kind: EventKind
    scenario: str
    phase: str = ""
    text: str = ""
    check: CheckResult | None = None
    result: PhaseResult | None = None


def _ignore(_event: Event) -> None:
    """Nobody watches."""


def plan_for(scenario: Scenario, cluster: Cluster, *, mode: Mode = Mode.TEST, mistakes: bool = True) -> Plan:
    """What to run for a scenario on a cluster; see `lab.scenario.plan.plan`."""
    return plan(
        scenario,
        backend=cluster.backend,
        capabilities=cluster.capabilities,
        can_reset=isinstance(cluster, Snapshots),
        refusal=cluster.refusal if isinstance(cluster, Guest) else None,
        mode=mode,
        mistakes=mistakes,
    )


def start_scenario(
    scenario: Scenario,
    cluster: Cluster,
    *,
    progress: Callable[[str], None],
    fresh: bool = False,
    transport: Transport | None = None,
) -> dict[str, str]:
    """Put a person into the start state of a scenario.

    Args:
        scenario: the scenario.
        cluster: where; it is running.
        progress: told each step.
        fresh: the cluster has just been brought up in that state, which need not be put back first.
        transport: sends requests to the API server; by default over the cluster's kubeconfig.

    Returns:
        The captured values, to be given to `run_scenario` when it grades.

    Raises:
        LabError: the start state could not be made.
    """

    def new_context() -> Context:
        return context_of(scenario, cluster, transport)

    return start.make(scenario, cluster, new_context, fresh=fresh, progress=progress)


def run_scenario(
    scenario: Scenario,
    cluster: Cluster,
    *,
    to_run: Plan | None = None,
    captures: Mapping[str, str] | None = None,
    bundles: Path | None = None,
    fresh: bool = False,
    patience_s: float = math.inf,
    passed_after_s: dict[str, float] | None = None,
    on_event: Callable[[Event], None] = _ignore,
    pause: Callable[[float], None] = time.sleep,
    transport: Transport | None = None,
) -> ScenarioResult:
    """Run a scenario.

    Args:
        scenario: the scenario.
        cluster: where; it is running.
        to_run: what; by default everything that it promises.
        captures: what `start_scenario` recorded, when it grades what a person did.
        bundles: below this directory the evidence of a failure is left; None leaves none.
        fresh: the cluster has just been brought up in the scenario's start state, which need not be put back first.
        patience_s: longest time that a check which does not pass yet is waited for, where its ``withinSeconds`` is
            longer, in seconds: whoever is graded wants to know now.
        passed_after_s: check to the seconds after which the attempt began that passed: written by the solution, and
            what bounds the wait for a check that a mistake must fail. Give it again when mistakes are run alone.
        on_event: told what happens. What it raises ends the run, unless it is a `LabError`.
        pause: waits that many seconds; the same holds for what it raises.
        transport: sends requests to the API server; by default over the cluster's kubeconfig.
    """
    running = _Run(
        scenario,
        cluster,
        captures=captures or {},
        bundles=bundles,
        fresh=fresh,
        patience_s=patience_s,
        passed_after_s={} if passed_after_s is None else passed_after_s,
        on_event=on_event,
        pause=pause,
        transport=transport,
    )
    return running.run(to_run or plan_for(scenario, cluster))


def context_of(
    scenario: Scenario,
    cluster: Cluster,
    transport: Transport | None = None,
    *,
    captures: Mapping[str, str] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Context:
    """What the verbs of a scenario work with in a cluster; its audit log is read from now on."""
    api = Api(transport or KubeconfigTransport(cluster.kubeconfig()))
    audit = AuditLog(cluster, pause=pause)
    audit.skip_to_end()
    return Context(
        scenario=scenario,
        cluster=cluster,
        api=api,
        audit=audit,
        record=BouncerRecord(api),
        captures=captures or {},
        pause=pause,
    )


class _Run:
    """One run of one scenario: what stays the same from phase to phase, and where the last one left off."""

    def __init__(
        self,
        scenario: Scenario,
        cluster: Cluster,
        *,
        captures: Mapping[str, str],
        bundles: Path | None,
        fresh: bool,
        patience_s: float,
        passed_after_s: dict[str, float],
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
        transport: Transport | None,
    ) -> None:
        self._scenario = scenario
        self._fresh = fresh
        self._patience_s = patience_s
        self._cluster = cluster
        self._captures = captures
        self._on_event = on_event
        self._pause = pause
        self._transport = transport
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self._bundle = None if bundles is None else bundles / f"{scenario.name}-{stamp}"
        self._unprepared = ""
        self._phase = ""
        self._passed_after_s = passed_after_s

    def run(self, to_run: Plan) -> ScenarioResult:
        self._tell(EventKind.SCENARIO_STARTED)
        began = time.monotonic()
        phases = tuple(self._run_phase(phase) for phase in to_run.phases)
        bundle = self._bundle
        metadata = self._scenario.document.metadata
        result = ScenarioResult(
            name=self._scenario.name,
            topic=metadata.topic,
            title=metadata.title,
            backend=self._cluster.backend,
            phases=phases,
            skipped=to_run.skip,
            bundle=bundle if bundle is not None and bundle.exists() else None,
            duration_s=time.monotonic() - began,
        )
        self._phase = ""
        self._tell(EventKind.SCENARIO_FINISHED)
        return result

    def _run_phase(self, phase: Phase) -> PhaseResult:
        self._phase = phase.name
        if phase.skip:
            return PhaseResult(kind=phase.kind, name=phase.name, outcome=Outcome.SKIP, problem=phase.skip)
        self._tell(EventKind.PHASE_STARTED)
        began = time.monotonic()
        try:
            result = self._attempt(phase)
        except LabError as error:
            result = PhaseResult(kind=phase.kind, name=phase.name, outcome=Outcome.ERROR, problem=str(error))
        result = replace(result, duration_s=time.monotonic() - began)
        if self._bundle is not None and result.outcome in (Outcome.FAIL, Outcome.ERROR):
            self._tell(EventKind.PROGRESS, text=f"leaving the evidence in {self._bundle}")
            write_bundle(self._bundle, result, self._cluster, self._transport)
        self._tell(EventKind.PHASE_FINISHED, result=result)
        return result

    def _attempt(self, phase: Phase) -> PhaseResult:
        """Run a phase.

        Raises:
            LabError: it could not run.
        """
        began = time.monotonic()
        if phase.fresh:
            self._start()
        elif self._unprepared:
            raise LabError("no-start-state", self._unprepared, hint="see the phase before this one")
        setup_s = time.monotonic() - began
        context = self._new_context()
        match phase.kind:
            case PhaseKind.UNTOUCHED:
                result = self._untouched(phase, replace(context, prove=False))
            case PhaseKind.MISTAKE if phase.mistake is not None:
                result = self._mistake(phase, phase.mistake, context)
            case PhaseKind.SOLUTION:
                solution = self._scenario.document.solution
                self._act(solution.script, context, timeout_s=solution.timeout_seconds)
                result = self._graded(phase, context)
            case _:
                self._come_to_rest(context)
                result = self._graded(phase, context)
        return replace(result, setup_s=setup_s, waited_s=sum(check.waited_s for check in result.checks))

    def _start(self) -> None:
        """Make the start state; if it cannot be made, what builds on it cannot run either."""
        self._unprepared = "the start state could not be made"

        def progress(text: str) -> None:
            self._tell(EventKind.PROGRESS, text=text)

        fresh, self._fresh = self._fresh, False
        self._captures = start.make(self._scenario, self._cluster, self._new_context, fresh=fresh, progress=progress)
        self._unprepared = ""

    def _new_context(self) -> Context:
        return context_of(self._scenario, self._cluster, self._transport, captures=self._captures, pause=self._pause)

    def _act(self, script: str, context: Context, *, timeout_s: float) -> None:
        """Run what a person would do, and let the cluster come to rest."""
        self._tell(EventKind.PROGRESS, text=f"running {script}")
        start.run_script(script, context, timeout_s=timeout_s)
        self._come_to_rest(context)

    def _come_to_rest(self, context: Context) -> None:
        come_to_rest(
            context, patience_s=self._patience_s, progress=lambda text: self._tell(EventKind.PROGRESS, text=text)
        )

    def _untouched(self, phase: Phase, context: Context) -> PhaseResult:
        """The start state must not solve the task, and must have what the task must not lose."""
        document = self._scenario.document
        checks, verdicts, problems = [], [], []
        began = context.clock()
        for check in document.checks:
            # What must fail is looked at once: waiting could only hide that it fails.
            within = check.within_seconds if check.untouched == "passes" else 0.0
            result = self._check(check, context, deadline=began + within)
            checks.append(result)
            must = Outcome.PASS if check.untouched == "passes" else Outcome.FAIL
            unreachable = result.outcome is Outcome.ERROR and document.start.api_server != "running"
            if result.outcome is must or (unreachable and must is Outcome.FAIL):
                verdicts.append(Outcome.PASS)
                continue
            verdicts.append(Outcome.ERROR if result.outcome is Outcome.ERROR else Outcome.FAIL)
            problems.append(f"{check.id} must {must.value} in the untouched state, and was {result.outcome.value}")
        return PhaseResult(
            kind=phase.kind,
            name=phase.name,
            outcome=worst(verdicts),
            checks=tuple(checks),
            problem="; ".join(problems),
        )

    def _graded(self, phase: Phase, context: Context) -> PhaseResult:
        """Run the checks in order.

        Each has its time from the start of the phase, so that failures wait together; how long those took that passed
        does not count.
        """
        began = context.clock()
        passing_s = 0.0
        checks = []
        document = self._scenario.document
        for check in document.graded if phase.kind is PhaseKind.CHECK else document.checks:
            within_s = min(check.within_seconds, self._patience_s)
            reached_s = context.clock() - began
            result = self._check(check, context, deadline=began + passing_s + within_s)
            checks.append(result)
            self._passed_after_s[check.id] = reached_s + result.waited_s
            if result.outcome is Outcome.PASS:
                passing_s += result.duration_s
        bad = [f"{check.id}: {check.outcome.value}" for check in checks if check.outcome is not Outcome.PASS]
        outcome = worst(check.outcome for check in checks)
        return PhaseResult(
            kind=phase.kind, name=phase.name, outcome=outcome, checks=tuple(checks), problem=", ".join(bad)
        )

    def _mistake(self, phase: Phase, mistake: Mistake, context: Context) -> PhaseResult:
        """The mistake must fail the check that it names, with the feedback that it names."""
        document = self._scenario.document
        self._act(mistake.script, context, timeout_s=document.solution.timeout_seconds)
        check = next(check for check in document.checks if check.id == mistake.fails)
        patience_s = check.within_seconds
        if check.id in self._passed_after_s:
            patience_s = min(patience_s, max(SETTLED_MIN_S, SETTLED_FACTOR * self._passed_after_s[check.id]))
        began = context.clock()
        result = run_check(check, context, deadline=began + patience_s)
        outcome, problem = _found(mistake, result)
        while outcome is not Outcome.PASS and context.clock() < began + TAKES_HOLD_S:
            context.pause(AGAIN_S)
            result = run_check(check, context, deadline=context.clock())
            outcome, problem = _found(mistake, result)
        self._tell(EventKind.CHECK_FINISHED, check=result)
        return PhaseResult(kind=phase.kind, name=phase.name, outcome=outcome, checks=(result,), problem=problem)

    def _check(self, check: Check, context: Context, *, deadline: float) -> CheckResult:
        result = run_check(check, context, deadline=deadline)
        self._tell(EventKind.CHECK_FINISHED, check=result)
        return result

    def _tell(
        self,
        kind: EventKind,
        *,
        text: str = "",
        check: CheckResult | None = None,
        result: PhaseResult | None = None,
    ) -> None:
        self._on_event(
            Event(kind=kind, scenario=self._scenario.name, phase=self._phase, text=text, check=check, result=result)
        )


def _found(mistake: Mistake, result: CheckResult) -> tuple[Outcome, str]:
    """Whether a check found a mistake, and if not, why."""
    if result.outcome is Outcome.ERROR:
        return Outcome.ERROR, f"{result.id} could not run: {result.problem}"
    if result.outcome is not Outcome.FAIL or result.feedback is None:
        return Outcome.FAIL, f"{result.id} passes in spite of the mistake"
    if result.feedback.id != mistake.feedback:
        return Outcome.FAIL, f"{result.id} gave the feedback {result.feedback.id}, not {mistake.feedback}"
    return Outcome.PASS, ""
