"""Figures that belong together, and how two lots of them compare."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECONDS = "s"
BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one thing took, round by round.

    Attributes:
        unit: ``s`` or ``bytes``.
        values: one figure per round, at least one, in the order in which they were measured.
    """

    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle figure; of an even number, the mean of the two in the middle."""
        return statistics.median(self.values)

    @property
    def minimum(self) -> float:
        """The least figure."""
        return min(self.values)

    @property
    def maximum(self) -> float:
        """The greatest figure."""
        return max(self.values)

    def ratios(self, other: Series) -> tuple[float, ...]:
        """This series over another, round by round: what disturbed a round disturbed both.

        Raises:
            ValueError: the two were not measured in the same rounds.
        """
        return tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True))


def take_turns(actions: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, Series]:
    """Measure several things in turns: each once per round, always in the same order.

    Args:
        actions: name to what is measured; each call returns seconds.
        rounds: how often each is called.
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(action())
    return {name: Series(unit=SECONDS, values=tuple(values)) for name, values in taken.items()}
