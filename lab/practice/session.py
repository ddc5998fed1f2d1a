"""Practice in one lab: begins an attempt at a scenario, puts it back, gives hints, has it graded.

It changes the lab and its record and prints nothing. The record is read anew for every change, because a person may
have several shells open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import InputError, LabError
from lab.interrupts import undisturbed
from lab.practice import clock
from lab.practice.grading import grade, possible_points
from lab.practice.record import Attempt
from lab.scenario.load import load
from lab.scenario.plan import Mode
from lab.scenario.result import Outcome
from lab.scenario.run import plan_for, run_scenario, start_scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from lab.cluster.protocol import Cluster
    from lab.practice.grading import Grade
    from lab.practice.record import RecordFile
    from lab.scenario.api import Transport
    from lab.scenario.load import Scenario
    from lab.scenario.plan import Plan
    from lab.scenario.run import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A hint that was asked for.

    Attributes:
        number: its number, from 1; one more than `total` when all were given before.
        total: how many there are.
        text: the hint; empty when all were given before.
    """

    number: int
    total: int
    text: str


def under_way(records: RecordFile, *, lab: str) -> Attempt:
    """The attempt under way in a lab.

    Raises:
        LabError: ``no-scenario-started``.
    """
    attempt = records.load().current
    if attempt is None:
        raise LabError(
            "no-scenario-started",
            f"no scenario is started in the lab {lab}",
            hint="start one with 'lab start NAME'; 'lab scenarios' lists them",
        )
    return attempt


def scenario_of(attempt: Attempt) -> Scenario:
    """The scenario of an attempt, read from where it lay when it was started.

    Raises:
        InputError: it is no longer there, or no longer valid.
    """
    return load(Path(attempt.directory))


