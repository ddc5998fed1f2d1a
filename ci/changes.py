"""What changed between two nights: verdicts, and what a phase of a scenario came to.

A scenario or a check that one of the nights did not have is no changed verdict, and is told apart. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ci.night import Night, Replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """The solution's probe of one check got something else.

    Attributes:
        scenario: its name.
        check: its id.
        old: the verdict as the walkthroughs record it; None when the probe could not be sent.
        new: the same.
    """

    scenario: str
    check: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None


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
        verdicts: in the order of scenario and check.
        outcomes: in the order of scenario and phase.
        added: scenarios, checks and phases that there were not before.
        gone: those that there are no longer.
        programs: name, version before, version now, of each program whose version differs.
    """

    verdicts: tuple[VerdictChange, ...]
    outcomes: tuple[OutcomeChange, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]
    programs: tuple[tuple[str, str, str], ...]

    def __bool__(self) -> bool:
        """Whether a verdict or an outcome changed; new scenarios and new programs alone are no such thing."""
        return bool(self.verdicts or self.outcomes)


def between(old: Night, new: Night) -> Changes:
    """What changed from one night to the next."""
    both = sorted(old.scenarios.keys() & new.scenarios.keys())
    pairs = [(name, old.scenarios[name], new.scenarios[name]) for name in both]
    return Changes(
        verdicts=tuple(change for name, was, now in pairs for change in _verdicts(name, was, now)),
        outcomes=tuple(change for name, was, now in pairs for change in _outcomes(name, was, now)),
        added=_only_in(new, old),
        gone=_only_in(old, new),
        programs=tuple(
            (name, old.programs[name], new.programs[name])
            for name in sorted(old.programs.keys() & new.programs.keys())
            if old.programs[name] != new.programs[name]
        ),
    )


def _verdicts(scenario: str, was: Replayed, now: Replayed) -> Iterator[VerdictChange]:
    for check in sorted(was.verdicts.keys() & now.verdicts.keys()):
        old, new = was.verdicts[check], now.verdicts[check]
        if old != new:
            yield VerdictChange(scenario=scenario, check=check, old=old, new=new)


def _outcomes(scenario: str, was: Replayed, now: Replayed) -> Iterator[OutcomeChange]:
    for phase in (name for name in now.outcomes if name in was.outcomes):
        old, new = was.outcomes[phase], now.outcomes[phase]
        if old != new:
            yield OutcomeChange(scenario=scenario, phase=phase, old=old, new=new)


def _only_in(one: Night, other: Night) -> tuple[str, ...]:
    """Scenarios of one night that the other lacks, and what is in a scenario of one night only."""
    return tuple(
        line
        for name, replayed in sorted(one.scenarios.items())
        for line in ([name] if name not in other.scenarios else _parts_only_in(name, replayed, other.scenarios[name]))
    )


def _parts_only_in(scenario: str, one: Replayed, other: Replayed) -> list[str]:
    # A scenario that did not run, or of which verdicts alone are known, says nothing about its parts.
    phases = sorted(one.outcomes.keys() - other.outcomes.keys()) if len(other.outcomes) > 1 else []
    checks = sorted(one.verdicts.keys() - other.verdicts.keys()) if other.verdicts else []
    return [f"{scenario}: {part}" for part in (*phases, *checks)]
