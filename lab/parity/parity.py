"""Compares two replays scenario by scenario, and says of each whether they agree.

PASS: every verdict is the same, or rules explain what differs. FAIL: something differs that nothing explains. ERROR: a
phase could not run, so that not everything could be compared. SKIP: one side cannot hold the scenario.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.errors import EXIT_COULD_NOT_RUN, EXIT_FAILED, EXIT_OK
from lab.parity.changes import Changes, Replayed, between
from lab.parity.reading import replayed
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_SCENARIO = "scenario"
_NOT_RUN = {Outcome.SKIP: "was skipped", Outcome.ERROR: "could not run"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two replays.

    Attributes:
        name: what it is called beside the other: its backend, or the file of its report.
        scenarios: of the report, by name.
    """

    name: str
    scenarios: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioParity:
    """One scenario on both sides.

    Attributes:
        name: its name.
        outcome: whether the sides agree.
        compared: how many checks both sides have run.
        changes: what differs.
        notes: why something was not compared, one sentence each.
    """

    name: str
    outcome: Outcome
    compared: int
    changes: Changes
    notes: tuple[str, ...] = ()

    @property
    def different(self) -> int:
        """How much differs that nothing explains."""
        changes = self.changes
        return sum(map(len, (changes.verdicts, changes.outcomes, changes.added, changes.gone)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Two replays, compared.

    Attributes:
        left: name of the one.
        right: name of the other.
        scenarios: in the order of the left side, then what only the right one has.
    """

    left: str
    right: str
    scenarios: tuple[ScenarioParity, ...]

    @property
    def exit_code(self) -> int:
        """0 when they agree, 1 when something differs, 3 when not everything or nothing at all was compared."""
        outcomes = {scenario.outcome for scenario in self.scenarios}
        if Outcome.FAIL in outcomes:
            return EXIT_FAILED
        return EXIT_COULD_NOT_RUN if Outcome.ERROR in outcomes or Outcome.PASS not in outcomes else EXIT_OK

    @property
    def applied(self) -> Counter[str]:
        """How many differences each rule has explained, by its name."""
        return Counter(
            rule
            for scenario in self.scenarios
            for verdict in (*scenario.changes.explained, *scenario.changes.verdicts)
            for change in verdict.facts
            for rule in change.rules
        )


def side_of(name: str, report: Mapping[str, Any]) -> Side:
    """A report as one side."""
    return Side(name=name, scenarios={scenario["name"]: scenario for scenario in report["scenarios"]})


def compare(left: Side, right: Side) -> Parity:
    """Compare two replays of the same scenarios."""
    names = dict.fromkeys([*left.scenarios, *right.scenarios])
    return Parity(left=left.name, right=right.name, scenarios=tuple(_scenario(name, left, right) for name in names))


def _scenario(name: str, left: Side, right: Side) -> ScenarioParity:
    one, other = left.scenarios.get(name), right.scenarios.get(name)
    sides = [(side, scenario) for side, scenario in ((left, one), (right, other)) if scenario is not None]
    if skipped := tuple(f"{side.name}: {scenario['skipped']}" for side, scenario in sides if scenario["skipped"]):
        return ScenarioParity(name=name, outcome=Outcome.SKIP, compared=0, changes=between({}, {}), notes=skipped)
    if one is None or other is None:
        changes = between(*({} if side is None else {name: replayed(side)} for side in (one, other)))
        return ScenarioParity(name=name, outcome=Outcome.FAIL, compared=0, changes=changes)
    was, now = _comparable(one, other), _comparable(other, one)
    changes = between({name: was}, {name: now})
    differs = changes or changes.added or changes.gone
    could_not_run = any(phase["outcome"] == Outcome.ERROR for _, scenario in sides for phase in scenario["phases"])
    return ScenarioParity(
        name=name,
        outcome=Outcome.FAIL if differs else Outcome.ERROR if could_not_run else Outcome.PASS,
        compared=len(was.verdicts.keys() & now.verdicts.keys()),
        changes=changes,
        notes=tuple(note for side, scenario in sides for note in _left_out(side.name, scenario)),
    )


def _left_out(side: str, scenario: Mapping[str, Any]) -> Iterator[str]:
    for phase in scenario["phases"]:
        if phase["outcome"] in _NOT_RUN:
            first_line = phase["problem"].partition("\n")[0]
            yield f"{side}: {phase['name']} {_NOT_RUN[phase['outcome']]}: {first_line}"


def _comparable(scenario: Mapping[str, Any], other: Mapping[str, Any]) -> Replayed:
    """What a scenario got, as far as the other side has run it too.

    Of a phase that could not run on either side, what was found before that counts all the same.
    """
    halves = {phase["name"] for side in (scenario, other) for phase in side["phases"] if phase["outcome"] in _NOT_RUN}
    theirs = {phase["name"]: _found(phase) for phase in other["phases"]}
    phases = []
    for phase in scenario["phases"]:
        if phase["name"] in halves:
            found = _found(phase) & theirs.get(phase["name"], frozenset())
            phases.append({**phase, "checks": [check for check in phase["checks"] if check["id"] in found]})
        else:
            phases.append(phase)
    got = replayed({**scenario, "phases": phases})
    # What the scenario as a whole came to follows from its phases, and would be told twice.
    outcomes = {name: outcome for name, outcome in got.outcomes.items() if name not in {_SCENARIO, *halves}}
    return Replayed(outcomes=outcomes, verdicts=got.verdicts)


def _found(phase: Mapping[str, Any]) -> frozenset[str]:
    """The checks of a phase that could be run."""
    return frozenset(check["id"] for check in phase["checks"] if check["outcome"] != Outcome.ERROR)


def count(parity: Parity) -> dict[Outcome, int]:
    """How many scenarios came to each outcome."""
    return {outcome: sum(one.outcome is outcome for one in parity.scenarios) for outcome in Outcome}
