from __future__ import annotations

import pytest

from lab.components.progress import Ticker, duration


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (725, "12 min 05 s")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_step_that_goes_on_speaks_once_per_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("lab.components.progress.time.monotonic", lambda: now)
    heard: list[str] = []
    ticker = Ticker(heard.append, "etcd", interval_s=12)

    ticker.say("building")
    for second in range(1, 31):
        now = 100.0 + second
        ticker.tick("compiling")

    assert heard == ["etcd: building", "etcd: compiling, 12 s so far", "etcd: compiling, 24 s so far"]
