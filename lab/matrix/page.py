"""The matrix as one page: no script, no file beside it, light and dark, details of a cell at a click.

What opens at a click is HTML's own ``popover``. Every text that was measured is escaped where it enters.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from lab.matrix import wording
from lab.matrix.model import UNTRUSTED_IMAGE, Finding, Row, Workload
from lab.scenario.verdict import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.matrix.model import Cell, Column, Matrix
    from lab.scenario.result import Observed

_TEMPLATE = Path(__file__).with_name("page.html")


def html_page(matrix: Matrix) -> str:
    """The page."""
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        image=escape(UNTRUSTED_IMAGE),
        facts=escape(_facts(matrix)),
        legend="".join(_legend(matrix)),
        headings="".join(_heading(column, matrix) for column in matrix.columns),
        groups="\n".join(_groups(matrix)),
        open="".join(_open(column, matrix) for column in matrix.columns),
        refusals="".join(_refusals(matrix)),
        policies="\n".join(_policy(column) for column in matrix.columns),
        details="\n".join(_details(matrix)),
    )


def _facts(matrix: Matrix) -> str:
    kubernetes = f"Kubernetes {matrix.kubernetes}" if matrix.kubernetes else ""
    facts = (kubernetes, f"backend {matrix.backend}", matrix.measured, f"{len(matrix.cells)} requests")
    return f"{', '.join(fact for fact in facts if fact)} in {matrix.took_s:.0f} s"


def _legend(matrix: Matrix) -> Iterator[str]:
    for finding, count in wording.counts(matrix.cells).items():
        if count:
            chip = f'<span class="chip {finding}">{wording.WORDS[finding]}</span>'
            yield f"<li>{chip} {escape(wording.MEANINGS[finding])}</li>"


def _heading(column: Column, matrix: Matrix) -> str:
    came, tried = _score(matrix.of(column))
    state = ' class="open"' if came else ""
    return f'<th scope="col">{_breakable(column.title)}<small{state}>{came} of {tried} came in</small></th>'


def _breakable(title: str) -> str:
    """A title in which a line may end inside a long name: ImagePolicy|Webhook."""
    return re.sub("(?<=[a-z])(?=Webhook|Policy|Admission)", "<wbr>", escape(title))


def _score(cells: Iterable[Cell]) -> tuple[int, int]:
    """How many came in, of how many that the API allows at all."""
    tried = [cell.finding for cell in cells if cell.finding is not Finding.NOT_APPLICABLE]
    return tried.count(Finding.CAME_IN), len(tried)


def _groups(matrix: Matrix) -> Iterator[str]:
    for workload in Workload:
        rows = [row for row in matrix.rows if row.workload is workload]
        if rows:
            span = len(matrix.columns)
            name = f'<tr><th class="name" scope="rowgroup">{workload}</th><td colspan="{span}"></td></tr>'
            yield f'<tbody class="kind">{name}{"".join(_row(row, matrix) for row in rows)}</tbody>'


def _row(row: Row, matrix: Matrix) -> str:
    text = f'<span class="op">{row.operation}</span> {row.place}'
    head = f'<th scope="row"><button class="row" popovertarget="{row.key}" title="the request">{text}</button></th>'
    return f"<tr>{head}{''.join(_cell(matrix.cell(row, column)) for column in matrix.columns)}</tr>"


def _cell(cell: Cell) -> str:
    hint = escape(_hint(cell), quote=True)
    button = f'<button class="cell {cell.finding}" popovertarget="{_id(cell)}" title="{hint}">'
    return f"<td>{button}{wording.WORDS[cell.finding]}</button></td>"


def _hint(cell: Cell) -> str:
    """What a pointer that rests on the cell shows."""
    message = wording.brief(cell.message)
    return "\n".join(line for line in (wording.who(cell), message) if line)


def _id(cell: Cell) -> str:
    return f"{cell.row.key}--{cell.point}"


def _open(column: Column, matrix: Matrix) -> str:
    came = [cell.row for cell in matrix.of(column) if cell.finding is Finding.CAME_IN]
    ways = "<br>".join(f"<b>{escape(place)}</b>: {escape(how)}" for place, how in wording.ways_in(came))
    return f'<tr><th scope="row">{escape(column.title)}</th><td>{ways or "nothing"}</td></tr>'


def _refusals(matrix: Matrix) -> Iterator[str]:
    by_message: dict[str, list[Row]] = {}
    for row, message in matrix.refusals():
        by_message.setdefault(wording.brief(message), []).append(row)
    for message, rows in by_message.items():
        ways = "<br>".join(f"<b>{escape(place)}</b>: {escape(how)}" for place, how in wording.ways_in(rows))
        yield f'<tr><th scope="row" style="font-weight:400">{ways}</th><td><code>{escape(message)}</code></td></tr>'


def _policy(column: Column) -> str:
    summary = f"<summary><b>{escape(column.title)}</b> {escape(column.about)}</summary>"
    if not column.policy:
        return f"<details>{summary}<p>It needs no manifest.</p></details>"
    return f"<details>{summary}<pre>{escape(column.policy)}</pre></details>"


def _details(matrix: Matrix) -> Iterator[str]:
    """What opens at a click: a request for each way in, an answer for each cell."""
    for row in matrix.rows:
        yield _popover(row.key, wording.label(row), f"<pre>{escape(matrix.requests.get(row.key, ''))}</pre>")
    titles = {column.key: column.title for column in matrix.columns}
    for cell in matrix.cells:
        yield _popover(_id(cell), wording.label(cell.row), "".join(_answer(cell, titles[cell.point])))


def _popover(name: str, title: str, body: str) -> str:
    close = (
        f'<button class="close" popovertarget="{name}" popovertargetaction="hide" aria-label="close">&times;</button>'
    )
    return f'<div popover id="{name}">{close}<h3>{escape(title[:1].upper() + title[1:])}</h3>{body}</div>'


def _answer(cell: Cell, title: str) -> Iterator[str]:
    yield f'<p class="soft">{escape(title)}</p>'
    chip = f'<span class="chip {cell.finding}">{wording.WORDS[cell.finding]}</span>'
    yield f"<p>{chip} {escape(wording.who(cell))}</p>"
    yield f"<h4>Request</h4><pre>{escape(cell.request)}</pre>"
    yield f'<button class="link" popovertarget="{cell.row.key}">show all that is sent</button>'
    if cell.observed is not None:
        yield _observed(f"Answer, HTTP {cell.observed.http_status}", cell.observed)
    if cell.consequence is not None:
        yield _observed(f"Then: {cell.consequence.about}", cell.consequence.observed)


def _observed(heading: str, observed: Observed) -> str:
    message = f"<pre>{escape(observed.message)}</pre>" if observed.message else f"<p>{observed.verdict}</p>"
    facts = list(observed.proof)
    if observed.deciders:
        facts.insert(0, f"decided by {named(observed.deciders)}")
    if observed.reviewed_images is not None:
        facts.append(f"the bouncer was shown {named(observed.reviewed_images)}")
    return f"<h4>{escape(heading)}</h4>{message}<ul>{''.join(f'<li>{escape(fact)}</li>' for fact in facts)}</ul>"
