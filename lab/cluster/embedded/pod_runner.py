"""Runs the containers of one Pod as sandboxed processes, and knows how they are: for static pods and workloads alike.

What differs between the two (where programs, mounts, addresses and services come from) is handed in as a `PodWorld`.
What a kubelet does with containers is the same: init containers first, restarts with back-off, probes, logs, a grace
time at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from lab.cluster.embedded import pod_status as ps
from lab.cluster.embedded.backoff import Backoff, go_duration
from lab.cluster.embedded.container_process import ContainerProcess
from lab.cluster.embedded.pod_environment import (
    ContainerConfigError,
    EnvironmentObjects,
    ObjectReader,
    PodContext,
    container_argv,
    container_environment,
    load_environment_objects,
    pod_hostname,
    process_environment,
)
from lab.cluster.embedded.pod_logs import container_log_path, link_container_log
from lab.cluster.embedded.sandbox import Bind, SandboxSpec
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from lab.cluster.embedded.children import Children
    from lab.cluster.embedded.probes import ProbeKind
    from lab.cluster.embedded.programs import Program

_RETRY_S = 0.1
"""How soon a container is tried again that waits for a Secret, a volume or the like."""
_START_ERROR_EXIT_CODE = 128
"""Exit code that containerd gives a container whose process could not be started."""


class MountSource(Protocol):
    """Prepares a Pod's volumes and says what a container mounts."""

    async def mounts(self, container: Mapping[str, Any]) -> Sequence[Bind]:
        """What the container mounts; raises `LabError` while a volume cannot be had."""

    async def close(self) -> None:
        """Release the volumes."""


