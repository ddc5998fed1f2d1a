"""What a measured verdict means for the image, and that no doubt is taken for a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lab.matrix.model import Consequence, Finding, Operation, Place, Workload, finding_of, rows_of
from lab.scenario.result import Observed, Verdict

if TYPE_CHECKING:
    from lab.matrix.model import Matrix

ALLOWED = Observed(
    verdict=Verdict.ALLOWED, deciders=frozenset({"nobody"}), message="", reason="", http_status=201, failed_open=()
)


def denied(decider: str | None, *, verdict: Verdict = Verdict.DENIED) -> Observed:
    names = frozenset() if decider is None else frozenset({decider})
    return Observed(verdict=verdict, deciders=names, message="no", reason="Forbidden", http_status=403)


def then(observed: Observed) -> Consequence:
    return Consequence(about="Pod app-1", observed=observed)


def test_every_recorded_cell_is_what_its_verdict_means(matrix: Matrix) -> None:
    assert len(matrix.cells) == len(matrix.rows) * len(matrix.columns)
    for cell in matrix.cells:
        assert cell.observed is not None
        assert finding_of(cell.observed, cell.consequence) == (cell.finding, cell.problem)


def test_the_recorded_findings_hold_every_kind_but_the_unknown(matrix: Matrix) -> None:
    assert {cell.finding for cell in matrix.cells} == set(Finding) - {Finding.UNKNOWN}


@pytest.mark.parametrize(
    ("observed", "consequence", "finding"),
    [
        (ALLOWED, None, Finding.CAME_IN),
        (ALLOWED, then(ALLOWED), Finding.CAME_IN),
        (ALLOWED, then(denied("gatekeeper:x")), Finding.PODS_DENIED),
        (denied("gatekeeper:x"), None, Finding.DENIED),
        (denied("schema"), None, Finding.NOT_APPLICABLE),
    ],
)
def test_a_proved_verdict_is_a_finding(observed: Observed, consequence: Consequence | None, finding: Finding) -> None:
    assert finding_of(observed, consequence) == (finding, "")


@pytest.mark.parametrize(
    ("observed", "consequence", "why"),
    [
        (denied(None), None, "not proved who decided"),
        (denied("image-policy-failed-closed"), None, "could not be asked"),
        (denied("webhook-failed-closed:w"), None, "could not be asked"),
        (denied("api-server", verdict=Verdict.ERROR), None, "nobody decided"),
        (ALLOWED, then(denied(None)), "not proved who decided"),
        (ALLOWED, then(denied("webhook-failed-closed:w")), "could not be asked"),
        (replace(ALLOWED, failed_open=("w",)), None, "w failed open"),
        (replace(ALLOWED, failed_open=None), None, "not proved that nothing failed open"),
        (ALLOWED, then(replace(ALLOWED, failed_open=("w",))), "w failed open"),
        (ALLOWED, then(replace(ALLOWED, failed_open=None)), "not proved that nothing failed open"),
        (replace(ALLOWED, failed_open=("w",)), then(ALLOWED), "w failed open"),
    ],
)
def test_a_doubt_is_never_a_verdict(observed: Observed, consequence: Consequence | None, why: str) -> None:
    finding, problem = finding_of(observed, consequence)
    assert finding is Finding.UNKNOWN
    assert why in problem


def test_every_place_is_tried_by_creation_and_update_of_every_workload() -> None:
    rows = rows_of()
    assert len(rows) == len({row.key for row in rows}) == 4 * 4 * 2 + 1
    debug = [row for row in rows if row.operation is Operation.DEBUG]
    assert [(row.workload, row.place) for row in debug] == [(Workload.POD, Place.EPHEMERAL_CONTAINER)]
    assert {row.workload for row in rows_of([Workload.JOB])} == {Workload.JOB}


def test_the_pod_settles_what_became_of_an_object_that_was_let_in(matrix: Matrix) -> None:
    cell = next(cell for cell in matrix.cells if cell.finding is Finding.PODS_DENIED)
    assert cell.observed is not None
    assert cell.observed.deciders == {"nobody"}
    assert "nobody" not in cell.deciders
    assert "is forbidden" in cell.message or "denied the request" in cell.message
