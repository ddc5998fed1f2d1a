"""The node: everything that runs inside a lab's namespaces, started, stopped and described as one.

The machine part (network, resolver, registry) runs for as long as the lab. The cluster part (static pods, Pods, kwok)
can be *frozen*: then nothing of it runs, so that its files can be copied or put back. That is how templates are made
and how a reset works.

The static pods are started first of all, and what speaks HTTP or DNS is imported after that: the API server takes more
than a second to answer, and in that time the supervisor has nothing else to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded import memory, network
from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.controllers import are_at_rest
from lab.cluster.embedded.layout import KUBERNETES, LabSettings
from lab.cluster.embedded.pod_runner import PodRunner
from lab.cluster.embedded.pod_worlds import PodWorlds
from lab.cluster.embedded.programs import ProgramTable
from lab.cluster.embedded.static_pod_host import StaticPodHost
from lab.cluster.embedded.static_pods import ManifestDirectory, StaticPod

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from lab.cluster.embedded.checkpoints import Checkpoints
    from lab.cluster.embedded.children import Children
    from lab.cluster.embedded.cluster_link import ClusterLink
    from lab.cluster.embedded.layout import LabLayout
    from lab.cluster.embedded.node_servers import NodeServers

_CLIENTS_OF_THE_API_SERVER = ("kube-controller-manager", "kube-scheduler")
_TEMPLATE_GRACE_S = 1.0
_TEMPLATE_REST_S = 20.0
_CLIENTS_START_S = 5.0
_POLL_S = 0.02

log = logging.getLogger(__name__)


class Node:
    """One lab's node, inside its namespaces.

    Args:
        layout: the lab's directory as the node sees it.
        settings: what the lab is made of.
        children: starts and reaps processes.
    """

    def __init__(self, layout: LabLayout, settings: LabSettings, children: Children) -> None:
        self._layout = layout
        self._settings = settings
        self._children = children
        self._tasks: set[asyncio.Task[None]] = set()
        self._link: ClusterLink | None = None
        self._linked = asyncio.Event()
        self._serves = asyncio.Event()
        self.static_pods = StaticPodHost(
            ManifestDirectory(path=KUBERNETES / "manifests", node_name=settings.node_name),
            make_runner=self._make_static_runner,
            changed=self._static_pod_changed,
            ready_to_start=self._ready_to_start,
        )
        self.worlds = PodWorlds(
            layout=layout,
            children=children,
            programs=ProgramTable(
                settings.programs,
                digests=settings.digests,
                state=lambda: LabSettings.load(layout.settings_file).state,  # each reset may set another
            ),
            image_id=self._image_id,
            pod_network=network.PodNetwork(),
            client=lambda: self.link.client,
            memory=lambda: self.link.memory,
            services=lambda: tuple(self.link.services.services.objects.values()),
        )

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """What the cluster can go back to without being stopped."""
        from lab.cluster.embedded.checkpoints import Checkpoints  # noqa: PLC0415 - after the static pods are started

        return Checkpoints(self, self._settings.extra_mounts)

    @cached_property
    def _servers(self) -> NodeServers:
        from lab.cluster.embedded.node_servers import NodeServers  # noqa: PLC0415 - after the static pods are started

        return NodeServers(self._layout, self._settings, self._children)

    @property
    def frozen(self) -> bool:
        """Whether nothing of the cluster runs."""
        return not self._tasks and self._link is None

    @property
    def link(self) -> ClusterLink:
        """What speaks with the API server; there once kubeadm has written the kubeconfigs."""
        if self._link is None:
            raise AssertionError("the node is frozen, or has no kubeconfig yet")
        return self._link

    @property
    def log_directory(self) -> Path:
        """Where the lab's own processes log."""
        return self._layout.logs

    async def start(self) -> None:
        """Start the machine part and the cluster."""
        await network.set_up_node()
        await self._start_static_pods()
        await self._servers.start()
        self._serves.set()
        self._follow_cluster()

    async def thaw(self) -> None:
        """Start the cluster from the files that there are; returns before it answers."""
        await self._start_static_pods()
        self._follow_cluster()

    async def _start_static_pods(self) -> None:
        """Start etcd and the API server; their clients wait."""
        self.worlds.forget_failures()
        self.static_pods.begin()
        self._run(self.static_pods.run())
        await asyncio.sleep(0)  # each starts in a task that has nothing to wait for; what follows is done meanwhile

    def _follow_cluster(self) -> None:
        self.checkpoints.forget()
        if self._is_made:
            self.connect()

    @property
    def _is_made(self) -> bool:
        """Whether kubeadm has written the kubeconfigs."""
        return (KUBERNETES / "super-admin.conf").exists()

    def connect(self) -> None:
        """Begin to speak with the API server, which need not answer yet; does nothing the second time.

        Raises:
            InputError: kubeadm has not written the kubeconfigs.
        """
        from lab.cluster.embedded.cluster_link import ClusterLink  # noqa: PLC0415 - after the static pods are started

        if self._link is not None:
            return
        self._link = ClusterLink(
            layout=self._layout,
            settings=self._settings,
            children=self._children,
            static_pods=self.static_pods,
            worlds=self.worlds,
            images=self._servers.images,
        )
        self._linked.set()
        for pod, _ in self.static_pods.runners:
            self._static_pod_changed(pod)
        self._run(self._link.run())

    async def freeze(self, *, for_template: bool = False) -> None:
        """Stop everything of the cluster.

        Args:
            for_template: what is left behind is to be a start: nobody holds a lease, and etcd ends in good order.
        """
        if for_template:
            await self._come_to_rest()
            self.link.memory.save(memory.PATH)
            self.static_pods.halt(_CLIENTS_OF_THE_API_SERVER)
            await self.link.forget_leaders()
        grace_s = _TEMPLATE_GRACE_S if for_template else 0.0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._link is not None:
            await self._link.stop(grace_s=grace_s)
        await self.static_pods.stop(grace_s=grace_s)
        if self._link is not None:
            await self._link.close()
            self._link = None
            self._linked.clear()

    async def _come_to_rest(self) -> None:
        """Wait a while for the controllers, so that no copy has to wait for them."""
        try:
            async with asyncio.timeout(_TEMPLATE_REST_S):
                while not await are_at_rest(self.link.admin):
                    await asyncio.sleep(_POLL_S)
        except (ApiError, ApiUnavailable, TimeoutError) as error:
            log.warning("the template is kept before the cluster is at rest: %s", error or "it takes too long")

    async def answers(self) -> bool:
        """Whether the API server answers requests now."""
        return self._link is not None and await self._link.answers()

    def processes(self) -> dict[int, str]:
        """Process id in the lab to name, the supervisor included."""
        named = {child.pid: child.name for child in self._children.all()}
        for pod, runner in self.static_pods.runners:
            named |= dict.fromkeys(runner.processes.values(), pod.component)
        return {1: "supervisor", **named}

    # --- static pods -----------------------------------------------------------------------------------------------

    def _make_static_runner(self, pod: StaticPod) -> PodRunner:
        return PodRunner(
            pod.pod, world=self.worlds.static(pod.pod), events=_StaticPodEvents(pod, self._static_pod_changed)
        )

    async def _ready_to_start(self, pod: StaticPod) -> None:
        """Let the API server's clients wait for it a while.

        A kubelet starts all static pods at once. Then the clients take the processor from the API server's start, are
        refused, and come back only at their next attempt, seconds later.
        """
        if pod.component in _CLIENTS_OF_THE_API_SERVER and self._is_made:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLIENTS_START_S):
                    await self._linked.wait()
                    await self.link.wait_first_things()

    async def _image_id(self, image: str) -> str:
        await self._serves.wait()  # a static pod of an image that is not the control plane's may ask too early
        return (await self._servers.images.resolve(image)).image_id

    def _static_pod_changed(self, pod: StaticPod) -> None:
        if self._link is None:
            return
        runner = next((runner for known, runner in self.static_pods.runners if known.uid == pod.uid), None)
        if runner is not None:
            self._link.publisher.show_mirror(pod, runner.status)
        else:
            self._link.publisher.remove_mirror(pod)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(_report_failure)


def _report_failure(task: asyncio.Task[None]) -> None:
    """A task of the node ends by cancellation only; anything else is a defect that must be seen."""
    with contextlib.suppress(asyncio.CancelledError):
        if (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)


class _StaticPodEvents:
    """What the runner of a static pod reports."""

    def __init__(self, pod: StaticPod, changed: Callable[[StaticPod], None]) -> None:
        self._pod = pod
        self._changed = changed

    def changed(self) -> None:
        self._changed(self._pod)

    def event(self, kind: str, reason: str, message: str) -> None:
        log.info("%s: %s %s: %s", self._pod.full_name, kind, reason, message)
