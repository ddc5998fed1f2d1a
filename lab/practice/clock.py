"""Times of an attempt as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE_S = 60
_HOUR_S = 3600


def now() -> datetime:
    """The time of day, in UTC and in whole seconds, as records keep it."""
    return datetime.now(UTC).replace(microsecond=0)


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``8 min``, ``1 h 5 min``."""
    whole = round(max(seconds, 0.0))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        minutes, rest = divmod(whole, _MINUTE_S)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole, _HOUR_S)
    minutes = rest // _MINUTE_S
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def time_used(used_s: float, *, allowed_minutes: int) -> str:
    """How much of the time for a task is used: ``3 min 20 s of 8 min``, or by how much it is over."""
    allowed_s = allowed_minutes * _MINUTE_S
    over = f", {duration(used_s - allowed_s)} over" if used_s > allowed_s else ""
    return f"{duration(used_s)} of {duration(allowed_s)}{over}"
