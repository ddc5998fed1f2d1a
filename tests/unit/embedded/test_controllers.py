"""A cluster is at rest when its controllers have nothing left to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.embedded.controllers import are_at_rest

if TYPE_CHECKING:
    from lab.cluster.embedded.api_client import ApiClient

APPS = "/apis/apps/v1/"


def workload(*, generation: int = 2, replicas: int | None = 1, **status: int) -> dict[str, Any]:
    spec = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {"generation": generation}, "spec": spec, "status": status}


def at_rest(**items: dict[str, Any]) -> bool:
    """Whether a cluster with one object of some collections is at rest."""

    class Client:
        async def get(self, path: str, _: dict[str, str] | None = None) -> dict[str, Any]:
            found = items.get(path.rpartition("/")[2])
            return {"items": [] if found is None else [found]}

    return asyncio.run(are_at_rest(cast("ApiClient", Client())))


def test_a_cluster_without_anything_is_at_rest() -> None:
    assert at_rest()


@pytest.mark.parametrize("kind", ["deployments", "replicasets"])
def test_replicas_are_waited_for(kind: str) -> None:
    assert at_rest(**{kind: workload() | {"status": {"observedGeneration": 2, "replicas": 1}}})
    assert not at_rest(**{kind: workload(observedGeneration=2)})
    assert not at_rest(**{kind: workload() | {"status": {"observedGeneration": 1, "replicas": 1}}})
    assert at_rest(**{kind: workload(replicas=0, observedGeneration=2)})
    assert not at_rest(**{kind: workload(replicas=None, observedGeneration=2)})


def test_the_pods_of_a_daemon_set_are_waited_for() -> None:
    assert at_rest(daemonsets=workload(observedGeneration=2, desiredNumberScheduled=1, currentNumberScheduled=1))
    assert not at_rest(daemonsets=workload(observedGeneration=2, desiredNumberScheduled=1))


def test_a_pod_without_a_node_is_waited_for() -> None:
    assert at_rest(pods={"spec": {"nodeName": "controlplane"}})
    assert not at_rest(pods={"spec": {}})


@pytest.mark.parametrize("missing", ["serviceaccounts", "configmaps"])
def test_what_every_namespace_gets_is_waited_for(missing: str) -> None:
    inside = {"metadata": {"namespace": "shop"}}
    items = {"namespaces": {"metadata": {"name": "shop"}}, "serviceaccounts": inside, "configmaps": inside}
    assert at_rest(**items)
    del items[missing]
    assert not at_rest(**items)
