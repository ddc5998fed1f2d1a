"""The objects of a cluster that belong to a start state: remembered when it stands, put back by a reset.

What somebody else makes again by itself is left to them: whatever has an owner (ReplicaSets, the Pods of a Deployment,
mirror Pods), what the API server and the controllers keep up, events and leases.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lab.cluster.embedded.api_errors import ApiError
from lab.errors import WaitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.cluster.embedded.api_client import ApiClient

Resource: TypeAlias = dict[str, Any]
Objects: TypeAlias = dict[str, Resource]
"""An object by the path at which the API server has it."""

_LEFT_TO_OTHERS = frozenset(
    {
        "events", "leases", "leasecandidates", "endpoints", "endpointslices", "nodes", "csinodes", "ipaddresses",
        "servicecidrs", "flowschemas", "prioritylevelconfigurations", "apiservices", "componentstatuses",
        "certificatesigningrequests/approval", "controllerrevisions", "storageversions", "volumeattachments",
        "constrainttemplatepodstatuses", "constraintpodstatuses", "configpodstatuses", "mutatorpodstatuses",
        "expansiontemplatepodstatuses", "providerpodstatuses", "connectionpodstatuses",
    }
)  # fmt: skip
"""Plurals of kinds that the system fills; Gatekeeper's ``...podstatuses`` belong to its Pods."""
_FIRST = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicybindings")
"""Removed before anything else, because they may refuse the rest."""
_MADE_FIRST = ("namespaces", "customresourcedefinitions", "serviceaccounts", "secrets", "configmaps")
_VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")
_REVISION = "deployment.kubernetes.io/revision"
_GONE_S = 60.0
_FINALIZERS_S = 6.0
_MADE_S = 60.0
_POLL_S = 0.3
_SOON = {"gracePeriodSeconds": 1, "propagationPolicy": "Background"}
"""As soon as is sure: with 0 a Pod would be gone at once, and its containers would go on for as long as they like."""
_OWNED = ("/apis/batch/v1/jobs", "/apis/apps/v1/replicasets", "/api/v1/pods")
"""What controllers make because of another object, owners before what they own."""


async def read(api: ApiClient) -> Objects:
    """Every object of the cluster that belongs to a state."""
    collections = await _collections(api)
    listed = await asyncio.gather(*(_list(api, *collection) for collection in collections))
    return {path: item for found in listed for path, item in found.items()}


def is_same(one: Resource, other: Resource) -> bool:
    """Whether two objects ask for the same."""
    return essence(one) == essence(other)


def essence(item: Resource) -> Resource:
    """An object without its status and what the API server writes into its metadata."""
    metadata = {key: value for key, value in item.get("metadata", {}).items() if key not in _VOLATILE}
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != _REVISION}
    if annotations:
        metadata["annotations"] = annotations
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What tells a cluster from a state that is remembered.

    Attributes:
        extra: what there was not.
        changed: what is missing or other now, as it was.
    """

    extra: Objects
    changed: Objects


async def compare(api: ApiClient, wanted: Mapping[str, Resource]) -> Difference:
    """What tells the cluster's objects from those."""
    present = await read(api)
    return Difference(
        extra={path: item for path, item in present.items() if path not in wanted},
        changed={
            path: item for path, item in wanted.items() if path not in present or not is_same(present[path], item)
        },
    )


async def put_back(api: ApiClient, wanted: Mapping[str, Resource]) -> set[str]:
    """Make the cluster's objects the same as those; the paths that had to be changed.

    Raises:
        WaitError: an object does not go, or cannot be made.
    """
    difference = await compare(api, wanted)
    await _remove(api, difference.extra)
    await _make(api, difference.changed)
    return {*difference.extra, *difference.changed}


async def take_away(api: ApiClient, namespace: str, deployment: str, *, label: str) -> None:
    """Remove a Deployment and wait until none of its Pods is left.

    Args:
        api: reaches the cluster.
        namespace: its namespace.
        deployment: its name.
        label: what selects its Pods and ReplicaSets, as ``key=value``.

    Raises:
        WaitError: they do not go.
    """
    apps, core = f"/apis/apps/v1/namespaces/{namespace}", f"/api/v1/namespaces/{namespace}"
    await _delete(api, f"{apps}/deployments/{deployment}")
    began_s = time.monotonic()
    while left := [*await _selected(api, f"{apps}/replicasets", label), *await _selected(api, f"{core}/pods", label)]:
        if time.monotonic() - began_s > _GONE_S:
            raise WaitError(
                what=f"the Pods of the Deployment {namespace}/{deployment} to go",
                timeout_s=_GONE_S,
                last_seen=", ".join(left),
                hint="see lab status; lab down and lab up make it afresh",
            )
        await asyncio.gather(*(_delete(api, path) for path in left))
        await asyncio.sleep(_POLL_S)


async def _selected(api: ApiClient, collection: str, label: str) -> list[str]:
    found = await api.get(collection, params={"labelSelector": label})
    return [f"{collection}/{item['metadata']['name']}" for item in found["items"]]


async def _collections(api: ApiClient) -> list[tuple[str, str, str]]:
    """Root, plural and kind's apiVersion/kind of everything that can be listed and removed."""
    groups = (await api.get("/apis"))["groups"]
    roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    documents = await asyncio.gather(*(_discover(api, root) for root in roots))
    return [
        (root, resource["name"], f"{root.removeprefix('/apis/').removeprefix('/api/')} {resource['kind']}")
        for root, resources in zip(roots, documents, strict=True)
        for resource in resources
        if {"list", "delete", "create"} <= set(resource["verbs"]) and resource["name"] not in _LEFT_TO_OTHERS
    ]


