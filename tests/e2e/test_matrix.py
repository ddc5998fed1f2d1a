"""A part of the verdict matrix, measured: Pods, where nobody decides and where the bouncer does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from lab.matrix.measure import measure
from lab.matrix.model import Finding, Operation, Place, Row, Workload, rows_of
from lab.matrix.points import POINTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.cluster.protocol import Cluster
    from lab.matrix.model import Cell

CREATE, UPDATE, DEBUG = Operation
CONTAINER, INIT, EPHEMERAL, VOLUME = Place
REFUSED = {(CREATE, EPHEMERAL), (UPDATE, EPHEMERAL), (UPDATE, VOLUME)}
"""What the API allows in no Pod: `lab.matrix.model.Finding.NOT_APPLICABLE`."""


pytestmark = [pytest.mark.thorough, pytest.mark.lab_state("any"), pytest.mark.lab_changes]


def measured(name: str, cluster: Cluster, rows: Iterable[Row]) -> dict[tuple[Operation, Place], Cell]:
    point = next(point for point in POINTS if point.column.key == name)
    found = measure(point.scenario, tuple(rows), cluster, fresh=False, on_event=lambda _event: None, pause=time.sleep)
    return {(cell.row.operation, cell.row.place): cell for cell in found.cells}


def test_nobody_denies_a_pod_but_the_api_refuses_some_places(lab_cluster: Cluster) -> None:
    cells = measured("none", lab_cluster, rows_of([Workload.POD]))
    assert {key for key, cell in cells.items() if cell.finding is Finding.NOT_APPLICABLE} == REFUSED
    assert {cell.finding for key, cell in cells.items() if key not in REFUSED} == {Finding.CAME_IN}
    assert cells[CREATE, EPHEMERAL].message == (
        'Pod "app" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create'
    )


def test_the_bouncer_is_asked_about_every_container_of_a_pod_and_never_about_its_volumes(lab_cluster: Cluster) -> None:
    cells = measured("image-policy", lab_cluster, rows_of([Workload.POD]))
    came = {key: cell for key, cell in cells.items() if cell.finding is Finding.CAME_IN}
    denied = {key: cell for key, cell in cells.items() if cell.finding is Finding.DENIED}
    assert set(came) == {(CREATE, VOLUME)}
    assert set(denied) == {(CREATE, CONTAINER), (CREATE, INIT), (UPDATE, CONTAINER), (UPDATE, INIT), (DEBUG, EPHEMERAL)}
    assert {decider for cell in denied.values() for decider in cell.deciders} == {"image-policy-backend"}
    seen = came[CREATE, VOLUME].observed
    assert seen is not None
    assert seen.asked == {"bouncer"}
    assert seen.reviewed_images == ("docker.io/library/busybox:1.36", "docker.io/library/nginx:1.29")
    shown = denied[DEBUG, EPHEMERAL].observed
    assert shown is not None
    assert shown.reviewed_images == ("quay.io/team/app:1.0",)


def test_a_rule_on_pods_denies_the_pods_of_a_deployment_and_not_the_deployment(lab_cluster: Cluster) -> None:
    row = Row(workload=Workload.DEPLOYMENT, operation=CREATE, place=CONTAINER)
    cell = measured("webhook-pods", lab_cluster, [row])[CREATE, CONTAINER]
    assert cell.finding is Finding.PODS_DENIED, cell.problem
    assert cell.deciders == {"validating-webhook:images.supply-chain.lab"}
    assert cell.consequence is not None
    assert cell.consequence.about.startswith("FailedCreate of ReplicaSet app-")
