"""The matrix for programs, in a versioned form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.matrix import wording
from lab.matrix.model import UNTRUSTED_IMAGE

if TYPE_CHECKING:
    from lab.matrix.model import Cell, Consequence, Matrix
    from lab.scenario.result import Observed

API_VERSION = "lab.supply-chain/v1alpha1"
KIND = "VerdictMatrix"


def json_matrix(matrix: Matrix) -> str:
    """The matrix as JSON."""
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "kubernetes": matrix.kubernetes,
        "backend": matrix.backend,
        "measured": matrix.measured,
        "durationSeconds": round(matrix.took_s, 3),
        "image": UNTRUSTED_IMAGE,
        "points": [
            {
                "name": column.key,
                "title": column.title,
                "about": column.about,
                "findings": {finding.value: count for finding, count in wording.counts(matrix.of(column)).items()},
            }
            for column in matrix.columns
        ],
        "cells": [_cell(cell) for cell in matrix.cells],
    }
    return json.dumps(document, indent=2) + "\n"


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "point": cell.point,
        "workload": cell.row.workload.value,
        "operation": cell.row.operation.value,
        "place": cell.row.place.value,
        "finding": cell.finding.value,
        "deciders": sorted(cell.deciders),
        "message": cell.message,
        "problem": cell.problem or None,
        "request": cell.request,
        "answer": None
        if cell.observed is None
        else _observed(cell.observed) | {"httpStatus": cell.observed.http_status},
        "consequence": None if cell.consequence is None else _consequence(cell.consequence),
    }


def _answer(observed: Observed) -> dict[str, Any]:
    return {"httpStatus": observed.http_status, **_observed(observed)}


def _consequence(consequence: Consequence) -> dict[str, Any]:
    return {"about": consequence.about, **_observed(consequence.observed)}


def _observed(observed: Observed) -> dict[str, Any]:
    return {
        "verdict": observed.verdict.value,
        "deciders": sorted(observed.deciders),
        "message": observed.message,
        "asked": sorted(observed.asked),
        "reviewedImages": None if observed.reviewed_images is None else list(observed.reviewed_images),
        "failedOpen": None if observed.failed_open is None else list(observed.failed_open),
        "proof": list(observed.proof),
    }