class Practice:
    """The practice in one lab.

    Args:
        cluster: the lab.
        records: its record.
        now: the time of day.
        transport: sends requests to the API server; by default over the lab's kubeconfig.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        records: RecordFile,
        now: Callable[[], datetime] = clock.now,
        transport: Transport | None = None,
    ) -> None:
        self._cluster = cluster
        self._records = records
        self._now = now
        self._transport = transport

    def begin(self, scenario: Scenario, *, progress: Callable[[str], None]) -> Attempt:
        """Put a person into the start state of a scenario; the lab is brought up if it does not run.

        Raises:
            InputError: ``scenario-needs-more``: the backend cannot hold it.
            LabError: the start state could not be made. A lab that was brought up for it is removed.
        """
        self._plan(scenario)
        self._records.end_attempt()  # from here on the state that it needs is not there any more
        fresh = self._cluster.status().phase == "stopped"
        try:
            if fresh:
                self._cluster.up(scenario.document.start.state, progress=progress)
            captures = self._set_up(scenario, fresh=fresh, progress=progress)
        except BaseException:
            if fresh:
                with undisturbed():
                    self._cluster.down()
            raise
        attempt = Attempt(
            scenario=scenario.name,
            directory=str(scenario.directory.resolve()),
            captures=captures,
            started_at=self._now(),
            possible=possible_points(scenario),
        )
        self._records.save(replace(self._records.load(), current=attempt))
        return attempt

    def put_back(self, attempt: Attempt, scenario: Scenario, *, progress: Callable[[str], None]) -> None:
        """Put the start state of an attempt back; its time, its hints and its last grading stay.

        Raises:
            LabError: it could not be made.
        """
        captures = self._set_up(scenario, fresh=False, progress=progress)
        self._change(attempt, lambda now: replace(now, captures=captures))

    def check(
        self,
        attempt: Attempt,
        scenario: Scenario,
        *,
        patience_s: float,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> Grade:
        """Grade what a person did, and note it.

        Args:
            attempt: the attempt.
            scenario: its scenario.
            patience_s: for how long to look again at what is not as it must be, in seconds.
            on_event: told what happens.

        Raises:
            LabError: ``lab-not-running``, or the lab cannot be looked at.
        """
        if self._cluster.status().phase == "stopped":
            raise LabError(
                "lab-not-running",
                f"the lab {self._cluster.name} does not run, so what was done in it is gone",
                hint=f"begin anew with 'lab start {attempt.scenario}'",
            )
        result = run_scenario(
            scenario,
            self._cluster,
            to_run=self._plan(scenario),
            captures=attempt.captures,
            patience_s=patience_s,
            on_event=on_event,
            transport=self._transport,
        )
        graded = grade(scenario, result)
        if not graded.complete:
            unable = [phase.problem for phase in result.phases if phase.outcome is Outcome.ERROR and not phase.checks]
            obstacles = (*unable, *self._obstacles(scenario))
            graded = replace(graded, notes=(obstacles or _cut_short(scenario, graded, patience_s)) + graded.notes)
        at = self._now()
        self._change(attempt, lambda now: _with_grade(now, graded, at=at))
        return graded

    def hint(self, attempt: Attempt, scenario: Scenario) -> Hint:
        """Give the next hint and count it."""
        hints = scenario.document.hints
        if attempt.hints >= len(hints):
            return Hint(number=len(hints) + 1, total=len(hints), text="")
        self._change(attempt, lambda now: replace(now, hints=attempt.hints + 1))
        return Hint(number=attempt.hints + 1, total=len(hints), text=hints[attempt.hints])

    def show_solution(self, attempt: Attempt, scenario: Scenario) -> str:
        """The solution's script; that it was shown is noted."""
        at = self._now()
        self._change(attempt, lambda now: replace(now, solution_shown_at=now.solution_shown_at or at))
        return scenario.text(scenario.document.solution.script)

    def _set_up(self, scenario: Scenario, *, fresh: bool, progress: Callable[[str], None]) -> dict[str, str]:
        return start_scenario(scenario, self._cluster, progress=progress, fresh=fresh, transport=self._transport)

    def _plan(self, scenario: Scenario) -> Plan:
        to_run = plan_for(scenario, self._cluster, mode=Mode.CHECK)
        if to_run.skip:
            raise InputError(
                "scenario-needs-more",
                f"{scenario.name} cannot be done here: {to_run.skip}",
                hint="choose another scenario, or another --backend",
            )
        return to_run

    def _obstacles(self, scenario: Scenario) -> tuple[str, ...]:
        """What keeps every check from passing: an API server that does not run although the task does not say so."""
        api_server = self._cluster.status().api_server
        if api_server.state == "running" or scenario.document.start.api_server != "running":
            return ()
        why = f": {api_server.error}" if api_server.error else ""
        return (f"the API server is {api_server.state}{why}",)

    def _change(self, attempt: Attempt, change: Callable[[Attempt], Attempt]) -> None:
        """Change the attempt in the record, unless another one has begun meanwhile."""
        record = self._records.load()
        if record.current is not None and record.current.started_at == attempt.started_at:
            self._records.save(replace(record, current=change(record.current)))


def _cut_short(scenario: Scenario, graded: Grade, patience_s: float) -> tuple[str, ...]:
    """That a check which did not pass may have been looked at too early."""
    missing = {check.id for check in graded.checks if check.outcome is not Outcome.PASS}
    longest_s = max(check.within_seconds for check in scenario.document.graded if check.id in missing)
    if longest_s <= patience_s:
        return ()
    return (
        f"what was changed a moment ago may need up to {longest_s:g} s: 'lab check --wait {longest_s:g}' looks again",
    )


def _with_grade(attempt: Attempt, graded: Grade, *, at: datetime) -> Attempt:
    """The attempt after a grading."""
    attempt = replace(attempt, checked_at=at, solved_at=attempt.solved_at or (at if graded.complete else None))
    if attempt.checks and graded.points < attempt.points:
        return attempt
    outcomes = {check.id: check.outcome.value for check in graded.checks}
    return replace(attempt, checks=outcomes, points=graded.points, possible=graded.possible)
