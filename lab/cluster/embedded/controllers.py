"""Whether the cluster's controllers have done what its objects ask for.

A checkpoint of a cluster in which they have not is none: going back would undo what they did next, and they would do it
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.api_errors import JsonObject

_APPS = "/apis/apps/v1"
_IN_EVERY_NAMESPACE = (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt"))
"""Made by kube-controller-manager (pkg/controller/serviceaccount, pkg/controller/certificates/rootcacertpublisher)."""


async def are_at_rest(client: ApiClient) -> bool:
    """Whether every workload has its Pods, every Pod a node, and every namespace what controllers put into it.

    Raises:
        ApiError: the API server refused.
        ApiUnavailable: it does not answer.
    """
    for collection, is_done in _WORKLOADS:
        items = (await client.get(f"{_APPS}/{collection}")).get("items") or ()
        if not all(_is_observed(item) and is_done(item) for item in items):
            return False
    pods = (await client.get("/api/v1/pods")).get("items") or ()
    if not all(pod["spec"].get("nodeName") for pod in pods):
        return False
    namespaces = {item["metadata"]["name"] for item in (await client.get("/api/v1/namespaces")).get("items") or ()}
    for collection, name in _IN_EVERY_NAMESPACE:
        found = await client.get(f"/api/v1/{collection}", {"fieldSelector": f"metadata.name={name}"})
        if namespaces - {item["metadata"]["namespace"] for item in found.get("items") or ()}:
            return False
    return True


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


_WORKLOADS = (
    ("deployments", _has_replicas),
    ("replicasets", _has_replicas),
    ("statefulsets", _has_replicas),
    ("daemonsets", _runs),
)
