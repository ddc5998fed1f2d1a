"""Reads what ``lab run --json`` has written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.errors import InputError
from lab.parity.changes import Replayed
from lab.scenario.report.json_report import API_VERSION, KIND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_report(file: Path) -> dict[str, Any]:
    """A report of ``lab run --json``, whatever its outcome.

    Raises:
        InputError: ``no-report``.
    """
    hint = "make one: lab run --all --json FILE"
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("no-report", f"{file} cannot be read: {error}", hint=hint) from error
    if not isinstance(report, dict) or (report.get("apiVersion"), report.get("kind")) != (API_VERSION, KIND):
        raise InputError("no-report", f"{file} is no {KIND} of {API_VERSION}", hint=hint)
    return report


def replayed(scenario: Mapping[str, Any]) -> Replayed:
    """What a scenario of a report got: all checks of all phases, each under the names of phase and check."""
    return Replayed(
        outcomes={"scenario": scenario["outcome"]} | {phase["name"]: phase["outcome"] for phase in scenario["phases"]},
        verdicts={check_name(phase, check): _facts(check) for phase in scenario["phases"] for check in phase["checks"]},
    )


def check_name(phase: Mapping[str, Any], check: Mapping[str, Any]) -> str:
    """A check's name among those of all phases."""
    return f"{phase['name']}: {check['id']}"


def _facts(check: Mapping[str, Any]) -> dict[str, Any]:
    """What a check found. How long it took and how often it was tried says nothing about what is so."""
    facts: dict[str, Any] = {"outcome": check["outcome"]}
    if check["feedback"] is not None:
        facts["feedback"] = check["feedback"]["id"]
    probe = check["probe"]
    if probe is None:
        # Not how it was: a Pod that does not run is seen in whatever state it is in at that moment.
        return facts | {"mismatches": [mismatch["what"] for mismatch in check["mismatches"]]}
    return {**facts, "request": probe["request"], "expected": probe["expected"], **_verdict(probe)}


def _verdict(probe: Mapping[str, Any]) -> dict[str, Any]:
    """What a probe got. Of the further evidence only what it was to bring: the rest depends on the backend."""
    expected, observed = probe["expected"], probe["observed"]
    if observed is None:
        return {}
    lists = ["failedOpen", *(fact for fact in ("asked", "reviewedImages") if expected[fact] is not None)]
    return {
        "verdict": observed["verdict"],
        "deciders": ", ".join(observed["deciders"]),
        "message": observed["message"],
        "reason": observed["reason"],
        "httpStatus": observed["httpStatus"],
        **{fact: ", ".join(observed[fact] or ()) for fact in lists},
        "stored": probe.get("stored"),  # reports of before it was kept have none
    }
