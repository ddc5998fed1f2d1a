"""What a person hears while a component is obtained: one line at each step, and one every few seconds within a step.

A cold build takes minutes; a program that says nothing for that long looks dead. Lines are plain text for a callback,
so that a terminal, a CI log and a test each show them their own way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 12.0
"""How long a step stays silent before it speaks again, in seconds."""


def duration(seconds: float) -> str:
    """A length of time for a person: ``8 s``, ``2 min 05 s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Ticker:
    """Speaks for one subject and knows how long it has been at work.

    Args:
        progress: where the lines go; None for nowhere.
        subject: the components, for example ``kubeadm, kubectl``.
        interval_s: the least time between two lines of `tick`, in seconds.
    """

    def __init__(self, progress: Callable[[str], None] | None, subject: str, *, interval_s: float = TICK_S) -> None:
        self._progress = progress
        self._subject = subject
        self._interval_s = interval_s
        self._started_s = time.monotonic()
        self._spoke_s = self._started_s

    @property
    def elapsed(self) -> str:
        """Time since the subject's work began."""
        return duration(time.monotonic() - self._started_s)

    def say(self, text: str) -> None:
        """Report a step that begins or ends."""
        self._spoke_s = time.monotonic()
        if self._progress is not None:
            self._progress(f"{self._subject}: {text}")

    def tick(self, text: str) -> None:
        """Report that a step goes on, unless something was said within the interval."""
        if time.monotonic() - self._spoke_s >= self._interval_s:
            self.say(f"{text}, {self.elapsed} so far")
