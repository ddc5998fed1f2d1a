"""The matrix in the terminal: the table, who decided at each decision point, what came in, and what the API refuses.

Readable at 80 columns and without colour: a finding is a word first and a colour second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.matrix import wording
from lab.matrix.model import Finding
from lab.scenario.verdict import named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from lab.matrix.model import Column, Matrix, Row

SHORT = {
    Finding.CAME_IN: "IN",
    Finding.PODS_DENIED: "Pods",
    Finding.DENIED: "denied",
    Finding.NOT_APPLICABLE: "-",
    Finding.UNKNOWN: "?",
}
STYLES = {
    Finding.CAME_IN: "bold red",
    Finding.PODS_DENIED: "cyan",
    Finding.DENIED: "green",
    Finding.NOT_APPLICABLE: "dim",
    Finding.UNKNOWN: "bold magenta",
}


def print_matrix(matrix: Matrix, console: Console) -> None:
    """Print it."""
    console.print(_table(matrix))
    console.print(Padding(_legend(matrix), (1, 0)))
    for column in matrix.columns:
        for part in _about(column, matrix):
            console.print(part)
    for part in _refusals(matrix):
        console.print(part)
    version = f", Kubernetes {matrix.kubernetes}" if matrix.kubernetes else ""
    console.print(Text(f"{len(matrix.cells)} requests on {matrix.backend}{version}, in {matrix.took_s:.1f} s"))


def _table(matrix: Matrix) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in matrix.columns:
        table.add_column(Text("\n".join(column.heading), justify="center"), justify="center", width=6, no_wrap=True)
    before: Row | None = None
    for row in matrix.rows:
        if before is None or before.workload is not row.workload:
            table.add_row(Text(f"\n{row.workload}", style="bold"))
        cells = [matrix.cell(row, column) for column in matrix.columns]
        words = [Text(SHORT[cell.finding], style=STYLES[cell.finding]) for cell in cells]
        table.add_row(f"  {row.operation:<6} {row.place}", *words)
        before = row
    return table


def _legend(matrix: Matrix) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for finding, count in wording.counts(matrix.cells).items():
        if count:
            grid.add_row(Text(SHORT[finding], style=STYLES[finding]), wording.MEANINGS[finding])
    return grid


def _about(column: Column, matrix: Matrix) -> Iterator[RenderableType]:
    """A decision point: what it looks at, who decided there, and what came in all the same."""
    cells = matrix.of(column)
    yield Text.assemble((column.title, "bold"), f": {column.about}")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in (Finding.DENIED, Finding.PODS_DENIED):
        found = [cell for cell in cells if cell.finding is finding]
        if found:
            deciders = named({decider for cell in found for decider in cell.deciders})
            grid.add_row(Text(f"{SHORT[finding]} {len(found)}", style=STYLES[finding]), f"by {deciders}")
    came = [cell.row for cell in cells if cell.finding is Finding.CAME_IN]
    tried = [cell for cell in cells if cell.finding is not Finding.NOT_APPLICABLE]
    heading = Text(f"IN {len(came)} of {len(tried)}", style=STYLES[Finding.CAME_IN] if came else "")
    for number, (place, how) in enumerate(wording.ways_in(came)):
        grid.add_row(heading if number == 0 else "", f"{place}: {how}")
    if not came:
        grid.add_row(heading, "")
    for cell in cells:
        if cell.finding is Finding.UNKNOWN:
            grid.add_row(Text("?", style=STYLES[Finding.UNKNOWN]), f"{wording.label(cell.row)}: {cell.problem}")
    yield Padding(grid, (0, 0, 1, 2))


def _refusals(matrix: Matrix) -> Iterator[RenderableType]:
    """What is not applicable, in the API server's own words; the same words once."""
    by_message: dict[str, list[Row]] = {}
    for row, message in matrix.refusals():
        by_message.setdefault(wording.brief(message), []).append(row)
    if not by_message:
        return
    yield Text("Not applicable, in the API server's own words", style="bold")
    for message, rows in by_message.items():
        for place, how in wording.ways_in(rows):
            yield Padding(Text(f"{place}: {how}"), (0, 0, 0, 2))
        yield Padding(Text(message, style="dim"), (0, 0, 0, 4))
    yield Text("")
