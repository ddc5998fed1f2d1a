"""Whether the cluster's controllers have done what its objects ask for.

A checkpoint of a cluster in which they have not is none: going back would undo what they did next, and they would do it
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.cluster.embedded.api_client import ApiClient, JsonObject

_APPS = "/apis/apps/v1"


async def are_at_rest(client: ApiClient) -> bool:
    """Whether every workload has its Pods, and every Pod a node.

    Raises:
        ApiError: the API server refused.
        ApiUnavailable: it does not answer.
    """
    for collection, is_done in (("deployments", _has_replicas), ("replicasets", _has_replicas), ("daemonsets", _runs)):
        items = (await client.get(f"{_APPS}/{collection}")).get("items") or ()
        if not all(_is_observed(item) and is_done(item) for item in items):
            return False
    pods = (await client.get("/api/v1/pods")).get("items") or ()
    return all(pod["spec"].get("nodeName") for pod in pods)


def _is_observed(item: JsonObject) -> bool:
    seen: int = (item.get("status") or {}).get("observedGeneration", 0)
    generation: int = item["metadata"].get("generation", 0)
    return seen >= generation


def _has_replicas(item: JsonObject) -> bool:
    status: JsonObject = item.get("status") or {}
    return bool(status.get("replicas", 0) == item["spec"].get("replicas", 1))


def _runs(item: JsonObject) -> bool:
    status: JsonObject = item.get("status") or {}
    return bool(status.get("currentNumberScheduled", 0) == status.get("desiredNumberScheduled", 0))
