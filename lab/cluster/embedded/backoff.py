"""When a container that ended, or an image that could not be pulled, may be tried again: the kubelet's own rule.

The figures and the rule are those of Kubernetes 1.37 (``pkg/kubelet/kubelet.go``: ``initialCrashLoopBackOff``,
``MaxCrashLoopBackOff``, ``imageBackOffPeriod``, ``MaxImageBackOff``; ``client-go/util/flowcontrol/backoff.go``):

- The first restart is immediate. It opens a window of 10 s, counted from the moment the container *ended*; each further
  restart doubles the window, up to 5 minutes.
- A container that ends more than 10 minutes after its last restart starts again at the first window.
- The gate ``KubeletCrashLoopBackOffMax`` (beta, on since 1.35) only lets a node's configuration lower the maximum; its
  default stays 5 minutes. ``ReduceDefaultCrashLoopBackOffDecay`` (1 s up to 60 s) is alpha and off. So the defaults
  here are the classic figures.

A lab's node is configured with a shorter maximum, whatever it runs on, and an embedded one has a shorter one still for
static pods, so that a mended manifest is not waited for; the rule stays the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """The figures of a back-off.

    Attributes:
        initial_s: the first window, in seconds.
        maximum_s: the longest window.
        forget_after_s: after so long without a retry the next failure counts as the first.
    """

    initial_s: float
    maximum_s: float
    forget_after_s: float


CONTAINER_RESTARTS = BackoffPolicy(initial_s=10.0, maximum_s=300.0, forget_after_s=600.0)
"""The kubelet's figures for containers that end."""

CONTAINER_RESTART_MAX_S = 3
"""``maxContainerRestartPeriod`` of a lab's node, in seconds: nobody learns from a longer wait, and Gatekeeper, which
ends twice before it has its certificates, is there sooner."""

IMAGE_PULLS = BackoffPolicy(initial_s=10.0, maximum_s=300.0, forget_after_s=600.0)
"""The kubelet's figures for image pulls; it forgets after twice the maximum."""


@dataclass(slots=True)
class _Entry:
    window_s: float
    advanced_at: float


class Backoff:
    """The windows of many things, each under a key of its own.

    Args:
        policy: the figures.
        clock: seconds that only grow; every time given to this class comes from the same clock.
    """

    def __init__(
        self, policy: BackoffPolicy = CONTAINER_RESTARTS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def window_s(self, key: str) -> float:
        """The present window of a key; 0 before its first failure."""
        entry = self._entries.get(key)
        return entry.window_s if entry else 0.0

    def remaining_s(self, key: str, *, since: float) -> float:
        """How long a key must still wait; 0 when it may be tried now.

        Args:
            key: what is retried.
            since: when it failed (for a container: when it ended).
        """
        entry = self._entries.get(key)
        if entry is None or self._forgotten(entry, since):
            return 0.0
        return max(0.0, since + entry.window_s - self._clock())

    def remaining_since_advance_s(self, key: str) -> float:
        """As `remaining_s`, counted from the last `advance`: the rule for image pulls."""
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        return max(0.0, entry.advanced_at + entry.window_s - self._clock())

    def advance(self, key: str, *, since: float) -> None:
        """Open the next window: called as a container is restarted, or as an image pull has failed.

        Args:
            key: what is retried.
            since: when it failed.
        """
        entry = self._entries.get(key)
        fresh = entry is None or self._forgotten(entry, since)
        window_s = self._policy.initial_s if entry is None or fresh else entry.window_s * 2
        self._entries[key] = _Entry(min(window_s, self._policy.maximum_s), self._clock())

    def reset(self, key: str) -> None:
        """Forget a key, as the kubelet does when the container's definition changes; an unknown key is no error."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget every key."""
        self._entries.clear()

    def _forgotten(self, entry: _Entry, since: float) -> bool:
        return since - entry.advanced_at > self._policy.forget_after_s


def go_duration(seconds: float) -> str:
    """A duration as Go prints it in the kubelet's messages: ``10s``, ``1m20s``, ``5m0s``; whole seconds."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{secs}s"
    return f"{minutes}m{secs}s" if minutes else f"{secs}s"
