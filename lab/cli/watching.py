"""What a person sees while scenarios run: on standard error, because standard output gets the report.

In a terminal, what has ended stays and what goes on is shown below it, a line for each lab; elsewhere there are lines
only, which a CI job keeps. rich is imported for a terminal alone.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

import click

from lab.cli.labs import command_line
from lab.cli.output import shortened
from lab.scenario.result import Outcome
from lab.scenario.run import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

    from lab.cluster.protocol import Cluster
    from lab.scenario.result import PhaseResult
    from lab.scenario.run import Event

_COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.ERROR: "magenta", Outcome.SKIP: "yellow"}
_SPINNER_AND_TIME = 12
"""Columns in front of the text."""


class Watcher:
    """Tells what happens in labs, each of which may have a thread of its own.

    Args:
        keep: shows a line that stays.
        line: makes the line of a lab.
        several: whether there is more than one lab, so that it must be said which one a line is about.
    """

    def __init__(self, *, keep: Callable[[str], None], line: Callable[[], Line], several: bool) -> None:
        self._keep = keep
        self._line = line
        self._several = several
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def lab(self, cluster: Cluster) -> LabWatcher:
        """Who is told of a lab."""
        return LabWatcher(self, cluster.name, self._line(), several=self._several)

    def keep(self, text: str) -> None:
        """Show a line that stays, with the time since the beginning."""
        with self._lock:
            self._keep(click.style(f"{time.monotonic() - self._began:7.1f} s  ", dim=True) + text)


class LabWatcher:
    """Tells what happens in one lab; a `lab.scenario.fleet.Watch`."""

    def __init__(self, watcher: Watcher, name: str, line: Line, *, several: bool) -> None:
        self._watcher = watcher
        self._name = name
        self._line = line
        self._prefix = f"{name}: " if several else ""

    def step(self, text: str) -> None:
        """The lab comes up: a step of that."""
        self._tell(self._prefix + text)

    def event(self, event: Event) -> None:
        """Something of a scenario."""
        where = f"{event.scenario} {event.phase}".rstrip()
        match event.kind:
            case EventKind.SCENARIO_STARTED | EventKind.PHASE_STARTED:
                self._line.show(where)
            case EventKind.PROGRESS:
                self._line.show(f"{where}: {event.text}")
            case EventKind.CHECK_FINISHED if event.check is not None:
                self._line.show(f"{where}: {event.check.title}")
            case EventKind.PHASE_FINISHED if event.result is not None:
                self._watcher.keep(_phase(event.scenario, event.result))
            case _:
                pass

    def leaving(self, *, kept: bool) -> None:
        """The lab stays or is removed now."""
        how = f"{self._name} is kept; remove it with: {command_line('down', self._name)}"
        self._tell(how if kept else f"removing {self._name}")

    def not_removed(self, error: Exception) -> None:
        """The lab could not be removed."""
        self._watcher.keep(f"{self._name} could not be removed: {error}")

    def end(self) -> None:
        """Nothing more goes on in this lab."""
        self._line.remove()

    def _tell(self, text: str) -> None:
        self._watcher.keep(text)
        self._line.show(text)


class Line(Protocol):
    """Shows what goes on in a lab at the moment."""

    def show(self, text: str) -> None:
        """Show a text in the place of the one before."""

    def remove(self) -> None:
        """Show nothing more."""


class _NoLine:
    """Where nobody looks."""

    def show(self, text: str) -> None:
        """Nobody looks."""

    def remove(self) -> None:
        """There is nothing."""


class _ProgressLine:
    """A line of rich's, which may be changed from any thread."""

    def __init__(self, display: Progress, *, width: int) -> None:
        self._display = display
        self._width = width
        self._task = display.add_task("starting", total=None)

    def show(self, text: str) -> None:
        self._display.reset(self._task, description=shortened(text.partition("\n")[0], width=self._width))

    def remove(self) -> None:
        self._display.remove_task(self._task)


@contextlib.contextmanager
def watching(*, several: bool) -> Iterator[Watcher]:
    """A watcher that suits standard error.

    Args:
        several: whether there is more than one lab.
    """
    if not sys.stderr.isatty():
        yield Watcher(keep=lambda line: click.echo(line, err=True), line=_NoLine, several=several)
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    room = console.width - _SPINNER_AND_TIME  # a line that wraps would leave its rest behind
    with Progress(*columns, console=console, transient=True) as display:
        yield Watcher(
            keep=lambda line: console.print(Text.from_ansi(line)),
            line=lambda: _ProgressLine(display, width=room),
            several=several,
        )


def _phase(scenario: str, result: PhaseResult) -> str:
    word = click.style(result.outcome.value.upper().ljust(5), fg=_COLOURS[result.outcome], bold=True)
    why = f": {result.problem.splitlines()[0]}" if result.problem and result.outcome is not Outcome.PASS else ""
    return f"{word} {scenario} {result.name}, {result.duration_s:.1f} s{why}"
