"""What a lab owns in somebody else's cluster, and how it goes away again.

Everything that is cluster-scoped bears the lab's label, everything else lies in one of its namespaces. So what is the
lab's is found by asking the cluster, not by remembering, and a killed run leaves nothing that is not found.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from lab.cluster.existing.overlay import GATEKEEPER_NAMESPACE, OWNER_LABEL, SELECT_LABEL, Overlay
from lab.cluster.existing.upstream import CONFLICT, METADATA_LIST, NOT_FOUND
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cluster.existing.upstream import Upstream

_ADMISSION = "/apis/admissionregistration.k8s.io/v1/"
_DECIDERS = tuple(
    _ADMISSION + resource
    for resource in (
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicies",
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
    )
)
"""What decides about requests goes first, so that nothing waits for a webhook whose Pods are gone."""
_NAMESPACES = "/api/v1/namespaces"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC = tuple(f"/apis/rbac.authorization.k8s.io/v1/{resource}" for resource in ("clusterrolebindings", "clusterroles"))
_TEMPLATES = "/apis/templates.gatekeeper.sh/v1/constrainttemplates"
_EXPANSIONS = "/apis/expansion.gatekeeper.sh/v1beta1/expansiontemplate"
_GATEKEEPER_CRDS = ".gatekeeper.sh"
_CONSTRAINT_CRDS = ".constraints.gatekeeper.sh"
_OWNERS_OF_PODS = (
    ("apps/v1", "deployments"),
    ("apps/v1", "daemonsets"),
    ("apps/v1", "statefulsets"),
    ("apps/v1", "replicasets"),
    ("batch/v1", "cronjobs"),
    ("batch/v1", "jobs"),
)
"""Who would make Pods anew, owners before what they own."""
_AT_ONCE = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
_SOON = {"gracePeriodSeconds": 1, "propagationPolicy": "Background"}
"""Of a Pod that is removed at once the containers would go on for as long as they like."""
_POLL_S = 0.2
_PODS_GO_S = 15.0
_GONE_S = 120.0
_ACCOUNT_S = 60.0
_DEPLOYMENTS = ("audit", "controller-manager")
_GATEKEEPERS = (
    f"{_NAMESPACES}/{GATEKEEPER_NAMESPACE}",
    f"{_CRDS}/constrainttemplates.templates.gatekeeper.sh",
    f"{_ADMISSION}validatingwebhookconfigurations/gatekeeper-validating-webhook-configuration",
    f"{_ADMISSION}mutatingwebhookconfigurations/gatekeeper-mutating-webhook-configuration",
)
"""By what Gatekeeper is known to be there; none of these names can vary."""


_GATEKEEPERS_SHAPE = (
    *(f"/apis/apps/v1/namespaces/{GATEKEEPER_NAMESPACE}/deployments/gatekeeper-{name}" for name in _DEPLOYMENTS),
    *_GATEKEEPERS[2:],
)


class Belongings:
    """What one lab has in a cluster.

    Args:
        upstream: the cluster, asked without the overlay.
        run: the lab's number.
    """

    def __init__(self, upstream: Upstream, run: str) -> None:
        self._upstream = upstream
        self._run = run

    async def make_namespaces(self, overlay: Overlay, names: tuple[str, ...]) -> None:
        """Make namespaces of a start state, and wait until Pods can be made in them.

        Raises:
            LabError: ``namespace-refused``; `WaitError` when their ServiceAccounts do not come.
        """
        for name in names:
            labels = {OWNER_LABEL: self._run, SELECT_LABEL: overlay.selection}
            manifest = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": overlay.namespace(name), "labels": labels},
            }
            answer = await self._upstream.call("POST", _NAMESPACES, manifest)
            if not answer.ok and answer.status != CONFLICT:
                raise LabError(
                    "namespace-refused",
                    f"the cluster refuses the namespace {overlay.namespace(name)}: {answer.message}",
                    hint="give a kubeconfig that may make namespaces, webhooks and admission policies",
                )
        deadline = time.monotonic() + _ACCOUNT_S
        for name in names:
            path = f"{_NAMESPACES}/{overlay.namespace(name)}/serviceaccounts/default"
            while not (answer := await self._upstream.call("GET", path)).ok:
                if time.monotonic() >= deadline:
                    raise WaitError(
                        what=f"the default ServiceAccount of {overlay.namespace(name)}",
                        timeout_s=_ACCOUNT_S,
                        last_seen=answer.message,
                        hint="see whether the cluster's controller manager runs",
                    )
                await asyncio.sleep(_POLL_S)

    async def gatekeepers_owner(self) -> str | None:
        """Whose Gatekeeper is: the number of a lab, empty for somebody else's, None when there is none."""
        for path in _GATEKEEPERS:
            answer = await self._upstream.call("GET", path)
            if answer.status == NOT_FOUND:
                continue
            if not answer.ok:
                raise _unanswered(path, answer.message)
            return _owner(answer.body)
        kinds = await self._metadata(_CRDS)
        owners = [_owner(one) for one in kinds if one["metadata"]["name"].endswith(_GATEKEEPER_CRDS)]
        return owners[0] if owners else None

    async def gatekeepers_shape(self) -> str:
        """What a script would change in Gatekeeper itself; not what Gatekeeper and the cluster keep up to date."""
        shape: list[object] = []
        for path in _GATEKEEPERS_SHAPE:
            answer = await self._upstream.call("GET", path)
            metadata = answer.body.get("metadata", {})
            webhooks = [
                {key: value for key, value in webhook.items() if key != "clientConfig"}  # its CA comes after a moment
                for webhook in answer.body.get("webhooks") or []
            ]
            generation = None if webhooks else metadata.get("generation")
            shape.append([path, metadata.get("uid"), generation, webhooks])
        return json.dumps(shape, sort_keys=True)

    async def remove_policies(self) -> None:
        """Remove what decides about requests and is not Gatekeeper's, and let the namespaces go, without waiting."""
        await self._remove_deciders(gatekeepers=False)
        own = [path for path in await self._owned(_NAMESPACES) if not path.endswith(f"/{GATEKEEPER_NAMESPACE}")]
        await self._remove(own, _NAMESPACES, wait=False)

    async def remove_constraints(self) -> None:
        """Remove the templates and constraints of this lab's Gatekeeper, and wait until their kinds are gone."""
        for collection in (_EXPANSIONS, _TEMPLATES):
            await self._remove(await self._owned(collection), collection)
        await self._gone(_CONSTRAINT_CRDS)

    async def remove_gatekeeper(self) -> None:
        """Remove this lab's Gatekeeper with everything that it has made."""
        if await self.gatekeepers_owner() != self._run:
            return
        await self._remove_deciders(gatekeepers=True)
        # Before its kinds: a namespace whose kinds go while it is emptied is looked at again only after a long while.
        namespace = f"{_NAMESPACES}/{GATEKEEPER_NAMESPACE}"
        await self._remove_namespaces([path for path in await self._owned(_NAMESPACES) if path == namespace])
        await self._remove_kinds(of_constraints=True)

    async def remove(self) -> None:
        """Remove everything that is this lab's, and wait until it is gone.

        Raises:
            LabError: the cluster refuses; `WaitError` when something stays.
        """
        has_gatekeeper = await self.gatekeepers_owner() == self._run
        await self._remove_deciders(gatekeepers=False)
        if has_gatekeeper:
            await self._remove_deciders(gatekeepers=True)
        # All at once: who ends them lets each wait for five seconds first.
        await self._remove_namespaces(await self._owned(_NAMESPACES))
        await self._remove_kinds(of_constraints=has_gatekeeper)

    async def _remove_deciders(self, *, gatekeepers: bool) -> None:
        for collection in _DECIDERS:
            owned = await self._owned(collection)
            await self._remove([path for path in owned if ("/gatekeeper-" in path) is gatekeepers], collection)

    async def _remove_kinds(self, *, of_constraints: bool) -> None:
        """Remove this lab's kinds and what it was allowed to do; those of constraints where they are its own."""
        if of_constraints:
            kinds = [path for path in await self._listed(_CRDS) if path.endswith(_CONSTRAINT_CRDS)]
            # They bear no label, and are known to be the lab's only as long as others are there that do.
            await self._remove(kinds, _CRDS)
        for collection in (_CRDS, *_RBAC):
            await self._remove(await self._owned(collection), collection)

    async def _owned(self, collection: str) -> list[str]:
        """Paths of the objects of a collection that bear the lab's label."""
        return await self._listed(collection, {"labelSelector": f"{OWNER_LABEL}={self._run}"})

    async def _listed(self, collection: str, query: Mapping[str, str] | None = None) -> list[str]:
        items = await self._metadata(f"{collection}?{urlencode(query)}" if query else collection)
        return [f"{collection}/{quote(str(one['metadata']['name']), safe='')}" for one in items]

    async def _metadata(self, collection: str) -> list[dict[str, Any]]:
        """The objects of a collection without anything but their metadata."""
        answer = await self._upstream.call("GET", collection, accept=METADATA_LIST)
        if answer.status == NOT_FOUND:
            return []  # the kind is not served
        if not answer.ok:
            raise _unanswered(collection, answer.message)
        return answer.body.get("items") or []

    async def _remove_namespaces(self, paths: list[str]) -> None:
        """Remove namespaces, their Pods first, and wait until they are gone.

        Who ends a namespace looks again after half the grace time of the Pods that were found there (kubernetes,
        pkg/controller/namespace/namespace_controller.go), and that of Gatekeeper's is a minute.
        """
        pods = [f"{path}/pods" for path in paths]
        owners = [
            f"/apis/{group}/namespaces/{path.rpartition('/')[2]}/{resource}"
            for path in paths
            for group, resource in _OWNERS_OF_PODS
        ]
        for collection in (*owners, *pods):
            await self._delete(collection, _SOON)
        deadline = time.monotonic() + _PODS_GO_S
        while [pod for collection in pods for pod in await self._listed(collection)]:
            if time.monotonic() >= deadline:
                break  # what holds them is told by the namespace, which does not go either
            await asyncio.sleep(_POLL_S)
        await self._remove(paths, _NAMESPACES)

    async def _remove(self, paths: list[str], collection: str, *, wait: bool = True) -> None:
        for path in paths:
            await self._delete(path, _AT_ONCE)
        deadline = time.monotonic() + _GONE_S
        while wait and (left := sorted(set(paths) & set(await self._listed(collection)))):
            if time.monotonic() >= deadline:
                raise _stays(left)
            await asyncio.sleep(_POLL_S)

    async def _delete(self, path: str, how: Mapping[str, Any]) -> None:
        answer = await self._upstream.call("DELETE", path, how)
        if not answer.ok and answer.status not in (NOT_FOUND, CONFLICT):
            raise LabError(
                "cleanup-refused",
                f"the cluster does not let {path} go: {answer.message}",
                hint="see who refuses it, and run `lab down` again",
            )

    async def _gone(self, ending: str) -> None:
        """Wait until no kind of that ending is left: Gatekeeper removes them after their templates."""
        deadline = time.monotonic() + _GONE_S
        while left := [path for path in await self._listed(_CRDS) if path.endswith(ending)]:
            if time.monotonic() >= deadline:
                raise _stays(left)
            await asyncio.sleep(_POLL_S)


def _owner(thing: Mapping[str, Any]) -> str:
    return str((thing["metadata"].get("labels") or {}).get(OWNER_LABEL, ""))


def _stays(left: list[str]) -> WaitError:
    return WaitError(
        what=f"{left[0]} to be gone",
        timeout_s=_GONE_S,
        last_seen=f"{len(left)} of them stay",
        hint="see its finalizers with kubectl, and run `lab down` again",
    )


def _unanswered(path: str, message: str) -> LabError:
    return LabError(
        "cluster-unreadable",
        f"the cluster does not tell about {path}: {message}",
        hint="give a kubeconfig that may read webhooks, policies, namespaces and CustomResourceDefinitions",
    )
