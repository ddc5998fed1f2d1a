"""Startup, readiness and liveness probes of one container, with the kubelet's meaning and without a thread.

Meaning follows Kubernetes 1.37 (``pkg/kubelet/prober``, ``pkg/probe``): other probes wait for the startup probe;
readiness begins as failed, liveness as succeeded; a result counts once its threshold is reached in a row; a liveness or
startup failure ends probing, because the container is to be restarted.

Deviations, on purpose:

- A container that is not ready (or not started) is probed every `EAGER_PERIOD_S` instead of every ``periodSeconds``, so
  that a lab does not wait ten seconds for a server that came up after one. Failures of a startup probe still count at
  most once per ``periodSeconds``, so its deadline stays what the Pod asked for; events, too, are sent at most once per
  ``periodSeconds``.
- See `probe_requests` for what is asked, and of whom.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cluster.embedded.probe_requests import ProbeResult, RunInContainer

EAGER_PERIOD_S = 0.1
"""How often a container that is not ready is probed."""


class ProbeKind(StrEnum):
    """The three probes of a container; the value is what the kubelet's events start with."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


class ProbeEvents(Protocol):
    """What a `Prober` reports; called in the event loop, must not block."""

    def container_started(self) -> None:
        """The startup probe has succeeded, or there is none."""

    def readiness_changed(self, ready: bool) -> None:  # noqa: FBT001 - a callback with one obvious argument
        """The container became ready or ceased to be."""

    def probe_failed(self, kind: ProbeKind, message: str) -> None:
        """For a Warning event with reason Unhealthy: ``Readiness probe failed: ...``."""

    def restart_wanted(self, kind: ProbeKind) -> None:
        """The liveness or startup probe has failed for good: the container is to be stopped and started again."""


class Prober:
    """Probes one run of one container. Make a new one for the next run.

    Args:
        container: the container of the Pod.
        address: the Pod's address.
        events: who is told.
        run_in_container: runs an exec probe's command: (argv, timeout in seconds) to (exit code, output).
        eager_period_s: how often a container that is not ready is probed.
    """

    def __init__(
        self,
        container: Mapping[str, Any],
        *,
        address: str,
        events: ProbeEvents,
        run_in_container: RunInContainer,
        eager_period_s: float = EAGER_PERIOD_S,
    ) -> None:
        self._container = container
        self._address = address
        self._events = events
        self._run_in_container = run_in_container
        self._eager_period_s = eager_period_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin probing; the container's process has just been started."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End probing; nothing is reported after this. A prober that was not started is no error."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        begun = time.monotonic()
        if (startup := self._container.get("startupProbe")) and not await self._startup(startup, begun):
            return
        self._events.container_started()
        readiness, liveness = self._container.get("readinessProbe"), self._container.get("livenessProbe")
        if not readiness:
            self._events.readiness_changed(ready=True)
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._readiness(readiness, begun))
            if liveness:
                group.create_task(self._liveness(liveness, begun))

    async def _startup(self, spec: Mapping[str, Any], begun: float) -> bool:
        kind, period_s = ProbeKind.STARTUP, _period_s(spec)
        await _until_delay_is_over(spec, begun)
        failures, counted_at = 0, float("-inf")
        while True:
            result = await self._probe(spec)
            if result.ok:
                return True  # its successThreshold can only be 1
            if time.monotonic() - counted_at >= period_s:
                failures, counted_at = failures + 1, time.monotonic()
                self._events.probe_failed(kind, f"{kind} probe failed: {result.output}")
            if failures >= _failure_threshold(spec):
                self._events.restart_wanted(kind)
                return False
            await asyncio.sleep(min(self._eager_period_s, period_s))

    async def _readiness(self, spec: Mapping[str, Any], begun: float) -> None:
        kind, period_s = ProbeKind.READINESS, _period_s(spec)
        await _until_delay_is_over(spec, begun)
        ready, in_a_row, last_ok, reported_at = False, 0, None, float("-inf")
        while True:
            result = await self._probe(spec)
            in_a_row = in_a_row + 1 if result.ok == last_ok else 1
            last_ok = result.ok
            if not result.ok and time.monotonic() - reported_at >= period_s:
                reported_at = time.monotonic()
                self._events.probe_failed(kind, f"{kind} probe failed: {result.output}")
            threshold = int(spec.get("successThreshold") or 1) if result.ok else _failure_threshold(spec)
            if result.ok != ready and in_a_row >= threshold:
                ready = result.ok
                self._events.readiness_changed(ready)
            await asyncio.sleep(period_s if ready else min(self._eager_period_s, period_s))

    async def _liveness(self, spec: Mapping[str, Any], begun: float) -> None:
        kind = ProbeKind.LIVENESS
        await _until_delay_is_over(spec, begun)
        failures = 0
        while True:
            result = await self._probe(spec)
            failures = 0 if result.ok else failures + 1
            if not result.ok:
                self._events.probe_failed(kind, f"{kind} probe failed: {result.output}")
            if failures >= _failure_threshold(spec):
                self._events.restart_wanted(kind)
                return
            await asyncio.sleep(_period_s(spec))

    async def _probe(self, spec: Mapping[str, Any]) -> ProbeResult:
        # Loaded by the first probe, because the static pods are started before the HTTP library is.
        from lab.cluster.embedded.probe_requests import probe_once  # noqa: PLC0415

        return await probe_once(
            spec, container=self._container, address=self._address, run_in_container=self._run_in_container
        )


def _period_s(spec: Mapping[str, Any]) -> float:
    return float(spec.get("periodSeconds") or 10)


def _failure_threshold(spec: Mapping[str, Any]) -> int:
    return int(spec.get("failureThreshold") or 3)


async def _until_delay_is_over(spec: Mapping[str, Any], begun: float) -> None:
    await asyncio.sleep(max(0.0, begun + float(spec.get("initialDelaySeconds") or 0) - time.monotonic()))
