"""The task, the grade and the solution as a person reads them.

Where nobody looks (a pipe, a file), the task and the solution are the files as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.practice.clock import time_used
from lab.practice.grading import possible_points
from lab.scenario.report.terminal import outcome_word
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from lab.practice.grading import Grade, GradedCheck
    from lab.practice.record import Attempt
    from lab.practice.session import Hint
    from lab.scenario.load import Scenario

CODE_THEME = "ansi_dark"
"""The terminal's own colours, which its owner can read."""


def print_task(scenario: Scenario, attempt: Attempt, console: Console, *, now: datetime) -> None:
    """Print the task, the time used, and the hints taken so far."""
    metadata = scenario.document.metadata
    heading = Text.assemble((scenario.name, "bold"), f"  {metadata.difficulty}, {possible_points(scenario)} points")
    _print_line(heading, console)
    console.print()
    text = scenario.text(scenario.document.task)
    if console.is_terminal:
        from rich.markdown import Markdown  # noqa: PLC0415 - it takes as long as all the rest

        console.print(Markdown(text, code_theme=CODE_THEME))
    else:
        console.out(text.rstrip())
    console.print()
    for number, hint in enumerate(scenario.document.hints[: attempt.hints], start=1):
        _print_line(Text(f"hint {number}: {hint}"), console)
    _print_line(time_line(scenario, attempt, now=now), console)


def print_grade(grade: Grade, scenario: Scenario, attempt: Attempt, console: Console, *, now: datetime) -> None:
    """Print each check, the sum, and the time used."""
    for check in grade.checks:
        _print_check(check, console)
    console.print()
    for note in grade.notes:
        _print_line(Text.assemble(("note", "bold yellow"), f": {note}"), console)
    style = "bold green" if grade.complete else "bold"
    _print_line(Text.assemble((f"{grade.points} of {grade.possible} points", style), f"  {grade.scenario}"), console)
    _print_line(time_line(scenario, attempt, now=now), console)


def print_hint(hint: Hint, scenario: Scenario, console: Console) -> None:
    """Print a hint; when none is left, all of them."""
    if hint.text:
        _print_line(Text.assemble((f"hint {hint.number} of {hint.total}", "bold"), f": {hint.text}"), console)
        return
    _print_line(Text(f"there is no further hint; these are all {hint.total}:"), console)
    for number, text in enumerate(scenario.document.hints, start=1):
        _print_line(Text(f"  {number}. {text}"), console)


def print_solution(script: str, console: Console) -> None:
    """Print the solution's script."""
    if console.is_terminal:
        from rich.syntax import Syntax  # noqa: PLC0415

        console.print(Syntax(script, "bash", theme=CODE_THEME, word_wrap=True, background_color="default"))
    else:
        console.out(script.rstrip())


def time_line(scenario: Scenario, attempt: Attempt, *, now: datetime) -> Text:
    """The time used, and the help that was taken."""
    allowed = scenario.document.metadata.time_minutes
    used_s = attempt.used_s(now)
    late = used_s > allowed * 60
    text = Text.assemble("time: ", (time_used(used_s, allowed_minutes=allowed), "red" if late else ""))
    if attempt.solved_at is not None:
        text.append(", solved", style="green")
    total = len(scenario.document.hints)
    text.append(f"; hints: {attempt.hints} of {total}")
    if attempt.solution_shown_at is not None:
        text.append("; the solution was shown")
    return text


def _print_line(text: Text, console: Console) -> None:
    """Print a text: filled for a terminal, whole for anything else."""
    console.print(text, soft_wrap=not console.is_terminal)


def _print_check(check: GradedCheck, console: Console) -> None:
    line = outcome_word(check.outcome)
    line.append(f" {check.earned}/{check.points}", style="bold")
    line.append(f"  {check.title}")
    _print_line(line, console)
    rows = _rows(check)
    if not console.is_terminal:
        for label, text, _ in rows:
            console.out(f"      {label:8} {text}")
    elif rows:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=8, no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        for label, text, style in rows:
            table.add_row(label, Text(text, style=style))
        console.print(Padding(table, (0, 0, 0, 6)))


def _rows(check: GradedCheck) -> list[tuple[str, str, str]]:
    """What is told of a check that did not pass: label, text, style. What its title says is not said again."""
    if check.outcome is Outcome.PASS:
        return []
    rows = [("request", check.request, "cyan"), ("expected", check.expected, "green")] if check.request else []
    rows += [("seen", seen, "red") for seen in check.seen]
    rows.append(("feedback", check.feedback, "italic"))
    return [row for row in rows if row[1]]
