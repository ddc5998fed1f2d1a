"""Reads what ``lab run --json`` has written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.errors import InputError
from lab.scenario.report.json_report import API_VERSION, KIND

if TYPE_CHECKING:
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
