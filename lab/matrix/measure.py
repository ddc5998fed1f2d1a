"""Measures a decision point: makes its start state, sends every request once, and finds out who decided.

Verdicts and causes are those of the scenario engine's probes. Nothing here prints.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.cluster.protocol import Snapshots
from lab.errors import InputError, LabError
from lab.matrix.consequences import consequence_of
from lab.matrix.model import Cell, Consequence, Finding, finding_of
from lab.matrix.requests import probe_of
from lab.scenario import start
from lab.scenario.api import Request
from lab.scenario.result import Observed, Outcome, PhaseKind, PhaseResult, Verdict
from lab.scenario.run import Event, EventKind, context_of
from lab.scenario.verbs import probe as probe_verb
from lab.scenario.verbs.request import as_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.cluster.protocol import Cluster
    from lab.matrix.model import Row
    from lab.scenario.load import Scenario
    from lab.scenario.sighting import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A decision point, measured.

    Attributes:
        cells: one for each row, in their order.
        kubernetes: version of the API server that answered.
    """

    cells: tuple[Cell, ...]
    kubernetes: str


def check_can_measure(cluster: Cluster, *, points: int) -> None:
    """Whether a backend can hold several decision points one after the other.

    Raises:
        InputError: ``matrix-needs-reset``.
    """
    if points > 1 and not isinstance(cluster, Snapshots):
        raise InputError(
            "matrix-needs-reset",
            f"the backend {cluster.backend} cannot put a start state back, so the policies of one decision point would "
            "still be there when the next one is measured",
            hint="measure one decision point: --point NAME; or use the backend embedded",
        )


def measure(
    scenario: Scenario,
    rows: Sequence[Row],
    cluster: Cluster,
    *,
    fresh: bool,
    on_event: Callable[[Event], None],
    pause: Callable[[float], None],
) -> Measured:
    """Measure the decision point whose start state is that of a scenario.

    Args:
        scenario: see `lab.matrix.points.DecisionPoint.scenario`.
        rows: the ways in.
        cluster: a running lab; its state is lost.
        fresh: the lab is in the start state already.
        on_event: told what happens; what it raises ends the measuring.
        pause: waits that many seconds; the same holds.

    Raises:
        LabError: the decision point could not be made.
    """
    began = time.monotonic()

    def tell(text: str) -> None:
        on_event(Event(kind=EventKind.PROGRESS, scenario=scenario.name, text=text))

    def new_context() -> Context:
        return context_of(scenario, cluster, pause=pause)

    tell("making its policy")
    start.make(scenario, cluster, new_context, fresh=fresh, progress=tell)
    context = new_context()
    cells = []
    for number, row in enumerate(rows, start=1):
        tell(f"{number}/{len(rows)}, {row.operation} {row.workload}, {row.place}")
        cells.append(measure_cell(row, context))
    on_event(
        Event(
            kind=EventKind.PHASE_FINISHED,
            scenario=scenario.name,
            result=_told(cells, duration_s=time.monotonic() - began),
        )
    )
    return Measured(cells=tuple(cells), kubernetes=_version(context))


def measure_cell(row: Row, context: Context) -> Cell:
    """Send the request of one way in; what could not be measured is a cell that says so."""
    spec = probe_of(row)
    consequences: list[Consequence] = []

    def follow(namespace: str, observed: Observed) -> None:
        if row.is_controlled and observed.verdict is Verdict.ALLOWED:
            consequences.append(consequence_of(row, context, namespace=namespace))

    try:
        observed = probe_verb.measure(spec, context, then=follow)
    except LabError as error:
        return Cell(
            row=row,
            point=context.scenario.name,
            finding=Finding.UNKNOWN,
            request=as_typed(spec),
            problem=error.message,
        )
    consequence = consequences[0] if consequences else None
    finding, problem = finding_of(observed, consequence)
    return Cell(
        row=row,
        point=context.scenario.name,
        finding=finding,
        request=as_typed(spec),
        observed=observed,
        consequence=consequence,
        problem=problem,
    )


def _told(cells: Sequence[Cell], *, duration_s: float) -> PhaseResult:
    """How it went, for whoever watches."""
    unknown = [cell.problem for cell in cells if cell.finding is Finding.UNKNOWN]
    return PhaseResult(
        kind=PhaseKind.CHECK,
        name=f"({len(cells)} requests)",
        outcome=Outcome.ERROR if unknown else Outcome.PASS,
        problem=f"{len(unknown)} not known: {unknown[0]}" if unknown else "",
        duration_s=duration_s,
    )


def _version(context: Context) -> str:
    return str(context.api.transport.send(Request(method="GET", path="/version")).body.get("gitVersion", ""))
