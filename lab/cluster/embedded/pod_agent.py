"""The node's agent: sees to every Pod that the scheduler binds to the node.

A Pod whose containers all have a program in the lab is a *workload* and runs as sandboxed processes. Mirror pods are
the static pods' own business. Every other Pod is *played*: the agent asks the registry for its images, writes what it
found to the Pod's status, and kwok does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded import kwok_stages
from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.backoff import IMAGE_PULLS, Backoff
from lab.cluster.embedded.informer import Informer
from lab.cluster.embedded.pod_environment import environment_references
from lab.cluster.embedded.pod_status import Waiting, image_pull_back_off, image_pull_failed
from lab.cluster.embedded.pod_volumes import volume_references
from lab.cluster.mirror_pods import is_mirror
from lab.images.resolve import ImagePullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.kwok_stages import ImageOutcome
    from lab.cluster.embedded.memory import Memory
    from lab.cluster.embedded.pod_publisher import PodPublisher
    from lab.cluster.embedded.pod_runner import PodRunner
    from lab.images.resolve import ImageResolver

_STRATEGIC = "application/strategic-merge-patch+json"
_DEFAULT_GRACE_S = 30.0
_RETRY_S = 0.2

log = logging.getLogger(__name__)


class PodAgent:
    """Runs and hands over the node's Pods.

    Args:
        client: client with the node's own credentials.
        node_name: the node's name.
        images: the lab's registry.
        is_workload: whether the lab has programs for all containers of a Pod.
        make_runner: prepares the world of a workload Pod and makes its runner.
        publisher: writes statuses.
        memory: Pods to begin with.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        node_name: str,
        images: ImageResolver,
        is_workload: Callable[[Mapping[str, Any]], bool],
        make_runner: Callable[[Mapping[str, Any]], Awaitable[PodRunner]],
        publisher: PodPublisher,
        memory: Memory,
    ) -> None:
        self._client = client
        self._images = images
        self._is_workload = is_workload
        self._make_runner = make_runner
        self._publisher = publisher
        self._runners: dict[str, PodRunner] = {}
        self._ending: set[PodRunner] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pulls = Backoff(IMAGE_PULLS)
        self.informer = Informer(
            client,
            "/api/v1/pods",
            params={"fieldSelector": f"spec.nodeName={node_name}"},
            on_change=self._on_change,
            memory=memory,
        )

    @property
    def runners(self) -> Mapping[str, PodRunner]:
        """The workload Pods that run, by uid."""
        return self._runners

    @property
    def workloads_ready(self) -> bool:
        """Whether every workload Pod of the node runs and is ready."""
        starting = any(name.startswith("start ") for name in self._tasks)
        return self.informer.synced.is_set() and not starting and all(one.ready for one in self._runners.values())

    def serves(self, address: str, *, uid: str | None) -> bool:
        """Whether a workload Pod is ready under an address: a certain one, or any.

        After a reset, another Pod may have an address that an EndpointSlice, until it is written again, says is its.
        """
        return any(
            runner.pod_ip == address and runner.ready and uid in {None, known}
            for known, runner in self._runners.items()
        )

    def is_configured_by(self, uid: str, path: str) -> bool:
        """Whether a workload Pod has an object as a volume or in its environment: ``secrets/default/tls``."""
        pod = self._runners[uid].pod
        namespace = pod["metadata"]["namespace"]
        return path in {f"{collection}/{namespace}/{name}" for collection, name in _references(pod["spec"])}

    async def begin_anew(self, uid: str) -> None:
        """End a workload Pod's containers and start them again, as if the Pod had just been bound to the node."""
        runner = self._runners.pop(uid)
        await self._end_runner(runner, grace_s=0)
        await self._start(dict(runner.pod))

    async def run(self) -> None:
        """Follow the node's Pods until cancelled."""
        await self.informer.run()

    async def stop(self, *, grace_s: float) -> None:
        """Stop every workload; `run` must have been cancelled."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Those whose end was cut short just now are among them: their volumes are followed until that is complete.
        runners = [*self._runners.values(), *self._ending]
        self._runners.clear()
        await asyncio.gather(*(self._end_runner(runner, grace_s=grace_s) for runner in runners))

    def _on_change(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._gone(old)
        if new is None or is_mirror(new):
            return
        if self._is_workload(new):
            self._workload_changed(new)
        else:
            self._played_changed(new)

    # --- workloads -------------------------------------------------------------------------------------------------

    def _workload_changed(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if runner := self._runners.get(uid):
            runner.update(pod)
        if "deletionTimestamp" in pod["metadata"]:
            self._task(f"end {uid}", self._end(pod))
        elif runner is None and f"start {uid}" not in self._tasks and _is_to_run(pod):
            self._task(f"start {uid}", self._start(pod))

    async def _start(self, pod: dict[str, Any]) -> None:
        if end := self._tasks.get(f"end {pod['metadata']['uid']}"):  # it is there again (see `checkpoints`)
            await asyncio.wait({end})
        runner = await self._make_runner(pod)
        metadata = pod["metadata"]
        current = self.informer.get(metadata["namespace"], metadata["name"])
        if current is None or current["metadata"]["uid"] != metadata["uid"]:  # it has gone while its world was made
            await runner.stop(grace_s=0)
            return
        runner.update(current)
        self._runners[metadata["uid"]] = runner
        runner.start()

    async def _end(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if start := self._tasks.get(f"start {uid}"):
            await asyncio.wait({start})
        if runner := self._runners.pop(uid, None):
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            await self._end_runner(runner, grace_s=_DEFAULT_GRACE_S if grace is None else grace)
        self._publisher.confirm_deletion(pod)

    def _gone(self, pod: dict[str, Any]) -> None:
        """A Pod that is not there any more: deleted by force, or put back with etcd."""
        uid = pod["metadata"]["uid"]
        if task := self._tasks.get(f"play {uid}"):
            task.cancel()
        if runner := self._runners.pop(uid, None):
            self._task(f"end {uid}", self._end_runner(runner, grace_s=0))

    async def _end_runner(self, runner: PodRunner, *, grace_s: float) -> None:
        self._ending.add(runner)
        await runner.stop(grace_s=grace_s)
        self._ending.discard(runner)

    # --- played Pods -----------------------------------------------------------------------------------------------

    def _played_changed(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if f"play {uid}" not in self._tasks:
            self._task(f"play {uid}", self._play(pod))

    async def _play(self, pod: dict[str, Any]) -> None:
        """Hand a Pod to kwok, as often as it takes: for its containers, then for each new ephemeral one."""
        metadata = pod["metadata"]
        while (current := self.informer.get(metadata["namespace"], metadata["name"])) is not None:
            if current["metadata"]["uid"] != metadata["uid"]:
                return
            try:
                missing = await self._hand_over(current)
            except (ApiError, ApiUnavailable) as error:
                if isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND:
                    return
                # A conflict too: the Pod is looked at again once its newer version has come.
                await asyncio.sleep(_RETRY_S)
                continue
            if not missing:
                return
            await asyncio.sleep(min(self._pulls.remaining_since_advance_s(image) for image in missing))

    async def _hand_over(self, pod: dict[str, Any]) -> list[str]:
        """Write what became of a Pod's images; returns those that could not be had."""
        spec = pod["spec"]
        missing: list[str] = []
        if not kwok_stages.is_played(pod):
            images = await self._resolve(pod, [*spec["containers"], *(spec.get("initContainers") or ())])
            pod = await self._write(pod, kwok_stages.played_patch(pod, images, now=datetime.now(UTC)))
            missing += [image for image, outcome in images.items() if isinstance(outcome, Waiting)]
        if ephemeral := spec.get("ephemeralContainers"):
            images = await self._resolve(pod, ephemeral)
            ephemeral_patch = kwok_stages.ephemeral_patch(pod, images)
            if ephemeral_patch is not None:
                await self._write(pod, ephemeral_patch)
            missing += [image for image, outcome in images.items() if isinstance(outcome, Waiting)]
        return missing

    async def _write(self, pod: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
        """Patch the status of a Pod as it was seen: of one that kwok has made run meanwhile it would undo that."""
        metadata = pod["metadata"]
        seen = {"metadata": {key: metadata[key] for key in ("uid", "resourceVersion")}}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        return await self._client.patch(path, {**seen, **patch}, content_type=_STRATEGIC)

    async def _resolve(self, pod: dict[str, Any], containers: list[dict[str, Any]]) -> dict[str, ImageOutcome]:
        secrets = await self._pull_secrets(pod)
        outcomes: dict[str, ImageOutcome] = {}
        for image in kwok_stages.images_of(containers):
            try:
                outcomes[image] = (await self._images.pull(image, secrets)).image_id
                self._pulls.reset(image)
            except ImagePullError as error:
                first = self._pulls.window_s(image) == 0
                if self._pulls.remaining_since_advance_s(image) == 0:
                    self._pulls.advance(image, since=time.monotonic())
                message = error.status_message
                outcomes[image] = image_pull_failed(message) if first else image_pull_back_off(image, message)
        return outcomes

    async def _pull_secrets(self, pod: dict[str, Any]) -> list[dict[str, Any]]:
        """The Secrets with which a Pod's images are pulled; one that is not there is told, and done without."""
        namespace, found, absent = pod["metadata"]["namespace"], [], []
        for name in (one["name"] for one in pod["spec"].get("imagePullSecrets") or () if one.get("name")):
            try:
                found.append(await self._client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                absent.append(name)
        if absent:
            # The kubelet's own words (pkg/kubelet/kubelet_pods.go).
            message = (
                f"Unable to retrieve some image pull secrets ({', '.join(absent)}); "
                "attempting to pull the image may not succeed."
            )
            self._publisher.event(pod, kind="Warning", reason="FailedToRetrieveImagePullSecret", message=message)
        return found

    def _task(self, name: str, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._finished(name, done))

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", name, exc_info=error)


def _is_to_run(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}


def _references(spec: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The Secrets and ConfigMaps that a Pod is configured by: collection and name."""
    found = {reference for volume in spec.get("volumes") or () for reference in volume_references(volume)}
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        secrets, config_maps = environment_references(container)
        found |= {("secrets", name) for name in secrets} | {("configmaps", name) for name in config_maps}
    return found
