"""The JSON report: everything a result says, in a versioned form for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.scenario.result import Outcome, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.scenario.result import CheckResult, Expected, Observed, PhaseResult, ProbeResult, ScenarioResult

API_VERSION = "lab.supply-chain/v1alpha1"
KIND = "ScenarioReport"


def json_report(results: Sequence[ScenarioResult], *, seed: int | None = None) -> str:
    """The report of a run.

    Args:
        results: in the order in which they ran.
        seed: of their order; None when it was not random.
    """
    counts = {outcome.value: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    report = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "exitCode": exit_code(results),
        "shuffleSeed": seed,
        "summary": counts,
        "scenarios": [_scenario(result) for result in results],
    }
    return json.dumps(report, indent=2, default=str) + "\n"


def _scenario(result: ScenarioResult) -> dict[str, Any]:
    earned, possible = result.points
    return {
        "name": result.name,
        "topic": result.topic,
        "title": result.title,
        "backend": result.backend,
        "outcome": result.outcome.value,
        "skipped": result.skipped or None,
        "points": {"earned": earned, "possible": possible},
        "bundle": None if result.bundle is None else str(result.bundle),
        "durationSeconds": _seconds(result.duration_s),
        "waitedSeconds": _seconds(result.waited_s),
        "phases": [phase_as_json(phase) for phase in result.phases],
    }


def phase_as_json(phase: PhaseResult) -> dict[str, Any]:
    """One phase."""
    return {
        "kind": phase.kind.value,
        "name": phase.name,
        "outcome": phase.outcome.value,
        "problem": phase.problem or None,
        "setupSeconds": _seconds(phase.setup_s),
        "durationSeconds": _seconds(phase.duration_s),
        "waitedSeconds": _seconds(phase.waited_s),
        "checks": [_check(check) for check in phase.checks],
    }


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "id": check.id,
        "title": check.title,
        "verb": check.verb,
        "outcome": check.outcome.value,
        "points": check.points,
        "mismatches": [{"what": m.what, "expected": m.expected, "actual": m.actual} for m in check.mismatches],
        "problem": check.problem or None,
        "feedback": None if check.feedback is None else {"id": check.feedback.id, "text": check.feedback.text},
        "probe": None if check.probe is None else _probe(check.probe),
        "attempts": check.attempts,
        "durationSeconds": _seconds(check.duration_s),
        "waitedSeconds": _seconds(check.waited_s),
    }


def _probe(probe: ProbeResult) -> dict[str, Any]:
    return {
        "request": probe.request,
        "expected": _expected(probe.expected),
        "observed": None if probe.observed is None else _observed(probe.observed),
        "stored": probe.stored,
    }


def _expected(expected: Expected) -> dict[str, Any]:
    return {
        "verdict": expected.verdict.value,
        "deciders": sorted(expected.deciders),
        "message": expected.message,
        "messagePattern": expected.message_pattern,
        "asked": None if expected.asked is None else sorted(expected.asked),
        "reviewedImages": None if expected.reviewed_images is None else sorted(expected.reviewed_images),
        "failedOpen": expected.failed_open,
    }


def _observed(observed: Observed) -> dict[str, Any]:
    return {
        "verdict": observed.verdict.value,
        "deciders": sorted(observed.deciders),
        "message": observed.message,
        "reason": observed.reason,
        "httpStatus": observed.http_status,
        "asked": sorted(observed.asked),
        "notAsked": sorted(observed.not_asked),
        "reviewedImages": None if observed.reviewed_images is None else list(observed.reviewed_images),
        "failedOpen": None if observed.failed_open is None else list(observed.failed_open),
        "proof": list(observed.proof),
    }


def _seconds(duration_s: float) -> float:
    return round(duration_s, 3)
