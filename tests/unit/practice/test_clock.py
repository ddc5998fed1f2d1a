from __future__ import annotations

import pytest

from lab.practice.clock import duration, time_used


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (45.4, "45 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (3900, "1 h 5 min")],
)
def test_a_duration_is_told_in_the_units_that_a_person_uses(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("used_s", "text"), [(200, "3 min 20 s of 8 min"), (480, "8 min of 8 min"), (490, "8 min 10 s of 8 min, 10 s over")]
)
def test_time_that_is_over_is_told(used_s: float, text: str) -> None:
    assert time_used(used_s, allowed_minutes=8) == text
