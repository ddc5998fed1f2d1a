"""What a run of the benchmark found, and whether each figure meets its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.bench.series import BYTES, Series

if TYPE_CHECKING:
    from lab.bench.machine import Machine

FORMAT = 1
"""Version of the JSON document; a change that breaks its readers raises it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure should be: `lab bench` reports it, no test asserts it.

    Attributes:
        ratio: greatest median of the ratios to the peer; None when the target is not about a peer.
        value: greatest median of the lab's own figures, in their unit.
    """

    ratio: float | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What the lab is compared with.

    Attributes:
        name: what it is.
        figures: what it took in the same rounds; None when it was not measured.
        missing: why it was not; empty when it was.
    """

    name: str
    figures: Series | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        measurement: the measurement that it belongs to, such as ``up``.
        what: what the lab did.
        figures: what that took; None when it could not be measured here.
        missing: why it was not; empty when it was.
        peer: what it is compared with; None where there is nothing like it.
        target: what it should be.
        parts: what a figure is made of, such as the memory of each process: name to value, in the row's unit.
        notes: what a reader must know to judge it, one sentence each.
    """

    measurement: str
    what: str
    figures: Series | None = None
    missing: str = ""
    peer: Peer | None = None
    target: Target
    parts: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ratios(self) -> tuple[float, ...]:
        """The lab's figures over the peer's, round by round; empty where one of them was not measured."""
        if self.figures is None or self.peer is None or self.peer.figures is None:
            return ()
        return self.figures.ratios(self.peer.figures)

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return Series(unit="", values=self.ratios).median if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None when that needs something that was not measured."""
        if self.target.ratio is not None:
            return None if self.ratio is None else self.ratio <= self.target.ratio
        if self.target.value is None or self.figures is None:
            return None
        return self.figures.median <= self.target.value


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """A whole run.

    Attributes:
        started: when it began, ISO 8601 in UTC.
        rounds: how often each thing was measured.
        machine: where.
        rows: what was found.
    """

    started: str
    rounds: int
    machine: Machine
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as plain data; seconds and bytes, unrounded."""
        machine = self.machine
        return {
            "format": FORMAT,
            "started": self.started,
            "rounds": self.rounds,
            "machine": {
                "system": machine.system,
                "kernel": machine.kernel,
                "cores": machine.cores,
                "memory_bytes": machine.memory_bytes,
                "load_before": machine.load_before,
                "load_after": machine.load_after,
            },
            "rows": [_row(row) for row in self.rows],
        }


def _row(row: Row) -> dict[str, Any]:
    peer = None
    if row.peer is not None:
        figures = row.peer.figures
        peer = {
            "name": row.peer.name,
            "figures": None if figures is None else _series(figures),
            "missing": row.peer.missing,
        }
    return {
        "measurement": row.measurement,
        "what": row.what,
        "unit": None if row.figures is None else row.figures.unit,
        "figures": None if row.figures is None else _series(row.figures),
        "missing": row.missing,
        "peer": peer,
        "ratios": list(row.ratios),
        "ratio": row.ratio,
        "target": {"ratio": row.target.ratio, "value": row.target.value},
        "met": row.met,
        "parts": [{"name": name, "value": value} for name, value in row.parts],
        "notes": list(row.notes),
    }


def _series(series: Series) -> dict[str, Any]:
    whole = series.unit == BYTES
    return {
        "median": series.median,
        "min": series.minimum,
        "max": series.maximum,
        "values": [int(value) if whole else value for value in series.values],
    }
