"""A report as text: one line per comparison, then what a line has no room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.bench.series import BYTES
from lab.cli.output import facts, table

if TYPE_CHECKING:
    from lab.bench.report import BenchReport, Peer, Row, Target
    from lab.bench.series import Series

_HEADINGS = ("", "MEDIAN", "MIN - MAX", "PEER", "RATIO", "TARGET", "")
_COLOURS = {True: "green", False: "red", None: "yellow"}


def render(report: BenchReport, *, width: int | None) -> list[str]:
    """The lines of a report.

    Args:
        report: what was found.
        width: columns of the terminal; None for any.
    """
    lines = [*table(_HEADINGS, [_cells(row) for row in report.rows], width=width), ""]
    lines += _peers(report)
    for row in report.rows:
        if row.parts and row.figures is not None:
            lines += ["", f"{row.what}:", *_parts(row.parts, row.figures.unit)]
        lines += [f"note: {row.what}: {note}" for note in row.notes]
    return [*lines, "", *_machine(report)]


def amount(value: float, unit: str) -> str:
    """A figure with its unit, in three digits or so: ``0.08 s``, ``3.41 s``, ``472 MB``."""
    return f"{value / 1e6:.0f} MB" if unit == BYTES else f"{value:.2f} s"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        "not measured" if row.figures is None else amount(row.figures.median, row.figures.unit),
        "-" if row.figures is None else _range(row.figures),
        _peer_cell(row.peer),
        _ratio(row),
        _target(row.target, row.figures),
        _verdict(row),
    )


def _range(figures: Series) -> str:
    return f"{amount(figures.minimum, figures.unit)} - {amount(figures.maximum, figures.unit)}"


def _peer_cell(peer: Peer | None) -> str:
    if peer is None:
        return "-"
    return "not measured" if peer.figures is None else amount(peer.figures.median, peer.figures.unit)


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return "-"
    return f"{row.ratio:.2f} ({min(row.ratios):.2f} - {max(row.ratios):.2f})"


def _target(target: Target, figures: Series | None) -> str:
    if target.ratio is not None:
        return f"ratio <= {target.ratio:.3g}"
    return "-" if target.value is None or figures is None else f"<= {amount(target.value, figures.unit)}"


def _verdict(row: Row) -> str:
    word = {True: "met", False: "missed", None: "open"}[row.met]
    return click.style(word, fg=_COLOURS[row.met])


def _peers(report: BenchReport) -> list[str]:
    """What each comparison was made with, or why with nothing."""
    lines = []
    for row in report.rows:
        if row.figures is None:
            lines.append(f"{row.what}: not measured here: {row.missing}")
            continue
        if row.peer is None:
            continue
        why = f"not measured here: {row.peer.missing}" if row.peer.figures is None else "in the same rounds"
        lines.append(f"peer of {row.what}: {row.peer.name} ({why})")
    return lines


def _parts(parts: tuple[tuple[str, float], ...], unit: str) -> list[str]:
    return [f"  {line}" for line in facts({name: amount(value, unit) for name, value in parts})]


def _machine(report: BenchReport) -> list[str]:
    machine = report.machine
    size = f"{machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB"
    load = f"load {machine.load_before:.1f} before, {machine.load_after:.1f} after"
    rounds = f"{report.rounds} round{'s' if report.rounds > 1 else ''}"
    lines = [f"{rounds}, {report.started}, {size}, {machine.system}, Linux {machine.kernel}; {load}"]
    if machine.was_busy:
        lines.append("others were using the machine: trust the ratios, not the seconds")
    return lines
