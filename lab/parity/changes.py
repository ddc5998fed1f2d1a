"""What differs between two replays: verdicts, and what a phase of a scenario came to.

A scenario or a check that one of them did not have is no changed verdict, and is told apart. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.parity.rules import ABSENT, explanation

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a scenario got.

    Attributes:
        outcomes: of its phases by name, and of the scenario itself under ``scenario``; empty where only verdicts are
            known.
        verdicts: what its checks got, each under the check's name; None for a probe that could not be sent.
    """

    outcomes: Mapping[str, str]
    verdicts: Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactChange:
    """One fact of a verdict is another one.

    Attributes:
        fact: its path: ``deciders``, ``stored.spec.containers[0].image``.
        old: its value; `lab.parity.rules.ABSENT` if there is none.
        new: the same.
        rules: those that explain it; empty when nothing does.
    """

    fact: str
    old: Any
    new: Any
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """One check got something else.

    Attributes:
        scenario: its name.
        check: its name.
        old: what it got in the one replay; None when the probe could not be sent.
        new: the same in the other.
        facts: what differs, fact by fact; at least one.
    """

    scenario: str
    check: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    facts: tuple[FactChange, ...]

    @property
    def explained(self) -> bool:
        """Whether there is a rule for everything that differs."""
        return all(change.rules for change in self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeChange:
    """A phase, or the scenario as a whole, came to something else.

    Attributes:
        scenario: its name.
        phase: ``scenario``, ``untouched``, ``solution`` or ``mistake/<id>``.
        old: ``pass``, ``fail``, ``error`` or ``skip``.
        new: the same.
    """

    scenario: str
    phase: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All that differs.

    Attributes:
        verdicts: those that nothing explains, in the order of scenario and check.
        explained: those that rules explain, in the same order.
        outcomes: in the order of scenario and phase.
        added: scenarios, checks and phases that only the other replay has.
        gone: those that only the one has.
    """

    verdicts: tuple[VerdictChange, ...]
    explained: tuple[VerdictChange, ...]
    outcomes: tuple[OutcomeChange, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether a verdict or an outcome differs; what only one of them has is no such thing."""
        return bool(self.verdicts or self.outcomes)


def between(old: Mapping[str, Replayed], new: Mapping[str, Replayed]) -> Changes:
    """What differs from one replay to another.

    Args:
        old: the one: scenarios by name.
        new: the other.
    """
    both = sorted(old.keys() & new.keys())
    pairs = [(name, old[name], new[name]) for name in both]
    verdicts = [change for name, was, now in pairs for change in _verdicts(name, was, now)]
    return Changes(
        verdicts=tuple(change for change in verdicts if not change.explained),
        explained=tuple(change for change in verdicts if change.explained),
        outcomes=tuple(change for name, was, now in pairs for change in _outcomes(name, was, now)),
        added=_only_in(new, old),
        gone=_only_in(old, new),
    )


def _verdicts(scenario: str, was: Replayed, now: Replayed) -> Iterator[VerdictChange]:
    for check in sorted(was.verdicts.keys() & now.verdicts.keys()):
        old, new = was.verdicts[check], now.verdicts[check]
        if facts := tuple(_facts(old, new)):
            yield VerdictChange(scenario=scenario, check=check, old=old, new=new, facts=facts)


def _facts(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[FactChange]:
    """Every fact that differs; of a probe that could not be sent there is none."""
    was, now = ({} if side is None else dict(_flat(side)) for side in (old, new))
    for fact in dict.fromkeys([*was, *now]):
        one, other = was.get(fact, ABSENT), now.get(fact, ABSENT)
        if type(one) is not type(other) or one != other:
            yield FactChange(fact=fact, old=one, new=other, rules=explanation(fact, one, other))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values in an object by their paths; what is empty is a value too."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _flat(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, below in enumerate(value):
            yield from _flat(below, f"{path}[{index}]")
    else:
        yield path, value


def _outcomes(scenario: str, was: Replayed, now: Replayed) -> Iterator[OutcomeChange]:
    for phase in (name for name in now.outcomes if name in was.outcomes):
        old, new = was.outcomes[phase], now.outcomes[phase]
        if old != new:
            yield OutcomeChange(scenario=scenario, phase=phase, old=old, new=new)


def _only_in(one: Mapping[str, Replayed], other: Mapping[str, Replayed]) -> tuple[str, ...]:
    """Scenarios of one replay that the other lacks, and what is in a scenario of one replay only."""
    return tuple(
        line
        for name, replayed in sorted(one.items())
        for line in ([name] if name not in other else _parts_only_in(name, replayed, other[name]))
    )


def _parts_only_in(scenario: str, one: Replayed, other: Replayed) -> list[str]:
    # A scenario that did not run, or of which verdicts alone are known, says nothing about its parts.
    phases = sorted(one.outcomes.keys() - other.outcomes.keys()) if other.outcomes.keys() - {"scenario"} else []
    checks = sorted(one.verdicts.keys() - other.verdicts.keys()) if other.verdicts else []
    return [f"{scenario}: {part}" for part in (*phases, *checks)]
