"""What was found, as Markdown: for the page of a workflow's run, and as the text of an issue when a verdict changed."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ci.night import other_programs
from docs.walkthroughs.recording import as_text, difference, observed
from docs.walkthroughs.sections import decision, inline
from lab.scenario.result import Outcome, PhaseKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ci.night import Night
    from lab.parity.changes import Changes, OutcomeChange, VerdictChange

_NOT_GOOD = (Outcome.FAIL, Outcome.ERROR)
_WORDS = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.ERROR: "could not run", Outcome.SKIP: "skipped"}


def summary(night: Night) -> str:
    """The verdict table of a night, what did not pass first."""
    scenarios = night.report["scenarios"]
    parts = [f"# Verdicts: {night.where}", _counts(scenario["outcome"] for scenario in scenarios) + "."]
    parts += [text for scenario in scenarios if scenario["outcome"] in _NOT_GOOD for text in _why(scenario)]
    parts.append(table(("outcome", "scenario", "check", "request", "verdict"), _rows(scenarios)))
    return "\n\n".join(parts) + "\n"


def issue(old: Night, new: Night, changes: Changes) -> str:
    """What changed, as the text of an issue: a heading that can be its title, the table, both sides in full.

    Args:
        old: the night before, or what the walkthroughs print.
        new: this night.
        changes: from the one to the other.
    """
    since = "against the walkthroughs, as no night before was kept" if old.is_recorded else "since the last night"
    count = len(changes.verdicts) + len(changes.outcomes)
    parts = [f"# {count} {'change' if count == 1 else 'changes'} of verdicts: {new.where}", f"What changed {since}."]
    if old.commit and new.commit:
        same = old.commit == new.commit
        parts.append(f"Commit of the lab: {new.commit}" + (", the same as before." if same else f"; was {old.commit}."))
    if programs := other_programs(old, new):
        parts.append(table(("program", "was", "is"), programs))
    if changes.outcomes:
        parts.append(table(("scenario", "phase", "was", "is"), map(_outcome_row, changes.outcomes)))
    if changes.verdicts:
        parts.append(table(("scenario", "check", "was", "is"), map(_verdict_row, changes.verdicts)))
        parts.append(fenced("diff", "\n".join(map(_both_sides, changes.verdicts))))
    parts += [
        f"{title}: {', '.join(f'`{name}`' for name in names)}."
        for title, names in (("Not there before", changes.added), ("No longer there", changes.gone))
        if names
    ]
    return "\n\n".join(parts) + "\n"


def no_change(old: Night) -> str:
    """The line of a night in which nothing changed."""
    if old.is_recorded:
        return "No night before was kept; every verdict is the one that the walkthroughs print.\n"
    return "No verdict changed since the last night.\n"


def _counts(outcomes: Iterable[str]) -> str:
    counted = Counter(outcomes)
    return ", ".join(f"{counted[outcome]} {word}" for outcome, word in _WORDS.items() if counted[outcome])


def _rows(scenarios: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row for each probe of a solution; one for a scenario that has none to show."""
    for scenario in scenarios:
        probes = list(_probes(scenario))
        for check in probes:
            request = f"`{check['probe']['request']}`"
            yield (check["outcome"], scenario["name"], check["id"], request, _decided(check["probe"]["observed"]))
        if not probes:
            yield (scenario["outcome"], scenario["name"], "", "", scenario["skipped"] or "")


def _probes(scenario: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for phase in scenario["phases"]:
        if phase["kind"] == PhaseKind.SOLUTION:
            yield from (check for check in phase["checks"] if check["probe"] is not None)


def _decided(verdict: Mapping[str, Any] | None) -> str:
    """A verdict, of a report or recorded, in a few words."""
    if verdict is None:
        return "could not be sent"
    return decision(observed({**verdict, "failedOpen": verdict["failedOpen"] or ()}))


def _why(scenario: Mapping[str, Any]) -> Iterator[str]:
    """Why a scenario did not pass: a section with each phase's problem and both sides of each mismatch."""
    yield f"## {scenario['name']}: {_WORDS[Outcome(scenario['outcome'])]}"
    for phase in scenario["phases"]:
        if phase["outcome"] in _NOT_GOOD:
            yield fenced("text", "\n".join(_phase_lines(phase)))
    if scenario["bundle"]:
        yield f"Evidence: `{scenario['bundle']}` among the files of this run."


def _phase_lines(phase: Mapping[str, Any]) -> Iterator[str]:
    yield f"{phase['name']}: {phase['problem'] or _WORDS[Outcome(phase['outcome'])]}"
    for check in phase["checks"]:
        if check["outcome"] not in _NOT_GOOD:
            continue
        yield f"  {check['outcome']} {check['id']}: {check['problem'] or check['title']}"
        for mismatch in check["mismatches"]:
            yield f"    {mismatch['what']}"
            yield f"      expected: {mismatch['expected']}"
            yield f"      actual:   {mismatch['actual']}"


def _outcome_row(change: OutcomeChange) -> tuple[str, ...]:
    return (change.scenario, change.phase, change.old, change.new)


def _verdict_row(change: VerdictChange) -> tuple[str, ...]:
    return (change.scenario, change.check, _decided(change.old), _decided(change.new))


def _both_sides(change: VerdictChange) -> str:
    name = f"{change.scenario}/{change.check}"
    old, new = ("" if side is None else as_text({change.check: dict(side)}) for side in (change.old, change.new))
    return difference(old, new, old=f"{name} before", new=f"{name} now")


def fenced(language: str, text: str) -> str:
    """A block whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; nothing in its cells is Markdown but the code in back quotes."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return inline(" ".join(text.split()), in_table=True)
