"""Measuring a row: the verdict of the request, what its controller made of it, and what could not be measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.errors import InputError, LabError
from lab.matrix import measure as measuring
from lab.matrix.model import Consequence, Finding, Operation, Place, Row, Workload
from lab.scenario.result import Observed, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.scenario.schema.verbs import Probe
    from lab.scenario.sighting import Context

POD = Row(workload=Workload.POD, operation=Operation.CREATE, place=Place.CONTAINER)
DEPLOYMENT = Row(workload=Workload.DEPLOYMENT, operation=Operation.CREATE, place=Place.CONTAINER)


def observed(decider: str = "nobody") -> Observed:
    allowed = decider == "nobody"
    return Observed(
        verdict=Verdict.ALLOWED if allowed else Verdict.DENIED,
        deciders=frozenset({decider}),
        message="" if allowed else "no",
        reason="",
        http_status=201 if allowed else 403,
        failed_open=() if allowed else None,
    )


@pytest.fixture
def context() -> Context:
    return cast("Context", SimpleNamespace(scenario=SimpleNamespace(name="image-policy")))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Has requests and controllers answer; gives the namespaces in which controllers were looked at."""

    def set_answer(of_request: Observed | LabError, of_controller: Observed | LabError | None = None) -> list[str]:
        looked: list[str] = []

        def measure(_spec: Probe, _context: Any, *, then: Callable[[str, Observed], None]) -> Observed:
            if isinstance(of_request, LabError):
                raise of_request
            then("n", of_request)
            return of_request

        def consequence(_row: Row, _context: Any, *, namespace: str) -> Consequence:
            looked.append(namespace)
            if isinstance(of_controller, LabError):
                raise of_controller
            assert of_controller is not None
            return Consequence(about="Pod app-1", observed=of_controller)

        monkeypatch.setattr("lab.scenario.verbs.probe.measure", measure)
        monkeypatch.setattr(measuring, "consequence_of", consequence)
        return looked

    return set_answer


def test_a_pod_has_no_controller_to_be_looked_at(context: Context, answer: Callable[..., list[str]]) -> None:
    looked = answer(observed())
    cell = measuring.measure_cell(POD, context)
    assert (cell.point, cell.finding, cell.consequence) == ("image-policy", Finding.CAME_IN, None)
    assert looked == []


def test_the_pods_of_an_object_that_was_let_in_are_looked_at(
    context: Context, answer: Callable[..., list[str]]
) -> None:
    looked = answer(observed(), observed("image-policy-backend"))
    cell = measuring.measure_cell(DEPLOYMENT, context)
    assert cell.finding is Finding.PODS_DENIED
    assert cell.deciders == {"image-policy-backend"}
    assert looked == ["n"]


def test_an_object_that_was_denied_has_no_pods_to_be_looked_at(
    context: Context, answer: Callable[..., list[str]]
) -> None:
    looked = answer(observed("gatekeeper:x"))
    assert measuring.measure_cell(DEPLOYMENT, context).finding is Finding.DENIED
    assert looked == []


ERROR = LabError("wait-timeout", "waited 30 s for a Pod", hint="see the logs")


@pytest.mark.parametrize("answers", [(ERROR, None), (observed(), ERROR)])
def test_what_could_not_be_measured_is_a_cell_that_says_why(
    context: Context, answer: Callable[..., list[str]], answers: tuple[Any, Any]
) -> None:
    answer(*answers)
    cell = measuring.measure_cell(DEPLOYMENT, context)
    assert (cell.finding, cell.problem) == (Finding.UNKNOWN, "waited 30 s for a Pod")
    assert cell.deciders == frozenset()


def test_a_backend_that_cannot_put_back_holds_one_decision_point_only() -> None:
    class Plain:
        backend = "existing"

    cluster = cast("Any", Plain())
    measuring.check_can_measure(cluster, points=1)
    with pytest.raises(InputError) as error:
        measuring.check_can_measure(cluster, points=2)
    assert error.value.code == "matrix-needs-reset"
