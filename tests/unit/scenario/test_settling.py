"""A cluster comes to rest before a check looks at it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lab.errors import LabError
from lab.scenario.settling import come_to_rest, wait_policies

if TYPE_CHECKING:
    from lab.scenario.sighting import Context
    from tests.unit.scenario.conftest import Clock, FakeApiServer, FakeSnapshotCluster

PODS = "/api/v1/pods"
TEMPLATES = "/apis/templates.gatekeeper.sh/v1/constrainttemplates"
CONSTRAINTS = "/apis/constraints.gatekeeper.sh/v1beta1/k8strusted"


def policy(*taken: tuple[str, int], generation: int = 2, kind: str = "K8sTrusted") -> dict[str, Any]:
    return {
        "metadata": {"name": "one", "generation": generation},
        "spec": {"crd": {"spec": {"names": {"kind": kind}}}},
        "status": {"byPod": [{"id": pod, "observedGeneration": seen} for pod, seen in taken]},
    }


@pytest.fixture
def gatekeeper(api: FakeApiServer) -> FakeApiServer:
    """Two Pods of Gatekeeper that have taken a template and a constraint."""
    api.objects = {
        PODS: [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}],
        TEMPLATES: [policy(("a", 2), ("b", 2))],
        CONSTRAINTS: [policy(("a", 2), ("b", 2))],
    }
    return api


def test_what_every_pod_has_taken_is_not_waited_for(gatekeeper: FakeApiServer, context: Context, clock: Clock) -> None:
    wait_policies(context, timeout_s=10.0)
    assert clock.now == 0
    assert any(request.path == CONSTRAINTS for request in gatekeeper.requests)


@pytest.mark.parametrize("path", [TEMPLATES, CONSTRAINTS])
@pytest.mark.parametrize("taken", [(), (("a", 2),), (("a", 2), ("b", 1))], ids=["none", "one of two", "an older one"])
def test_what_a_pod_has_not_taken_is_waited_for(
    gatekeeper: FakeApiServer, context: Context, clock: Clock, path: str, taken: tuple[tuple[str, int], ...]
) -> None:
    gatekeeper.objects[path] = [policy(*taken)]

    def pause(seconds: float) -> None:
        clock.pause(seconds)
        if clock.now > 3:
            gatekeeper.objects[path] = [policy(("a", 2), ("b", 2))]

    wait_policies(replace(context, pause=pause), timeout_s=10.0)
    assert 3 < clock.now < 4


def test_a_pod_that_never_takes_it_is_waited_for_a_while(
    gatekeeper: FakeApiServer, context: Context, clock: Clock
) -> None:
    gatekeeper.objects[CONSTRAINTS] = [policy(("a", 2))]
    wait_policies(context, timeout_s=10.0)
    assert 10 <= clock.now < 11


def test_a_cluster_without_gatekeeper_is_asked_once(api: FakeApiServer, context: Context, clock: Clock) -> None:
    wait_policies(context, timeout_s=10.0)
    assert clock.now == 0
    assert [request.path for request in api.requests] == [TEMPLATES]


def test_an_api_server_that_does_not_come_back_is_told(context: Context, cluster: FakeSnapshotCluster) -> None:
    def fail(*, timeout_s: float) -> None:
        raise LabError("apiserver-failed", f"nothing in {timeout_s:.0f} s", hint="mend the manifest")

    cluster.wait_api_server = fail  # type: ignore[method-assign,assignment]
    told: list[str] = []
    come_to_rest(context, patience_s=1.0, progress=told.append)
    assert told == ["the API server did not come back: nothing in 60 s"]
