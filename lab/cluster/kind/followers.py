"""Wakes what follows the API server on a kind node, once another one has taken its place.

A client whose watch has broken tries again later and later, up to a minute, and forgives only after two quiet minutes
(client-go, tools/cache/reflector.go). A lab restarts its API server more often than that, so the kubelet would hear of
Pods, kube-proxy of endpoints and Gatekeeper of templates long after a person has begun to wait for them; and Gatekeeper
fails open. Started anew they ask at once.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from lab.cluster.mirror_pods import is_mirror
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.kind.engine import Engine

RESTART_KUBELET = ("systemctl", "restart", "kubelet")
"""Containers run on. A static pod that waits for the end of another is started at once instead of ten seconds later."""
_WAKE = """
pkill -KILL -x 'kube-proxy|kube-controller|kube-scheduler|manager'
# Else those that come in their place would wait until the leases of the dead have run out.
kubectl delete lease kube-controller-manager kube-scheduler --namespace kube-system --ignore-not-found --wait=false \
  --request-timeout=10s &&
systemctl restart kubelet
"""
"""The kernel keeps fifteen letters of a program's name. Gatekeeper's is `manager`."""
GATEKEEPER_PODS = "/api/v1/namespaces/gatekeeper-system/pods"
_NODES = "/api/v1/nodes"


def wake(engine: Engine, node: str) -> None:
    """Have everything on the node that watches the API server start to watch anew.

    Raises:
        LabError: ``followers-asleep``: it could not be done.
    """
    done = engine.run(node, ("sh", "-c", _WAKE))
    if done.exit_code != 0:
        raise LabError(
            "followers-asleep",
            "what follows the API server on the node could not be started anew",
            hint="see lab status and lab logs; lab down and lab up make the lab afresh",
            context={"output": (done.stderr or done.stdout).strip()},
        )


async def kubelet_hears(api: ApiClient) -> bool:
    """Whether the kubelet, since it was started, has heard from the API server which Pods its node has.

    Before that it ends no Pod whose manifest is gone or another, and does not think of it later (`api_server.
    is_forgotten` says where that is written): whoever edits a manifest in this second would wait for ever.
    """
    node = (await api.get(_NODES))["items"][0]["metadata"]["name"]
    bound = (await api.get("/api/v1/pods", params={"fieldSelector": f"spec.nodeName={node}"}))["items"]
    told = {pod["metadata"]["uid"] for pod in bound if not is_mirror(pod)}
    known = (await api.get(f"{_NODES}/{node}/proxy/pods"))["items"] or ()
    return not told or any(pod["metadata"]["uid"] in told for pod in known)


def are_ready(pods: Iterable[dict[str, Any]], *, since_s: float) -> bool:
    """Whether all of some Pods are ready, each in a container that was started after some moment.

    Args:
        pods: as the API server has them; the kubelet writes these fields, whether a controller runs or not.
        since_s: seconds since the epoch. Pods tell whole seconds.
    """
    statuses = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses") or [{}]]
    return bool(statuses) and all(status.get("ready") and _began_s(status) >= int(since_s) for status in statuses)


def _began_s(status: dict[str, Any]) -> float:
    running = status.get("state", {}).get("running")
    return dt.datetime.fromisoformat(running["startedAt"]).timestamp() if running else 0.0
