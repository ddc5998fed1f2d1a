"""The grade for programs, in a versioned form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.practice.grading import Grade, GradedCheck
    from lab.practice.record import Attempt

API_VERSION = "lab.supply-chain/v1alpha1"
KIND = "PracticeGrade"


def json_report(grade: Grade, attempt: Attempt, *, used_s: float, allowed_minutes: int) -> str:
    """The grade of an attempt.

    Args:
        grade: the grade.
        attempt: the attempt, as of this grading.
        used_s: time used, in seconds.
        allowed_minutes: time that a person should need.
    """
    report = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "scenario": grade.scenario,
        "title": grade.title,
        "exitCode": grade.exit_code,
        "points": {"earned": grade.points, "possible": grade.possible},
        "startedAt": attempt.started_at.isoformat(),
        "solvedAt": None if attempt.solved_at is None else attempt.solved_at.isoformat(),
        "usedSeconds": round(used_s),
        "timeMinutes": allowed_minutes,
        "hintsTaken": attempt.hints,
        "solutionShown": attempt.solution_shown_at is not None,
        "notes": list(grade.notes),
        "checks": [_check(check) for check in grade.checks],
    }
    return json.dumps(report, indent=2)


def _check(check: GradedCheck) -> dict[str, Any]:
    return {
        "id": check.id,
        "title": check.title,
        "outcome": check.outcome.value,
        "points": {"earned": check.earned, "possible": check.points},
        "request": check.request or None,
        "expected": check.expected or None,
        "seen": list(check.seen),
        "feedback": check.feedback or None,
        "mistakes": list(check.mistakes),
    }
