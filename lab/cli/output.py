"""What commands print for a person: progress with its time, tables that fit the terminal, sizes of memory.

Where nobody looks (a pipe, a file), lines are whole and without colour. Nothing here imports more than click: progress
must not cost the time that it tells.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GAP = "  "
_ELLIPSIS = "..."
_PHASE_COLOURS = {"running": "green", "starting": "yellow", "broken": "red", "failed": "red"}


def progress_lines() -> Callable[[str], None]:
    """A callback that prints each step on standard error, with the time since now."""
    began = time.monotonic()

    def show(step: str) -> None:
        elapsed = f"{time.monotonic() - began:7.1f} s  "
        click.echo(click.style(elapsed, dim=True) + step, err=True)

    return show


def terminal_width() -> int | None:
    """Columns of the terminal on standard output; None when it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None) -> list[str]:
    """Rows as lines.

    Args:
        headings: one per column.
        rows: one cell per column.
        width: columns of the terminal; where the table is wider, each row becomes a block of lines. None: any width.
    """
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    if width is None or sum(widths) + len(_GAP) * (len(widths) - 1) <= width:
        return [_GAP.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    blocks = [facts(dict(zip(headings, row, strict=True))) for row in rows]
    return [line for block in blocks for line in [*block, ""]][:-1]


def facts(values: Mapping[str, str]) -> list[str]:
    """Names and values, one pair per line; values are aligned, and one of several lines is indented."""
    indent = max(len(name) for name in values) + len(_GAP)
    return [
        f"{name.ljust(indent)}{value}".replace("\n", "\n" + " " * indent).rstrip() for name, value in values.items()
    ]


def shortened(text: str, *, width: int | None) -> str:
    """A text without its middle where it is too long; both ends of a Pod's name tell something."""
    if width is None or len(text) <= width:
        return text
    kept = max(width - len(_ELLIPSIS), 2)
    return text[: kept - kept // 2] + _ELLIPSIS + text[-(kept // 2) :]


def megabytes(size: int | None) -> str:
    """A size of memory: ``283 MB``; ``-`` when it is not known."""
    return "-" if size is None else f"{size / 1e6:.0f} MB"


def phase_word(phase: str) -> str:
    """A phase in its colour."""
    return click.style(phase, fg=_PHASE_COLOURS.get(phase), bold=True)
