"""A lab in which the demonstration scenario can be practised: its API server denies what the bouncer would."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lab.practice.record import RecordFile
from lab.practice.session import Practice
from tests.unit.scenario.conftest import FakeSnapshotCluster, api, directory, scenario, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.cluster.protocol import ClusterStatus, StartState
    from tests.unit.scenario.conftest import FakeApiServer

__all__ = ["api", "directory", "scenario", "write"]

BEGINNING = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@dataclass
class FakeLab(FakeSnapshotCluster):
    """One that comes up and goes down."""

    phase: str = "running"

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        super().up(state, progress=progress)
        self.phase = "running"

    def down(self) -> None:
        super().down()
        self.phase = "stopped"

    def status(self) -> ClusterStatus:
        return replace(super().status(), phase=self.phase)


@dataclass
class TimeOfDay:
    """The time of day, moved by the test."""

    time: datetime = BEGINNING

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, **by: int) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def cluster(api: FakeApiServer, tmp_path: Path) -> FakeLab:
    return FakeLab(api=api, home=tmp_path)


@pytest.fixture
def records(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "state" / "practice" / "lab.json")


@pytest.fixture
def now() -> TimeOfDay:
    return TimeOfDay()


@pytest.fixture
def practice(cluster: FakeLab, records: RecordFile, now: TimeOfDay) -> Practice:
    return Practice(cluster, records=records, now=now, transport=cluster.api)