class RunnerEvents(Protocol):
    """What a `PodRunner` reports; called in the event loop, must not block."""

    def changed(self) -> None:
        """Something in the Pod's status is different now."""

    def event(self, kind: str, reason: str, message: str) -> None:
        """A Kubernetes event: type ``Normal`` or ``Warning``, reason, message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodWorld:
    """What a Pod gets from its node.

    Attributes:
        children: starts and reaps processes.
        program: image to program, None when the node has none.
        image_id: image to ``repository@sha256:...``; raises `LabError` when the registry lacks it.
        mounts: the Pod's volumes.
        sandbox_root: an empty directory to put roots together on.
        log_root: the node's ``/var/log/pods``.
        log_links: the node's ``/var/log/containers``.
        node_ip: the node's address.
        pod_ip: the Pod's address.
        network: descriptor of its network namespace; None for the node's.
        hosts: gives the content of ``/etc/hosts`` when a container starts.
        resolv_conf: content of ``/etc/resolv.conf``.
        services: gives the Services whose variables the containers get, when a container starts.
        objects: reads Secrets and ConfigMaps; None for static pods, which may not refer to any.
        backoff: restarts of containers.
        pulls: attempts to get an image.
    """

    children: Children
    program: Callable[[str], Program | None]
    image_id: Callable[[str], Awaitable[str]]
    mounts: MountSource
    sandbox_root: Path
    log_root: Path
    log_links: Path
    node_ip: str
    pod_ip: str
    network: int | None
    hosts: Callable[[], str]
    resolv_conf: str
    services: Callable[[], Sequence[Mapping[str, Any]]]
    objects: ObjectReader | None
    backoff: Backoff
    pulls: Backoff


class PodRunner:
    """Runs one Pod until it is stopped or has ended for good.

    Args:
        pod: the v1.Pod; `update` gives a newer one.
        world: what its node gives it.
        events: who is told.
    """

    def __init__(self, pod: Mapping[str, Any], *, world: PodWorld, events: RunnerEvents) -> None:
        self.pod = pod
        self._world = world
        self._events = events
        self._states: dict[str, ps.ContainerState] = {}
        self._running: dict[str, ContainerProcess] = {}
        self._ended_at: dict[str, float] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._start_time = datetime.now(UTC)
        self._task: asyncio.Task[None] | None = None
        self._terminating = False
        self._was_ready = ps.condition_status(pod, "Ready") == "True"

    @property
    def states(self) -> Mapping[str, ps.ContainerState]:
        """What is known of each container."""
        return self._states

    @property
    def processes(self) -> dict[str, int]:
        """Container name to process id in the lab, of those that run."""
        return {name: process.child.pid for name, process in self._running.items()}

    @property
    def pod_ip(self) -> str:
        """Its address."""
        return self._world.pod_ip

    @property
    def ready(self) -> bool:
        """Whether every container is ready."""
        names = [container["name"] for container in self.pod["spec"]["containers"]]
        return all(self._state(name).ready for name in names)

    @property
    def coming_back(self) -> bool:
        """Whether its status said ready before it was run here, and it is on its way there with nothing gone wrong.

        So it is with the Pods of a template and of a reset: on a real node they would not have ceased to run.
        """
        return self._was_ready and not self._terminating and all(one.undisturbed for one in self._states.values())

    @property
    def terminating(self) -> bool:
        """Whether it is being stopped."""
        return self._terminating

    def update(self, pod: Mapping[str, Any]) -> None:
        """Take a newer version of the Pod object (its status and metadata; what runs cannot change)."""
        self.pod = pod

    def start(self, *, after: Awaitable[None] | None = None) -> None:
        """Begin to run the Pod, once ``after`` is there."""
        self._task = asyncio.create_task(self._run(after), name=f"pod {self.pod['metadata']['name']}")

    async def stop(self, *, grace_s: float) -> None:
        """End every container: SIGTERM, then SIGKILL after the grace time; volumes are released."""
        self._terminating = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.gather(*(process.stop(grace_s=grace_s) for process in self._running.values()))
        await asyncio.gather(*self._watchers)
        await self._world.mounts.close()
        self._events.changed()

    def status(self) -> dict[str, Any]:
        """The v1.PodStatus as it is now."""
        facts = ps.PodFacts(
            now=datetime.now(UTC),
            start_time=self._start_time,
            node_ip=self._world.node_ip,
            pod_ip=self._world.pod_ip,
            terminating=self._terminating,
        )
        return ps.pod_status(self.pod, self._states, facts)

    def log_path(self, container: str, *, previous: bool = False) -> Path | None:
        """The log file of a container's present or previous run; None when there is none."""
        state = self._states.get(container)
        if state is None or state.current is None or (previous and state.restart_count == 0):
            return None
        return self._log_path(container, state.restart_count - (1 if previous else 0))

    # --- the loop --------------------------------------------------------------------------------------------------

    async def _run(self, after: Awaitable[None] | None) -> None:
        if after is not None:
            await after
        while True:
            self._wake.clear()
            delays = [await self._try_start(name) for name in ps.containers_to_start(self.pod["spec"], self._states)]
            waits = [delay for delay in delays if delay > 0]
            if not waits and not self._running and not ps.containers_to_start(self.pod["spec"], self._states):
                return  # Succeeded or Failed: nothing is left to do
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(waits, default=None))

    async def _try_start(self, name: str) -> float:
        """Start a container if its time has come; returns how long to wait before the next attempt, else 0."""
        wait_s = self._world.backoff.remaining_s(self._key(name), since=self._ended_at.get(name, 0.0))
        if name in self._ended_at and wait_s > 0:
            self._set(name, waiting=self._crash_loop(name))
            return wait_s
        container = self._container(name)
        try:
            program, image_id = await self._image(container["image"])
        except _ImageMissingError as missing:
            self._set(name, waiting=missing.waiting)
            return missing.retry_s
        try:
            await self._start(name, container, program, image_id)
        except ContainerConfigError as error:
            self._set(name, waiting=ps.container_config_error(error.message))
            return _RETRY_S
        except LabError as error:
            if self._state(name).waiting is None:
                self._events.event("Warning", "FailedMount", error.message)
            self._set(name, waiting=ps.Waiting(reason="ContainerCreating", message=error.message))
            return _RETRY_S
        return 0.0

    async def _image(self, image: str) -> tuple[Program, str]:
        """The program of an image and its imageID, asked anew for every start, as imagePullPolicy Always would."""
        key = f"image {image}"
        if (wait_s := self._world.pulls.remaining_since_advance_s(key)) > 0:
            raise _ImageMissingError(ps.image_pull_back_off(image, "it could not be had"), retry_s=wait_s)
        try:
            image_id = await self._world.image_id(image)
            program = self._world.program(image)
        except LabError as error:
            problem = error.message
        else:
            if program is not None:
                return program, program.image_id or image_id
            problem = f'failed to pull and unpack image "{image}": the lab has no program for it'
        self._world.pulls.advance(key, since=time.monotonic())
        self._events.event("Warning", "Failed", f'Failed to pull image "{image}": {problem}')
        raise _ImageMissingError(ps.image_pull_failed(problem), retry_s=self._world.pulls.window_s(key))

    async def _start(self, name: str, container: Mapping[str, Any], program: Program, image_id: str) -> None:
        binds = tuple(await self._world.mounts.mounts(container))
        environment = await self._environment(container)
        state = self._state(name)
        if (ended := self._ended_at.get(name)) is not None:
            self._world.backoff.advance(self._key(name), since=ended)
        restart = state.restart_count + (1 if state.current else 0)
        run = ps.Run(container_id=f"lab://{secrets.token_hex(32)}", started_at=datetime.now(UTC))
        self._states[name] = ps.ContainerState(
            image_id=image_id, current=run, previous=state.current, restart_count=restart
        )

        def sandbox(stdout: int, stderr: int) -> SandboxSpec:
            host_network = self.pod["spec"].get("hostNetwork")
            return SandboxSpec(
                argv=tuple(
                    container_argv(
                        container, environment, entrypoint=program.entrypoint, default_args=program.arguments
                    )
                ),
                environment=process_environment(self.pod, environment, image=dict(program.environment)),
                working_directory=container.get("workingDir") or "/",
                root=self._world.sandbox_root,
                binds=(*program.binds, *binds),
                hosts=self._world.hosts(),
                resolv_conf=self._world.resolv_conf,
                hostname=None if host_network else pod_hostname(self.pod),
                network=self._world.network,
                stdout=stdout,
                stderr=stderr,
            )

        log_path = self._log_path(name, restart)
        label = f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}/{name}"
        try:
            process = ContainerProcess(label, children=self._world.children, sandbox=sandbox, log_path=log_path)
        except LabError as error:
            self._ended(name, _START_ERROR_EXIT_CODE, message=error.message, reason="StartError")
            return
        metadata = self.pod["metadata"]
        link_container_log(
            self._world.log_links,
            log_path,
            namespace=metadata["namespace"],
            pod=metadata["name"],
            container=name,
            container_id=run.container_id,
        )
        self._running[name] = process
        process.probe(container, address=self._world.pod_ip, events=_ContainerEvents(self, name, process))
        watcher = asyncio.create_task(self._watch(name, process))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        self._events.changed()

    async def _watch(self, name: str, process: ContainerProcess) -> None:
        exit_code = await process.ended()
        del self._running[name]
        self._ended(name, exit_code)

    def _ended(self, name: str, exit_code: int, *, message: str = "", reason: str = "") -> None:
        state = self._state(name)
        if state.current is None:
            raise AssertionError(f"container {name} ended without having been started")
        self._ended_at[name] = time.monotonic()
        finished = replace(
            state.current, finished_at=datetime.now(UTC), exit_code=exit_code, message=message, reason=reason
        )
        self._set(name, current=finished, started=False, ready=False)

    # --- what is known ---------------------------------------------------------------------------------------------

    def _state(self, name: str) -> ps.ContainerState:
        return self._states.get(name, ps.ContainerState())

    def _set(self, name: str, **changes: Any) -> None:
        changed = replace(self._state(name), **changes)
        if changed != self._states.get(name):
            self._states[name] = changed
            self._was_ready = self.coming_back and not self.ready
            self._wake.set()
            self._events.changed()

    def _crash_loop(self, name: str) -> ps.Waiting:
        metadata = self.pod["metadata"]
        window = go_duration(self._world.backoff.window_s(self._key(name)))
        return ps.crash_loop(
            back_off=window, container=name, namespace=metadata["namespace"], pod=metadata["name"], uid=metadata["uid"]
        )

    def _container(self, name: str) -> Mapping[str, Any]:
        spec = self.pod["spec"]
        containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
        found: Mapping[str, Any] = next(one for one in containers if one["name"] == name)
        return found

    async def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        objects = EnvironmentObjects()
        if self._world.objects is not None:
            namespace = self.pod["metadata"]["namespace"]
            objects = await load_environment_objects(self._world.objects, namespace, container)
        context = PodContext(
            pod=self.pod,
            pod_ip=self._world.pod_ip,
            node_ip=self._world.node_ip,
            services=self._world.services(),
        )
        return container_environment(context, container, objects)

    def _key(self, name: str) -> str:
        return f"{self.pod['metadata']['uid']} {name}"

    def _log_path(self, name: str, restart: int) -> Path:
        metadata = self.pod["metadata"]
        return container_log_path(
            self._world.log_root,
            namespace=metadata["namespace"],
            pod=metadata["name"],
            uid=metadata["uid"],
            container=name,
            restart=restart,
        )


class _ImageMissingError(Exception):
    """An image that cannot be had now: what the container waits with, and for how long."""

    def __init__(self, waiting: ps.Waiting, *, retry_s: float) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting
        self.retry_s = retry_s


class _ContainerEvents:
    """What the probes of one run report, taken into the Pod's state."""

    def __init__(self, runner: PodRunner, name: str, process: ContainerProcess) -> None:
        self._runner = runner
        self._name = name
        self._process = process

    def container_started(self) -> None:
        self._runner._set(self._name, started=True)  # noqa: SLF001 - one class in two parts

    def readiness_changed(self, ready: bool) -> None:  # noqa: FBT001 - the callback's signature is the prober's
        self._runner._set(self._name, ready=ready)  # noqa: SLF001

    def probe_failed(self, kind: ProbeKind, message: str) -> None:
        del kind
        self._runner._events.event("Warning", "Unhealthy", message)  # noqa: SLF001

    def restart_wanted(self, kind: ProbeKind) -> None:
        text = f"Container {self._name} failed {kind.value.lower()} probe, will be restarted"
        self._runner._events.event("Normal", "Killing", text)  # noqa: SLF001
        self._process.kill()
