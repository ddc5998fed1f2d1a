"""The terminal report: the verdict table, and both sides of whatever is not as it must be.

Readable at 80 columns and without colour: an outcome is a word first and a colour second, and a long message gets a
line of its own instead of a narrow column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.scenario.result import Outcome, PhaseKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from lab.scenario.result import CheckResult, Mismatch, Observed, PhaseResult, ScenarioResult

STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.ERROR: "bold magenta", Outcome.SKIP: "yellow"}
SHOWN_PHASES = (PhaseKind.SOLUTION, PhaseKind.CHECK)
"""The phases whose probes are the verdict table; the others are told in one line each."""

SLOWEST = 3
"""Scenarios that are named as the slowest."""


def print_report(
    results: Sequence[ScenarioResult], console: Console, *, took_s: float, seed: int | None = None
) -> None:
    """Print the report of a run.

    Args:
        results: in the order in which they are to be told.
        console: where to.
        took_s: how long the whole run took, in seconds; scenarios may have run side by side.
        seed: of their order; None when it was not random.
    """
    for result in results:
        console.print(scenario_block(result))
        console.print()
    for line in times(results):
        console.print(line)
    if seed is not None:
        console.print(Text(f"in the order of seed {seed}: --shuffle {seed}"))
    console.print(summary(results, took_s=took_s))


def times(results: Sequence[ScenarioResult]) -> Iterator[Text]:
    """Where the time went: the slowest scenarios when there are several, and how much of all of it were waits."""
    ran = [result for result in results if not result.skipped]
    if len(ran) < 2:  # noqa: PLR2004 - one is compared with nothing
        return
    slowest = sorted(ran, key=lambda result: result.duration_s, reverse=True)[:SLOWEST]
    yield Text(f"slowest: {', '.join(f'{result.name} {result.duration_s:.1f} s' for result in slowest)}")
    waited_s, all_s = sum(result.waited_s for result in ran), sum(result.duration_s for result in ran)
    yield Text(f"waits:   {waited_s:.1f} s of the {all_s:.1f} s that the scenarios took")


def scenario_block(result: ScenarioResult) -> RenderableType:
    """One scenario: its outcome, its verdicts, what each phase proved, and why one did not."""
    parts: list[RenderableType] = [_heading(result)]
    if result.skipped:
        parts.append(Padding(Text(f"skipped: {result.skipped}"), (0, 0, 0, 2)))
    for phase in result.phases:
        if phase.kind in SHOWN_PHASES:
            parts += [Padding(row, (0, 0, 0, 2)) for row in _verdicts(phase)]
    parts += [Padding(_phase_line(phase), (0, 0, 0, 2)) for phase in result.phases]
    for phase in result.phases:
        if phase.outcome in (Outcome.FAIL, Outcome.ERROR):
            parts += [Padding(part, (0, 0, 0, 2)) for part in _why(phase)]
    if result.bundle is not None:
        parts.append(Padding(Text(f"evidence: {result.bundle}", overflow="fold"), (0, 0, 0, 2)))
    return Group(*parts)


def summary(results: Sequence[ScenarioResult], *, took_s: float) -> Text:
    """The last line: how many of each outcome, and how long it took."""
    counts = [(outcome, sum(result.outcome is outcome for result in results)) for outcome in Outcome]
    text = Text()
    for outcome, count in counts:
        if count or outcome is Outcome.PASS:
            text.append(", " if text else "")
            text.append(f"{count} {_PLURAL[outcome]}", style=STYLES[outcome] if count else "")
    text.append(f" in {took_s:.1f} s")
    return text


_PLURAL = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "could not run",
    Outcome.SKIP: "skipped",
}


def outcome_word(outcome: Outcome) -> Text:
    """An outcome as a word of five letters."""
    return Text.assemble((outcome.value.upper().ljust(5), STYLES[outcome]))


def _heading(result: ScenarioResult) -> Text:
    text = outcome_word(result.outcome)
    text.append(f" {result.name}", style="bold")
    text.append(f"  {result.title}")
    if not result.skipped:
        text.append(f"  ({result.backend}, {result.duration_s:.1f} s)")
    return text


def _verdicts(phase: PhaseResult) -> Iterator[RenderableType]:
    """The verdict table of a phase: two lines for a request, the message below who decided."""
    for check in phase.checks:
        line = outcome_word(check.outcome)
        line.append(" ")
        if check.probe is None or check.probe.observed is None:
            line.append(check.title)
            yield line
            continue
        observed = check.probe.observed
        line.append(check.probe.request, style="cyan")
        yield line
        table = Table.grid(padding=(0, 1))
        table.add_column(width=7, no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row(observed.verdict.value, _who(observed))
        if observed.message:
            table.add_row("", Text(observed.message, style="dim"))
        yield Padding(table, (0, 0, 0, 6))


def _who(observed: Observed) -> str:
    """Who decided, in a few words; of an admitted request, who was asked and let it pass."""
    if not observed.deciders:
        return "by nobody can tell whom"
    if observed.deciders != {"nobody"}:
        return f"by {', '.join(sorted(observed.deciders))}"
    if observed.failed_open:
        return f"because {', '.join(observed.failed_open)} failed open"
    asked = f"{', '.join(sorted(observed.asked))} was asked" if observed.asked else "nobody denied it"
    return asked if observed.failed_open is None else f"{asked}, nothing failed open"


def _phase_line(phase: PhaseResult) -> Text:
    text = outcome_word(phase.outcome)
    text.append(f" {phase.name}: {_MEANING[phase.kind]}")
    text.append(f"  {phase.duration_s:.1f} s")
    if phase.waited_s >= _WORTH_TELLING_S:
        text.append(f" ({phase.waited_s:.1f} s waiting)")
    if phase.outcome is Outcome.SKIP:
        text.append(f"  ({phase.problem})")
    return text


_WORTH_TELLING_S = 0.1
_MEANING = {
    PhaseKind.UNTOUCHED: "must not solve the task",
    PhaseKind.SOLUTION: "must solve it",
    PhaseKind.MISTAKE: "must be found",
    PhaseKind.CHECK: "what was done",
}


def _why(phase: PhaseResult) -> Iterator[RenderableType]:
    """Why a phase did not pass: its problem, then each check that is not as it must be."""
    heading = outcome_word(phase.outcome)
    heading.append(f" {phase.name}", style="bold")
    yield heading
    if phase.problem:
        yield Padding(Text(phase.problem), (0, 0, 0, 2))
    for check in phase.checks:
        if check.outcome is Outcome.PASS and phase.kind is not PhaseKind.MISTAKE:
            continue
        yield Padding(_check(check), (0, 0, 0, 2))


def _check(check: CheckResult) -> RenderableType:
    line = outcome_word(check.outcome)
    line.append(f" {check.id}: {check.title}")
    parts: list[RenderableType] = [line]
    parts += [Padding(_sides(mismatch), (0, 0, 0, 6)) for mismatch in check.mismatches]
    if check.problem:
        parts.append(Padding(Text(check.problem), (0, 0, 0, 6)))
    if check.feedback is not None:
        parts.append(Padding(Text(f"feedback: {check.feedback.text}", style="italic"), (0, 0, 0, 6)))
    return Group(*parts)


def _sides(mismatch: Mismatch) -> Table:
    """Expected and actual, side by side."""
    table = Table(title=Text(mismatch.what), title_justify="left", box=None, pad_edge=False, expand=True)
    table.add_column("expected", ratio=1, overflow="fold", header_style="")
    table.add_column("actual", ratio=1, overflow="fold", header_style="")
    table.add_row(Text(mismatch.expected, style="green"), Text(mismatch.actual, style="red"))
    return table
