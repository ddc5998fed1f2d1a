"""What is remembered of a lab, and what is said when it cannot be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.practice.record import PAST_MAX, Attempt, Record, RecordFile

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ATTEMPT = Attempt(
    scenario="demo",
    directory="/scenarios/topic/demo",
    captures={"digest": "sha256:1"},
    started_at=START,
    possible=10,
    hints=2,
    checks={"a": "pass", "b": "fail"},
    points=6,
    checked_at=START + timedelta(minutes=5),
)


@pytest.fixture
def file(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "practice" / "lab.json")


def test_a_lab_without_a_record_has_an_empty_one(file: RecordFile) -> None:
    assert file.load() == Record()
    assert not file.path.parent.exists()


def test_a_record_is_read_as_it_was_written(file: RecordFile) -> None:
    record = Record(current=ATTEMPT, past=(replace(ATTEMPT, solved_at=START, solution_shown_at=START),))
    file.save(record)

    assert file.load() == record
    assert [path.name for path in file.path.parent.iterdir()] == ["lab.json"]


def test_an_attempt_that_has_ended_is_remembered_without_what_only_its_lab_knew(file: RecordFile) -> None:
    file.save(Record(current=ATTEMPT))

    assert file.end_attempt() == ATTEMPT
    assert file.load() == Record(past=(replace(ATTEMPT, captures={}),))
    assert file.end_attempt() is None


def test_the_oldest_attempts_are_forgotten_first() -> None:
    past = tuple(replace(ATTEMPT, hints=number) for number in range(PAST_MAX))
    ended = Record(current=ATTEMPT, past=past).ended()

    assert len(ended.past) == PAST_MAX
    assert ended.past[0].hints == 1


def test_the_best_attempt_has_the_most_points_and_then_the_shortest_time() -> None:
    slow = replace(ATTEMPT, points=10, checked_at=START + timedelta(minutes=9))
    fast = replace(ATTEMPT, points=10, checked_at=START + timedelta(minutes=4))
    other = replace(ATTEMPT, scenario="other", points=99)
    ungraded = replace(ATTEMPT, points=0, checked_at=None)
    record = Record(past=(ATTEMPT, slow, fast, other, ungraded))

    assert record.best("demo") == fast
    assert record.best("nothing") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"version": 2, "current": null, "past": []}', "it is of version 2, and this lab reads version 1"),
        ('{"version": 1, "past": []}', "KeyError: 'current'"),
        ('{"version": 1, "current": {"scenario": "demo"}, "past": []}', "KeyError"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_with_its_file(file: RecordFile, text: str, why: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(text)
    with pytest.raises(LabError, match=why) as caught:
        file.load()

    assert str(file.path) in caught.value.hint
