"""An error as a person reads it: what happened and why, the facts, what to do; and the exit code that it means.

Standard error gets it, because standard output may be parsed. A traceback is for those who mend the lab, not for those
who use it: it is shown only with ``--debug``.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.errors import EXIT_BAD_INPUT, EXIT_COULD_NOT_RUN, EXIT_INTERRUPTED, LabError
from lab.interrupts import Terminated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIGNAL_BASE = 128
"""A shell's exit code for a process that signal N ended is 128 + N."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is told of an error.

    Attributes:
        message: what happened and why; may have several lines.
        code: kebab-case identifier; empty for wrong usage, which its text identifies.
        context: further facts.
        hint: what to do about it.
        exit_code: of the command.
    """

    message: str
    code: str = ""
    context: Mapping[str, str]
    hint: str
    exit_code: int


def describe(error: Exception, *, argv: Sequence[str]) -> Failure:
    """What to tell of an error.

    Args:
        error: whatever a command raised.
        argv: the command's arguments, without ``lab``.
    """
    match error:
        case LabError():
            return Failure(
                message=error.message,
                code=error.code,
                context=error.context,
                hint=error.hint,
                exit_code=error.exit_code,
            )
        case click.ClickException():
            return _usage(error)
        case OSError():
            return Failure(
                message=f"the operating system refused: {error}",
                code="operating-system",
                context=_place(error),
                hint=f"mend what it says; '{_debug_command(argv)}' shows where it happened",
                exit_code=EXIT_COULD_NOT_RUN,
            )
        case _:
            return Failure(
                message=f"this is a defect of the lab, not of your input: {type(error).__name__}: {error}",
                code="defect",
                context=_place(error),
                hint=f"run '{_debug_command(argv)}' and report its output",
                exit_code=EXIT_COULD_NOT_RUN,
            )


def show(error: Exception, *, argv: Sequence[str], debug: bool) -> int:
    """Print an error.

    Args:
        error: whatever a command raised.
        argv: the command's arguments, without ``lab``.
        debug: print its traceback too.

    Returns:
        The exit code that it means.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return EXIT_BAD_INPUT
    if debug and not isinstance(error, click.ClickException):
        click.echo("".join(traceback.format_exception(error)), err=True)
    failure = describe(error, argv=argv)
    for line in render(failure, width=_width()):
        click.echo(line, err=True)
    return failure.exit_code


def render(failure: Failure, *, width: int | None) -> list[str]:
    """The lines that tell of a failure, with colours.

    Args:
        failure: what to tell.
        width: columns to fill; None leaves every line whole, so that it can be searched for.
    """
    tag = f" [{failure.code}]" if failure.code else ""
    first, *rest = (failure.message + tag).splitlines() or [""]
    plain = _filled(first, label="error: ", indent="  ", width=width)
    lines = [click.style("error", fg="red", bold=True) + plain[0].removeprefix("error"), *plain[1:]]
    lines += [f"  {line}" if line and not line.startswith(" ") else line for line in rest]
    for key, value in failure.context.items():
        lines += _fact(key, value, width=width)
    label = "  what to do: "
    hint = _filled(failure.hint, label=label, indent=" " * len(label), width=width)
    return [*lines, click.style(label, bold=True) + hint[0].removeprefix(label), *hint[1:]]


def show_interrupt(interrupt: KeyboardInterrupt) -> int:
    """Say in one line that a person or the system ended the command.

    Returns:
        The exit code that it means.
    """
    if sys.stderr.isatty():
        click.echo(err=True)  # ends the line on which the terminal has shown ^C
    if isinstance(interrupt, Terminated):
        click.echo(f"ended by {signal.Signals(interrupt.signum).name}", err=True)
        return _SIGNAL_BASE + interrupt.signum
    click.echo("interrupted", err=True)
    return EXIT_INTERRUPTED


def _usage(error: click.ClickException) -> Failure:
    context = getattr(error, "ctx", None)
    command = "lab" if context is None else context.command_path
    message = error.format_message().rstrip(".")
    return Failure(
        message=message[:1].lower() + message[1:],
        context={},
        hint=f"see '{command} --help'",
        exit_code=EXIT_BAD_INPUT,
    )


def _place(error: BaseException) -> dict[str, str]:
    """Where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"where": f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}"} if frames else {}


def _debug_command(argv: Sequence[str]) -> str:
    return shlex.join(["lab", "--debug", *argv])


def _fact(key: str, value: str, *, width: int | None) -> list[str]:
    """A fact; output of a program keeps its lines."""
    value = value.strip("\n")
    if not value:
        return _filled(key, label="  ", indent="    ", width=width)
    if "\n" in value:
        return [f"  {key}:", *(f"    {line}" for line in value.splitlines())]
    return _filled(value, label=f"  {key}: ", indent="    ", width=width)


def _filled(text: str, *, label: str, indent: str, width: int | None) -> list[str]:
    if width is None:
        return [label + text]
    return textwrap.wrap(
        label + text,
        width=width,
        initial_indent="",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else None
