from __future__ import annotations

import pytest

from lab.cluster.embedded.backoff import CONTAINER_RESTARTS, IMAGE_PULLS, Backoff, BackoffPolicy, go_duration


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def crash_and_restart(backoff: Backoff, clock: Clock, *, runs_for_s: float = 1.0) -> float:
    """One run that ends, the wait that follows, the restart; how long the wait was."""
    clock.now += runs_for_s
    ended = clock.now
    waited = backoff.remaining_s("c", since=ended)
    clock.now += waited
    backoff.advance("c", since=ended)
    return waited


def test_first_restart_is_immediate_then_the_waits_double_up_to_five_minutes() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    waits = [crash_and_restart(backoff, clock) for _ in range(9)]
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_the_window_counts_from_the_end_of_the_run_not_from_its_start() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    crash_and_restart(backoff, clock)
    clock.now += 60  # runs for a minute, ends
    assert backoff.remaining_s("c", since=clock.now) == 10
    assert backoff.remaining_s("c", since=clock.now - 4) == 6


def test_ten_minutes_without_a_crash_begin_anew() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    for _ in range(5):
        crash_and_restart(backoff, clock)
    assert crash_and_restart(backoff, clock, runs_for_s=599) == 160
    assert crash_and_restart(backoff, clock, runs_for_s=601) == 0
    assert backoff.window_s("c") == 10


def test_keys_do_not_share_a_window_and_reset_forgets_one() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock)
    backoff.advance("a", since=clock.now)
    backoff.advance("b", since=clock.now)
    backoff.reset("a")
    assert backoff.window_s("a") == 0
    assert backoff.remaining_s("b", since=clock.now) == 10
    backoff.reset("never seen")


def test_image_pulls_wait_from_the_failed_attempt() -> None:
    clock = Clock()
    backoff = Backoff(IMAGE_PULLS, clock=clock)
    assert backoff.remaining_since_advance_s("img") == 0
    backoff.advance("img", since=clock.now)
    clock.now += 4
    assert backoff.remaining_since_advance_s("img") == 6
    clock.now += 6
    assert backoff.remaining_since_advance_s("img") == 0
    backoff.advance("img", since=clock.now)
    assert backoff.window_s("img") == 20


def test_a_shorter_maximum_also_caps_the_first_window() -> None:
    clock = Clock()
    backoff = Backoff(BackoffPolicy(initial_s=10, maximum_s=2, forget_after_s=600), clock=clock)
    assert [crash_and_restart(backoff, clock) for _ in range(3)] == [0, 2, 2]


def test_the_defaults_are_the_kubelets() -> None:
    assert (CONTAINER_RESTARTS.initial_s, CONTAINER_RESTARTS.maximum_s) == (10, 300)
    assert (IMAGE_PULLS.initial_s, IMAGE_PULLS.maximum_s) == (10, 300)


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (40, "40s"), (80, "1m20s"), (300, "5m0s"), (3600, "1h0m0s"), (0, "0s")]
)
def test_durations_read_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
