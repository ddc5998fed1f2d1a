"""Shows the node's Pods to the API server: mirror pods of static pods, and the status of every Pod that runs here.

Everything is written as a kubelet writes it, with the node's own credentials: a mirror pod is created through admission
like any other Pod, and may be denied; the static pod runs all the same. What cannot be written now is written as soon
as the API server is back.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.pod_status import timestamp
from lab.cluster.mirror_pods import MIRROR_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.static_pods import StaticPod

_HASH_ANNOTATION = "kubernetes.io/config.hash"
_UNAVAILABLE_RETRY_S = 0.2
_REFUSED_RETRY_S = 3.0
_EVENT_AGAIN_AFTER = timedelta(minutes=1)
_EVENT_MESSAGE_LIMIT = 1024
"""The API server's own limit for an event's message (pkg/apis/core/validation)."""

log = logging.getLogger(__name__)


class Publisher:
    """Brings objects of the API server up to date, one task per key: the latest wish counts, failures are retried."""

    def __init__(self) -> None:
        self._wanted: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._stopped = False
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def publish(self, key: str, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have ``write`` called soon, and again until it succeeds; replaces what was wanted under the same key."""
        if self._stopped:
            return
        self._wanted[key] = write
        # A task that has just ended is still there until its callback runs, and takes no further wish.
        if key not in self._tasks or self._tasks[key].done():
            task = asyncio.create_task(self._work(key))
            self._tasks[key] = task
            task.add_done_callback(lambda ended: self._forget(key, ended))

    async def stop(self) -> None:
        """Write nothing more, whatever is asked."""
        self._stopped = True
        self._wanted.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: str, ended: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is ended:
            del self._tasks[key]

    async def _work(self, key: str) -> None:
        while (write := self._wanted.pop(key, None)) is not None:
            try:
                await write()
            except (ApiUnavailable, ApiError) as error:
                # A conflict is a view that lags behind, for example of a mirror pod that was just created.
                refused = isinstance(error, ApiError) and error.status != HTTPStatus.CONFLICT
                if refused:
                    log.info("%s: %s", key, error.message)
                self._wanted.setdefault(key, write)
                await asyncio.sleep(_REFUSED_RETRY_S if refused else _UNAVAILABLE_RETRY_S)


class PodPublisher:
    """Mirror pods and Pod statuses.

    Args:
        client: client with the node's own credentials.
        node_name: the node's name.
        known: a Pod of the node by namespace and name, as the API server has it; None when there is none. (A node may
            only get Pods that are bound to it, so it cannot ask for one that may not be there.)
    """

    def __init__(
        self, client: ApiClient, *, node_name: str, known: Callable[[str, str], Mapping[str, Any] | None]
    ) -> None:
        self._client = client
        self._known = known
        self._node_name = node_name
        self._publisher = Publisher()
        self._owner: dict[str, Any] | None = None
        self._said: dict[str, datetime] = {}

    async def stop(self) -> None:
        """Write nothing more."""
        await self._publisher.stop()

    def show_mirror(self, pod: StaticPod, status: Callable[[], dict[str, Any]]) -> None:
        """Have the mirror of a static pod exist, with this status."""

        async def write() -> None:
            mirror = await self._ensure_mirror(pod)
            await self._write_status(mirror, status())

        self._publisher.publish(f"mirror pod {pod.full_name}", write)

    def remove_mirror(self, pod: StaticPod) -> None:
        """Have the mirror of a static pod that ended removed."""

        async def write() -> None:
            mirror = self._known(pod.pod["metadata"]["namespace"], pod.pod["metadata"]["name"])
            if mirror is not None and _hash(mirror) == pod.uid:
                await self._delete(mirror)

        self._publisher.publish(f"mirror pod {pod.full_name}", write)

    def show_status(self, pod: Mapping[str, Any], status: Callable[[], dict[str, Any]]) -> None:
        """Have a Pod's status written."""

        async def write() -> None:
            await self._write_status(pod, status())

        self._publisher.publish(f"status of pod {_path(pod)}", write)

    def confirm_deletion(self, pod: Mapping[str, Any]) -> None:
        """Have a Pod whose containers have ended removed for good, unless a rewind has brought it back by then."""
        metadata = pod["metadata"]

        async def write() -> None:
            known = self._known(metadata["namespace"], metadata["name"])
            if known is not None and known["metadata"]["uid"] == metadata["uid"] and _is_ending(known):
                await self._delete(known, resourceVersion=known["metadata"]["resourceVersion"])

        self._publisher.publish(f"deletion of pod {_path(pod)}", write)

    def remove(self, pod: Mapping[str, Any]) -> None:
        """Have a Pod removed that nothing stands behind."""

        async def write() -> None:
            await self._delete(pod)

        self._publisher.publish(f"removal of pod {_path(pod)}", write)

    def event(self, pod: Mapping[str, Any], *, kind: str, reason: str, message: str) -> None:
        """Have an event of a Pod recorded; one that was just recorded is not repeated."""
        key = f"event of {pod['metadata']['uid']} {reason} {message}"
        now = datetime.now(UTC)
        metadata, said = pod["metadata"], self._said.get(key)
        if said is not None and now - said < _EVENT_AGAIN_AFTER:
            return
        self._said[key] = now
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:_EVENT_MESSAGE_LIMIT],
            "source": {"component": "kubelet", "host": self._node_name},
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
        }

        async def write() -> None:
            await self._client.create(f"/api/v1/namespaces/{metadata['namespace']}/events", body)

        self._publisher.publish(key, write)

    async def _ensure_mirror(self, pod: StaticPod) -> Mapping[str, Any]:
        existing = self._known(pod.pod["metadata"]["namespace"], pod.pod["metadata"]["name"])
        if existing is not None:
            if _hash(existing) == pod.uid and "deletionTimestamp" not in existing["metadata"]:
                return existing
            await self._delete(existing)
        metadata = {key: value for key, value in pod.pod["metadata"].items() if key != "uid"}
        metadata["annotations"] = {**metadata["annotations"], MIRROR_ANNOTATION: pod.uid}
        metadata["ownerReferences"] = [await self._node_reference()]
        body = {**pod.pod, "metadata": metadata}
        body.pop("status", None)
        return await self._client.create(f"/api/v1/namespaces/{metadata['namespace']}/pods", body)

    async def _node_reference(self) -> dict[str, Any]:
        if self._owner is None:
            node = await self._client.get(f"/api/v1/nodes/{self._node_name}")
            self._owner = {
                "apiVersion": "v1",
                "kind": "Node",
                "name": self._node_name,
                "uid": node["metadata"]["uid"],
                "controller": True,
            }
        return self._owner

    async def _write_status(self, pod: Mapping[str, Any], status: dict[str, Any]) -> None:
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        try:
            await self._client.patch(_path(pod) + "/status", body)
        except ApiError as error:
            if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:  # gone, or another of the same name
                raise

    async def _delete(self, pod: Mapping[str, Any], **preconditions: str) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"], **preconditions}}
        try:
            await self._client.delete(_path(pod), options)
        except ApiError as error:
            another = error.status == HTTPStatus.CONFLICT and not preconditions
            if error.status != HTTPStatus.NOT_FOUND and not another:
                raise


def _path(pod: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _is_ending(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _hash(pod: Mapping[str, Any]) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(_HASH_ANNOTATION)
