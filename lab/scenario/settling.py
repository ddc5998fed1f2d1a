"""Lets a cluster come to rest after somebody has changed it, so that a check does not see half of the change.

Two things take effect only a moment after they were asked for: the API server's flags, because it is restarted, and
Gatekeeper's policies, because each of its Pods learns of them by itself. Both say when they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.cluster.protocol import Capability
from lab.errors import LabError
from lab.scenario.api import Request
from lab.scenario.evidence import POLL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.scenario.sighting import Context

API_SERVER_WAIT_S = 60.0
POLICIES_WAIT_S = 15.0
_TEMPLATES = "/apis/templates.gatekeeper.sh/v1/constrainttemplates"
_CONSTRAINTS = "/apis/constraints.gatekeeper.sh/v1beta1"
_GATEKEEPERS = "/api/v1/pods?labelSelector=gatekeeper.sh%2Fsystem%3Dyes&fieldSelector=status.phase%3DRunning"


def come_to_rest(context: Context, *, patience_s: float, progress: Callable[[str], None]) -> None:
    """Wait until the API server runs what its manifest says, and Gatekeeper what its objects say.

    Nothing is raised when it does not: the checks then say what is the matter.

    Args:
        context: the cluster.
        patience_s: longest time that Gatekeeper is waited for, in seconds.
        progress: told when the API server does not come back.
    """
    try:
        if Capability.NODE_FILES in context.cluster.capabilities:
            context.cluster.wait_api_server(timeout_s=API_SERVER_WAIT_S)
        wait_policies(context, timeout_s=min(patience_s, POLICIES_WAIT_S))
    except LabError as error:
        progress(f"the API server did not come back: {error.message}")


def wait_policies(context: Context, *, timeout_s: float) -> None:
    """Wait until each of Gatekeeper's Pods has taken every template and constraint as it is now.

    They say so in ``status.byPod``, with the generation that they have taken, or with an error
    (https://open-policy-agent.github.io/gatekeeper/website/docs/debug). A Pod that never does is waited for a while.

    Raises:
        LabError: the API server does not answer.
    """
    deadline = context.clock() + timeout_s
    while context.clock() < deadline and any(_is_awaited(policy, pods) for policy, pods in _policies(context)):
        context.pause(POLL_S)


def _policies(context: Context) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Every template and constraint, with the names of Gatekeeper's Pods."""
    templates = _list(context, _TEMPLATES)
    if not templates:
        return
    pods = {pod["metadata"]["name"] for pod in _list(context, _GATEKEEPERS)}
    for template in templates:
        yield template, pods
        kind = template["spec"]["crd"]["spec"]["names"]["kind"]
        for constraint in _list(context, f"{_CONSTRAINTS}/{kind.lower()}"):
            yield constraint, pods


def _is_awaited(policy: dict[str, Any], pods: set[str]) -> bool:
    generation = policy["metadata"].get("generation")
    taken = (policy.get("status") or {}).get("byPod") or ()
    return not pods <= {one["id"] for one in taken if one.get("observedGeneration") == generation}


def _list(context: Context, path: str) -> list[dict[str, Any]]:
    """The objects of a collection; none where it is not served."""
    items: list[dict[str, Any]] = context.api.transport.send(Request(method="GET", path=path)).body.get("items") or []
    return items
