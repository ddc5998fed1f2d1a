"""What is remembered of the practice in a lab: one JSON file for each lab, beside the labs and not inside them.

So it outlives `lab reset` and `lab down`. What an attempt needs of its lab (the captured values) is worthless once that
lab is gone: then the attempt is over, and only how it went is kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.paths import LabPaths

VERSION = 1
PAST_MAX = 200
"""Attempts that are remembered; the oldest are forgotten first."""

_TIMES = ("started_at", "checked_at", "solved_at", "solution_shown_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A scenario that a person was put into.

    Attributes:
        scenario: its name.
        directory: where it lies.
        captures: values recorded in the start state.
        started_at: when the start state stood and the task was shown.
        hints: how many hints were taken.
        checks: id of each check to its outcome at the best grading so far; empty before the first.
        points: earned then; what a reset undoes is not forgotten.
        possible: points that there are.
        checked_at: when it was graded last; None before the first time.
        solved_at: when it was first graded with all points; None before.
        solution_shown_at: when the solution was asked for; None if never.
    """

    scenario: str
    directory: str
    captures: Mapping[str, str]
    started_at: datetime
    possible: int
    hints: int = 0
    checks: Mapping[str, str] = field(default_factory=dict)
    points: int = 0
    checked_at: datetime | None = None
    solved_at: datetime | None = None
    solution_shown_at: datetime | None = None

    def used_s(self, now: datetime) -> float:
        """Time used, in seconds: until it was solved, or until now."""
        return max(((self.solved_at or now) - self.started_at).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The practice in one lab.

    Attributes:
        current: the attempt under way; None when there is none.
        past: those before, the oldest first.
    """

    current: Attempt | None = None
    past: tuple[Attempt, ...] = ()

    def ended(self) -> Record:
        """The same with nothing under way."""
        if self.current is None:
            return self
        over = replace(self.current, captures={})
        return Record(past=(*self.past, over)[-PAST_MAX:])

    def best(self, scenario: str) -> Attempt | None:
        """The best of the past attempts at a scenario: the most points, then the shortest time; None without one."""
        graded = [past for past in self.past if past.scenario == scenario and past.checked_at is not None]
        return max(
            graded, key=lambda past: (past.points, -past.used_s(past.checked_at or past.started_at)), default=None
        )


class RecordFile:
    """The record of one lab in its file.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, lab: str, paths: LabPaths) -> RecordFile:
        """The record of a lab."""
        return cls(paths.state / "practice" / f"{lab}.json")

    def load(self) -> Record:
        """The record; an empty one when there is none yet.

        Raises:
            LabError: ``practice-record-unreadable``.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise self._unreadable(str(error)) from error
        try:
            return _decode(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unreadable(f"{type(error).__name__}: {error}") from error

    def save(self, record: Record) -> None:
        """Write the record in one step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(_encode(record), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path)

    def end_attempt(self) -> Attempt | None:
        """Note that nothing is under way any more; the attempt that was, if any."""
        record = self.load()
        if record.current is not None:
            self.save(record.ended())
        return record.current

    def _unreadable(self, why: str) -> LabError:
        return LabError(
            "practice-record-unreadable",
            f"the record of the practice in this lab cannot be read: {why}",
            hint=f"remove {self.path}, and start the scenario again",
        )


def _encode(record: Record) -> dict[str, Any]:
    return {
        "version": VERSION,
        "current": None if record.current is None else _encode_attempt(record.current),
        "past": [_encode_attempt(attempt) for attempt in record.past],
    }


def _encode_attempt(attempt: Attempt) -> dict[str, Any]:
    document = asdict(attempt)
    for key in _TIMES:
        document[key] = None if document[key] is None else document[key].isoformat()
    return document


def _decode(document: Any) -> Record:
    version = document["version"]
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and this lab reads version {VERSION}")
    current = document["current"]
    return Record(
        current=None if current is None else _decode_attempt(current),
        past=tuple(_decode_attempt(attempt) for attempt in document["past"]),
    )


def _decode_attempt(document: dict[str, Any]) -> Attempt:
    times = {key: None if document[key] is None else datetime.fromisoformat(document[key]) for key in _TIMES}
    return Attempt(**{**document, **times})
