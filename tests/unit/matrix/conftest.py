"""A matrix as `lab matrix --json` recorded it, made into values again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.matrix.model import Cell, Consequence, Finding, Matrix, Operation, Place, Row, Workload, rows_of
from lab.matrix.points import POINTS
from lab.matrix.requests import request_text
from lab.scenario.result import Observed, Verdict

RECORDED = Path(__file__).parent / "testdata" / "matrix.json"


def observed_in(data: dict[str, Any]) -> Observed:
    return Observed(
        verdict=Verdict(data["verdict"]),
        deciders=frozenset(data["deciders"]),
        message=data["message"],
        reason="",
        http_status=data.get("httpStatus", 0),
        asked=frozenset(data["asked"]),
        reviewed_images=None if data["reviewedImages"] is None else tuple(data["reviewedImages"]),
        failed_open=None if data["failedOpen"] is None else tuple(data["failedOpen"]),
        proof=tuple(data["proof"]),
    )


def cell_in(data: dict[str, Any]) -> Cell:
    then = data["consequence"]
    return Cell(
        row=Row(
            workload=Workload(data["workload"]), operation=Operation(data["operation"]), place=Place(data["place"])
        ),
        point=data["point"],
        finding=Finding(data["finding"]),
        request=data["request"],
        observed=observed_in(data["answer"]),
        consequence=None if then is None else Consequence(about=then["about"], observed=observed_in(then)),
        problem=data["problem"] or "",
    )


@pytest.fixture(scope="session")
def recorded_text() -> str:
    """``lab matrix --workers 1 --kind Pod --kind Deployment`` at the points none, image-policy and webhook-pods."""
    return RECORDED.read_text()


@pytest.fixture(scope="session")
def recorded(recorded_text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(recorded_text)
    return document


@pytest.fixture
def matrix(recorded: dict[str, Any]) -> Matrix:
    keys = [point["name"] for point in recorded["points"]]
    cells = tuple(cell_in(cell) for cell in recorded["cells"])
    rows = rows_of({cell.row.workload: None for cell in cells})
    return Matrix(
        columns=tuple(point.column for point in POINTS if point.column.key in keys),
        rows=rows,
        cells=cells,
        requests={row.key: request_text(row) for row in rows},
        kubernetes=recorded["kubernetes"],
        backend=recorded["backend"],
        measured=recorded["measured"],
        took_s=recorded["durationSeconds"],
    )


@pytest.fixture
def doubtful(matrix: Matrix) -> Matrix:
    """The same with a first cell that is not known."""
    first, *others = matrix.cells
    problem = "it came in because <validation.gatekeeper.sh> failed open"
    return replace(matrix, cells=(replace(first, finding=Finding.UNKNOWN, problem=problem), *others))
