"""What a person sees while scenarios run: on standard error, because standard output gets the report.

In a terminal, what has ended stays and what goes on is shown below it; elsewhere there are lines only, which a CI job
keeps. rich is imported for a terminal alone.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import click

from lab.cli.output import shortened
from lab.scenario.result import Outcome
from lab.scenario.run import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.scenario.result import PhaseResult
    from lab.scenario.run import Event

_COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.ERROR: "magenta", Outcome.SKIP: "yellow"}
_SPINNER_AND_TIME = 12
"""Columns in front of the text."""


class Watcher:
    """Tells what happens.

    Args:
        keep: shows a line that stays.
        now: shows what goes on at the moment; it takes the place of what it showed before.
    """

    def __init__(self, *, keep: Callable[[str], None], now: Callable[[str], None]) -> None:
        self._keep = keep
        self._now = now
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """Something of the lab itself: it comes up, it goes down."""
        self._keep(self._elapsed() + text)
        self._now(text)

    def event(self, event: Event) -> None:
        """Something of a scenario."""
        where = f"{event.scenario} {event.phase}".rstrip()
        match event.kind:
            case EventKind.SCENARIO_STARTED | EventKind.PHASE_STARTED:
                self._now(where)
            case EventKind.PROGRESS:
                self._now(f"{where}: {event.text}")
            case EventKind.CHECK_FINISHED if event.check is not None:
                self._now(f"{where}: {event.check.title}")
            case EventKind.PHASE_FINISHED if event.result is not None:
                self._keep(self._elapsed() + _phase(event.scenario, event.result))
            case _:
                pass

    def _elapsed(self) -> str:
        return click.style(f"{time.monotonic() - self._began:7.1f} s  ", dim=True)


@contextlib.contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher that suits standard error."""
    if not sys.stderr.isatty():
        yield Watcher(keep=lambda line: click.echo(line, err=True), now=lambda _: None)
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    room = console.width - _SPINNER_AND_TIME  # a line that wraps would leave its rest behind
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("starting", total=None)
        yield Watcher(
            keep=lambda line: console.print(Text.from_ansi(line)),
            now=lambda text: display.reset(task, description=shortened(text.partition("\n")[0], width=room)),
        )


def _phase(scenario: str, result: PhaseResult) -> str:
    word = click.style(result.outcome.value.upper().ljust(5), fg=_COLOURS[result.outcome], bold=True)
    why = f": {result.problem.splitlines()[0]}" if result.problem and result.outcome is not Outcome.PASS else ""
    return f"{word} {scenario} {result.name}, {result.duration_s:.1f} s{why}"
