"""The files that are generated: a page for each text of the course, their index, and the table of all scenarios."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from docs.walkthroughs import recording
from docs.walkthroughs.courses import PAGES
from docs.walkthroughs.sections import anchor, inline, section
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docs.walkthroughs.courses import Page
    from docs.walkthroughs.recording import Recording
    from lab.scenario.load import Scenario

DOCS = Path(__file__).parents[1]
HERE = "walkthroughs"
INDEX = f"{HERE}/README.md"
TABLE = "scenarios.md"
COLUMNS = 120

_FRONT = f"<!-- Made by `{recording.REMEDY}` from scenarios/ and a real run: change those, not this page.{{more}} -->\n"
_NOT_RUN_FROM_HERE = """
     No block is marked to be run: tests/e2e/test_scenarios.py runs every solution as its scenario's, and compares the
     verdicts that it gets with those printed here."""

_HOW_TO_READ = """\
Each section is a scenario: its task, one way to solve it in a shell on the node, what the API server answers then, and
what people get wrong. Try it first: `lab start NAME` gives you the task, the shell and, with `lab check`, points
([how to practise](../how-to/do-a-scenario.md)).

Requests are printed with who [decided](../scenario-format.md#probe) and with the API server's own words. They are
sent in namespaces of their own unless they name one, and the files that they name lie in the scenario's directory. A
request that was allowed is proved not to have slipped through a webhook that did not answer, unless it says so.
"""
_INDEX_HEAD = """\
# Walkthroughs

A page for each text of the course that the lab replays, and one for what goes beyond them: every task with a solution,
the answers of a real API server, and the mistakes that people make. The same scenarios are listed
[by topic](../scenarios.md).
"""
_TABLE_HEAD = """\
# The scenarios

There are {count} of them. `lab start NAME` puts you into one, `lab run NAME` replays it. Each name leads to a
[walkthrough](walkthroughs/README.md).
"""


def files(scenarios: Sequence[Scenario], verdicts: Recording) -> dict[str, str]:
    """Every generated file, by its path below ``docs``.

    Args:
        scenarios: all of them.
        verdicts: what was recorded; scenarios that there are no longer are dropped.

    Raises:
        InputError: ``verdicts-outdated``: something was not recorded, or expects something else today.
    """
    _reject_misfits(scenarios, verdicts)
    names = {scenario.name for scenario in scenarios}
    kept = {name: found for name, found in verdicts.items() if name in names}
    pages = {f"{HERE}/{page.slug}.md": _page(page, page.scenarios_of(scenarios), kept) for page in PAGES}
    return {
        **pages,
        INDEX: _index(scenarios),
        TABLE: _table(scenarios),
        f"{HERE}/{recording.FILE.name}": recording.as_text(kept),
    }


def drift(generated: dict[str, str], *, docs: Path = DOCS) -> str:
    """How the files on disk differ from what is generated; empty when they do not."""
    on_disk = {path: (docs / path).read_text(encoding="utf-8") for path in _present(docs)}
    return "".join(
        recording.difference(on_disk.get(path, ""), generated.get(path, ""), old=f"docs/{path}", new="generated")
        for path in sorted(on_disk.keys() | generated.keys())
    )


def write(generated: dict[str, str], *, docs: Path = DOCS) -> None:
    """Write the files, and remove pages that there are no longer."""
    for path in _present(docs) - generated.keys():
        (docs / path).unlink()
    for path, text in generated.items():
        (docs / path).write_text(text, encoding="utf-8")


def _present(docs: Path) -> set[str]:
    """The generated files that are there."""
    found = {*(docs / HERE).glob("*.md"), docs / TABLE, docs / HERE / recording.FILE.name}
    return {file.relative_to(docs).as_posix() for file in found if file.exists()}


def _reject_misfits(scenarios: Sequence[Scenario], verdicts: Recording) -> None:
    wrong = {scenario.name: recording.misfits(scenario, verdicts.get(scenario.name, {})) for scenario in scenarios}
    wrong = {name: checks for name, checks in wrong.items() if checks}
    if wrong:
        raise InputError(
            "verdicts-outdated",
            "the recorded verdicts are not those that the scenarios expect",
            hint=f'run {recording.REMEDY} WALK="{" ".join(wrong)}"',
            context={name: ", ".join(checks) for name, checks in wrong.items()},
        )


def _page(page: Page, scenarios: Sequence[Scenario], verdicts: Recording) -> str:
    return "\n".join(
        (
            _FRONT.format(more=_NOT_RUN_FROM_HERE),
            f"# {page.title}\n",
            textwrap.fill(page.about, width=COLUMNS) + "\n",
            _HOW_TO_READ,
            "\n".join(_contents(scenarios)) + "\n",
            *(section(scenario, verdicts.get(scenario.name, {})) for scenario in scenarios),
        )
    )


def _contents(scenarios: Sequence[Scenario]) -> Iterator[str]:
    for scenario in scenarios:
        metadata = scenario.document.metadata
        yield f"- [{metadata.title}](#{anchor(scenario)}) ({metadata.difficulty}, {metadata.time_minutes} minutes)"


def _index(scenarios: Sequence[Scenario]) -> str:
    lines = [_FRONT.format(more=""), _INDEX_HEAD, "| page | what it is about | scenarios |", "|---|---|---|"]
    for page in PAGES:
        links = [f"[{s.name}]({page.slug}.md#{anchor(s)})" for s in page.scenarios_of(scenarios)]
        lines.append(f"| [{page.title}]({page.slug}.md) | {inline(page.about, in_table=True)} | {', '.join(links)} |")
    return "\n".join(lines) + "\n"


def _table(scenarios: Sequence[Scenario]) -> str:
    lines = [_FRONT.format(more=""), _TABLE_HEAD.format(count=len(scenarios)).rstrip()]
    for topic in sorted({scenario.topic for scenario in scenarios}):
        lines += ["", f"## {topic}", "", "| scenario | what it teaches | difficulty | minutes |", "|---|---|---|---|"]
        lines += [_row(scenario) for scenario in scenarios if scenario.topic == topic]
    return "\n".join(lines) + "\n"


def _row(scenario: Scenario) -> str:
    metadata = scenario.document.metadata
    page = next(page for page in PAGES if page.scenarios_of([scenario]))
    name = f"[{scenario.name}]({HERE}/{page.slug}.md#{anchor(scenario)})"
    return f"| {name} | {inline(metadata.title, in_table=True)} | {metadata.difficulty} | {metadata.time_minutes} |"
