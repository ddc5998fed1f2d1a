"""The comparison for a person: a table of scenarios, both sides of what differs, and the rules that explain the rest.

Readable at 80 columns and without colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.parity.parity import count
from lab.parity.rules import RULES
from lab.scenario.compare import shown
from lab.scenario.report.terminal import STYLES, outcome_word
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console, RenderableType

    from lab.parity.changes import FactChange
    from lab.parity.parity import Parity, ScenarioParity

_WORDS = {
    Outcome.PASS: "the same",
    Outcome.FAIL: "different",
    Outcome.ERROR: "not fully compared",
    Outcome.SKIP: "skipped",
}


def print_parity(parity: Parity, console: Console) -> None:
    """Print it."""
    console.print(_scenarios(parity))
    for scenario in parity.scenarios:
        if scenario.different or scenario.notes:
            console.print()
            console.print(Text(scenario.name, style="bold"))
            for part in _details(parity, scenario):
                console.print(Padding(part, (0, 0, 0, 2)))
    if parity.applied:
        console.print()
        console.print(_rules(parity))
    console.print()
    console.print(_summary(parity))


def _scenarios(parity: Parity) -> Table:
    table = Table(title=Text(f"{parity.left} and {parity.right}"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("scenario", overflow="fold")
    for heading in ("checks", "explained", "different"):
        table.add_column(heading, justify="right", no_wrap=True)
    for scenario in parity.scenarios:
        numbers = (scenario.compared, len(scenario.changes.explained), scenario.different)
        ran = scenario.outcome is not Outcome.SKIP
        table.add_row(
            outcome_word(scenario.outcome), scenario.name, *(str(number) if ran else "-" for number in numbers)
        )
    return table


def _details(parity: Parity, scenario: ScenarioParity) -> Iterator[RenderableType]:
    changes = scenario.changes
    for note in scenario.notes:
        yield Text(note)
    for side, only in ((parity.left, changes.gone), (parity.right, changes.added)):
        for part in only:
            yield Text(f"only {side}: {part.removeprefix(f'{scenario.name}: ')}", style=STYLES[Outcome.FAIL])
    for outcome in changes.outcomes:
        yield Text(f"{outcome.phase}: {parity.left} {outcome.old}, {parity.right} {outcome.new}")
    for verdict in changes.verdicts:
        yield Text(verdict.check, style="cyan")
        yield from (Padding(_sides(parity, fact), (0, 0, 0, 2)) for fact in verdict.facts if not fact.rules)


def _sides(parity: Parity, fact: FactChange) -> RenderableType:
    """One fact, side below side, so that texts which differ in a word stand under each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(parity.left, Text(shown(str(fact.old)) or "-", style="green"))
    table.add_row(parity.right, Text(shown(str(fact.new)) or "-", style="red"))
    return Group(Text(fact.fact), Padding(table, (0, 0, 0, 2)))


def _rules(parity: Parity) -> Table:
    examples = _examples(parity)
    table = Table(title=Text("explained by"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("rule", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for rule in RULES:
        if rule.name in examples:
            table.add_row(rule.name, str(parity.applied[rule.name]), rule.reason)
            table.add_row("", "", Text(examples[rule.name], style="dim"))
    return table


def _examples(parity: Parity) -> Mapping[str, str]:
    """Where each rule was needed first."""
    found: dict[str, str] = {}
    for scenario in parity.scenarios:
        for verdict in (*scenario.changes.explained, *scenario.changes.verdicts):
            for fact in verdict.facts:
                for rule in fact.rules:
                    found.setdefault(rule, f"{scenario.name}, {verdict.check}, {fact.fact}")
    return found


def _summary(parity: Parity) -> Text:
    text = Text()
    for outcome, number in count(parity).items():
        if number:
            text.append(", " if text else "")
            text.append(f"{number} {_WORDS[outcome]}", style=STYLES[outcome])
    return text or Text("nothing was compared")
