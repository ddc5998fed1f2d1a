"""Keeps the static pods of the manifests directory running."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from lab.cluster.embedded.static_pods import ManifestDirectory, StaticPod, StaticPodQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from lab.cluster.embedded.pod_runner import PodRunner

_POLL_S = 0.03
"""How often the directory is looked at. A file is read when two looks agree, so an edit is seen within 60 ms; looking
costs a directory listing and four stats, and needs neither inotify's limits nor its races."""

STOP_GRACE_S = 0.2
"""How long a static pod may take to end. A kubelet gives 30 s; an API server uses them to drain its watches, which
nobody waits for in a lab, and etcd keeps the data."""


class StaticPodHost:
    """Follows the manifests directory.

    Args:
        manifests: the directory.
        make_runner: makes the runner of a static pod.
        changed: called with a static pod when its runner starts or has ended.
        ready_to_start: awaited before a static pod's containers are started.
    """

    def __init__(
        self,
        manifests: ManifestDirectory,
        *,
        make_runner: Callable[[StaticPod], PodRunner],
        changed: Callable[[StaticPod], None],
        ready_to_start: Callable[[StaticPod], Awaitable[None]],
    ) -> None:
        self.manifests = manifests
        self._make_runner = make_runner
        self._changed = changed
        self._ready_to_start = ready_to_start
        self._queue = StaticPodQueue()
        self._runners: dict[str, tuple[StaticPod, PodRunner]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    @property
    def runners(self) -> tuple[tuple[StaticPod, PodRunner], ...]:
        """The static pods that run, or end."""
        return tuple(self._runners.values())

    def runner(self, component: str) -> PodRunner | None:
        """The runner of a static pod by its name without the node's, such as ``kube-apiserver``."""
        return next((runner for pod, runner in self._runners.values() if pod.component == component), None)

    def pod(self, component: str) -> StaticPod | None:
        """The static pod that runs under a name without the node's."""
        return next((pod for pod, _ in self._runners.values() if pod.component == component), None)

    @property
    def settled(self) -> bool:
        """Whether what runs is what the directory holds now."""
        return self.manifests.settled and not self._ending

    def waiting(self) -> list[StaticPod]:
        """Static pods that wait for one of the same full name to end."""
        return self._queue.waiting()

    def begin(self) -> None:
        """Start what the directory holds; `run` follows it from then on."""
        self.manifests.poll()  # what is there at the start is not being written: it need not settle
        self._look()

    async def run(self) -> None:
        """Follow the directory until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(_POLL_S)

    def halt(self, components: Iterable[str]) -> None:
        """Suspend the processes of static pods that are about to be stopped."""
        for component in components:
            runner = self.runner(component)
            for pid in runner.processes.values() if runner is not None else ():
                os.kill(pid, signal.SIGSTOP)

    async def stop(self, *, grace_s: float) -> None:
        """End every static pod and forget the directory; `run` must have been cancelled."""
        # First of all: what waits for one of these to end must not start now.
        self._queue = StaticPodQueue()
        for pod, _ in self.runners:
            self._end(pod, grace_s=grace_s)
        await asyncio.gather(*self._ending.values())
        self.manifests = ManifestDirectory(path=self.manifests.path, node_name=self.manifests.node_name)

    def _look(self) -> None:
        pods = self.manifests.poll()
        if pods is not None:
            for pod in self._queue.update(pods):
                self._end(pod)
            self._start_what_may()

    def _start_what_may(self) -> None:
        for pod in self._queue.startable():
            runner = self._make_runner(pod)
            self._runners[pod.uid] = (pod, runner)
            runner.start(after=self._ready_to_start(pod))
            self._changed(pod)

    def _end(self, pod: StaticPod, *, grace_s: float = STOP_GRACE_S) -> None:
        if pod.uid not in self._ending:
            self._ending[pod.uid] = asyncio.create_task(self._stop(pod, grace_s))

    async def _stop(self, pod: StaticPod, grace_s: float) -> None:
        await self._runners[pod.uid][1].stop(grace_s=grace_s)
        del self._runners[pod.uid]
        del self._ending[pod.uid]
        self._queue.ended(pod)
        self._changed(pod)
        self._start_what_may()