async def _discover(api: ApiClient, root: str) -> list[Resource]:
    try:
        found: list[Resource] = (await api.get(root))["resources"]
    except ApiError:
        return []  # a group whose last kind has just gone
    return found


async def _list(api: ApiClient, root: str, plural: str, kind: str) -> Objects:
    try:
        items = (await api.get(f"{root}/{plural}"))["items"]
    except ApiError:
        return {}
    version, _, name = kind.partition(" ")
    found = {}
    for item in items:
        metadata = item["metadata"]
        if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
            continue
        where = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
        found[f"{root}{where}/{plural}/{metadata['name']}"] = {"apiVersion": version, "kind": name, **item}
    return found


async def _remove(api: ApiClient, extra: Objects) -> None:
    """Remove objects, and what runs because of them: a webhook that still answered would decide in the next state."""
    first = [path for path in extra if _plural(path) in _FIRST]
    namespaces = [path for path in extra if _plural(path) == "namespaces"]
    going = {path.rsplit("/", 1)[1] for path in namespaces}
    inside = [path for path in extra if _namespace(path) in going]
    outside = [path for path in extra if path not in {*namespaces, *inside}]
    await asyncio.gather(*(_delete(api, path) for path in first))
    await asyncio.gather(*(_delete(api, path) for path in [*outside, *inside] if path not in first))
    await _wait_gone(api, outside, {item["metadata"]["uid"] for item in extra.values()})
    # Last: who ends a namespace looks again after half the grace time of the Pods that were found there (kubernetes,
    # pkg/controller/namespace/namespace_controller.go), and Gatekeeper's is a minute.
    await asyncio.gather(*(_delete(api, path) for path in namespaces))
    if namespaces:
        await _wait_gone(api, [*namespaces, *inside], set())


async def _wait_gone(api: ApiClient, paths: Sequence[str], owners: set[str]) -> None:
    """Wait until deleted objects are gone, and what is there because of owners, which is deleted here."""
    began_s = time.monotonic()
    left = list(paths)
    while True:
        owned = await _owned_by(api, owners) if owners else []
        left = [path for path in left if await _is_there(api, path)]
        if not left and not owned:
            return
        await asyncio.gather(*(_delete(api, path) for path in owned))
        waited_s = time.monotonic() - began_s
        if waited_s > _GONE_S:
            raise WaitError(
                what="what a scenario has made to go",
                timeout_s=_GONE_S,
                last_seen=", ".join([*left, *owned]),
                hint="see what holds it (metadata.finalizers), or lab down and lab up",
            )
        if waited_s > _FINALIZERS_S:
            # Whoever would have done the last work on it may be gone itself.
            await asyncio.gather(*(_let_go(api, path) for path in left))
        await asyncio.sleep(_POLL_S)


async def _owned_by(api: ApiClient, owners: set[str]) -> list[str]:
    """What is there because of some objects; their uids come to those of its owners."""
    found = []
    for collection in _OWNED:
        root, _, plural = collection.rpartition("/")
        for item in (await api.get(collection))["items"]:
            metadata = item["metadata"]
            if any(owner["uid"] in owners for owner in metadata.get("ownerReferences", ())):
                owners.add(metadata["uid"])
                found.append(f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}")
    return found


async def _make(api: ApiClient, changed: Objects) -> None:
    deadline_s = time.monotonic() + _MADE_S
    waiting = sorted(changed, key=_making_order)
    problems: dict[str, str] = {}
    while waiting:
        problems = {}
        for path in waiting:
            try:
                await _write(api, path, changed[path])
            except ApiError as error:
                problems[path] = error.message
        waiting = list(problems)
        if waiting and time.monotonic() > deadline_s:
            raise WaitError(
                what="what belongs to the start state to be made again",
                timeout_s=_MADE_S,
                last_seen="; ".join(f"{path}: {message}" for path, message in problems.items()),
                hint="lab down and lab up make it afresh",
            )
        if waiting:
            await asyncio.sleep(_POLL_S)


async def _write(api: ApiClient, path: str, item: Resource) -> None:
    """Have an object as it was, made anew where it cannot be changed."""
    body = essence(item)
    try:
        present = await api.get(path)
    except ApiError as error:
        if error.status != 404:  # noqa: PLR2004 - HTTP's own "Not Found"
            raise
        await api.create(path.rsplit("/", 1)[0], body)
        return
    body["metadata"] = {**body["metadata"], "resourceVersion": present["metadata"]["resourceVersion"]}
    try:
        await api.update(path, body)
    except ApiError as error:
        if error.status != 422:  # noqa: PLR2004 - what Kubernetes answers for a field that cannot be changed
            raise
        await _delete(api, path)
        del body["metadata"]["resourceVersion"]
        await api.create(path.rsplit("/", 1)[0], body)


async def _delete(api: ApiClient, path: str) -> None:
    with contextlib.suppress(ApiError):  # what has gone meanwhile; what does not go is waited for, and told
        await api.delete(path, _SOON)


async def _is_there(api: ApiClient, path: str) -> bool:
    try:
        await api.get(path)
    except ApiError as error:
        return error.status != 404  # noqa: PLR2004
    return True


async def _let_go(api: ApiClient, path: str) -> None:
    with contextlib.suppress(ApiError):
        await api.patch(path, {"metadata": {"finalizers": None}})
        await api.delete(path, _SOON)


def _plural(path: str) -> str:
    return path.rsplit("/", 2)[-2]


def _namespace(path: str) -> str:
    """The namespace in which an object is; empty for none, as for a namespace itself."""
    _, _, rest = path.partition("/namespaces/")
    name, _, inside = rest.partition("/")
    return name if inside else ""


def _making_order(path: str) -> tuple[int, str]:
    plural = _plural(path)
    return (_MADE_FIRST.index(plural) if plural in _MADE_FIRST else len(_MADE_FIRST), path)
