"""Startup, readiness and liveness probes of one container, with the kubelet's meaning and without a thread.

Meaning follows Kubernetes 1.37 (``pkg/kubelet/prober``, ``pkg/probe``): other probes wait for the startup probe;
readiness begins as failed, liveness as succeeded; a result counts once its threshold is reached in a row; a liveness or
startup failure ends probing, because the container is to be restarted.

Deviations, on purpose:

- A container that is not ready (or not started) is probed every `EAGER_PERIOD_S` instead of every ``periodSeconds``, so
  that a lab does not wait ten seconds for a server that came up after one. Failures of a startup probe still count at
  most once per ``periodSeconds``, so its deadline stays what the Pod asked for; events, too, are sent at most once per
  ``periodSeconds``.
- Hosts are IP addresses (or ``localhost``): resolving a name would start a thread in a process that forks.
- grpc probes fail with a text that says so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

EAGER_PERIOD_S = 0.1
"""How often a container that is not ready is probed."""

_USER_AGENT = "kube-probe/1.37"
_MAX_BODY_BYTES = 10 * 1024
_MAX_REDIRECTS = 10
_SUCCESS, _REDIRECT, _FAILURE = 200, 300, 400


class ProbeKind(StrEnum):
    """The three probes of a container; the value is what the kubelet's events start with."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One answer of a probe.

    Attributes:
        ok: whether it succeeded.
        output: why not, for the event.
    """

    ok: bool
    output: str = ""


RunInContainer: TypeAlias = "Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]"
"""Runs an argv in the container within a time limit (seconds) to its exit code and output; TimeoutError beyond it."""


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
        return await probe_once(
            spec, container=self._container, address=self._address, run_in_container=self._run_in_container
        )


async def probe_once(
    spec: Mapping[str, Any],
    *,
    container: Mapping[str, Any],
    address: str,
    run_in_container: RunInContainer,
) -> ProbeResult:
    """Ask once. A probe that cannot be carried out has failed, with the reason as its output.

    Args:
        spec: the v1.Probe.
        container: its container, for ports by name.
        address: the Pod's address, used when the probe names no host.
        run_in_container: as for `Prober`.
    """
    timeout_s = float(spec.get("timeoutSeconds") or 1)
    if action := spec.get("httpGet"):
        return await _http_get(action, container, address, timeout_s)
    if action := spec.get("tcpSocket"):
        return await _tcp_socket(action, container, address, timeout_s)
    if action := spec.get("exec"):
        return await _exec(action, run_in_container, timeout_s)
    if "grpc" in spec:
        return ProbeResult(ok=False, output="grpc probes are not offered by the lab's embedded backend")
    return ProbeResult(ok=False, output="missing probe handler")


async def _http_get(
    action: Mapping[str, Any], container: Mapping[str, Any], address: str, timeout_s: float
) -> ProbeResult:
    port = resolve_port(action["port"], container)
    host = _literal_address(action.get("host") or address)
    if port is None or host is None:
        return _unresolved(action, host)
    headers: list[tuple[str, str]] = [(one["name"], one.get("value", "")) for one in action.get("httpHeaders") or ()]
    names = {name.lower() for name, _ in headers}
    defaults = {"User-Agent": _USER_AGENT, "Accept": "*/*"}
    headers += [(name, value) for name, value in defaults.items() if name.lower() not in names]
    scheme = str(action.get("scheme") or "HTTP").lower()
    url = _url(scheme, host, port, str(action.get("path") or "/"))
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            status = await _status_of(session, url, headers)
    except TimeoutError:
        deadline = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return ProbeResult(ok=False, output=f'Get "{url}": {deadline}')
    except (aiohttp.ClientError, OSError) as error:
        return ProbeResult(ok=False, output=f'Get "{url}": {_reason(error, host, port)}')
    if _SUCCESS <= status < _FAILURE:
        return ProbeResult(ok=True)
    return ProbeResult(ok=False, output=f"HTTP probe failed with statuscode: {status}")


async def _status_of(session: aiohttp.ClientSession, url: URL, headers: Sequence[tuple[str, str]]) -> int:
    """The final status; redirects to the same host are followed, one elsewhere is an answer (a success)."""
    for _ in range(_MAX_REDIRECTS):
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            await response.content.read(_MAX_BODY_BYTES)
            location = response.headers.get("Location")
            if not _REDIRECT <= response.status < _FAILURE or location is None:
                return response.status
            target = url.join(URL(location))
            if target.host != url.host:
                return response.status
            url = target
    raise aiohttp.ClientError(f"stopped after {_MAX_REDIRECTS} redirects")


async def _tcp_socket(
    action: Mapping[str, Any], container: Mapping[str, Any], address: str, timeout_s: float
) -> ProbeResult:
    port = resolve_port(action["port"], container)
    host = _literal_address(action.get("host") or address)
    if port is None or host is None:
        return _unresolved(action, host)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return ProbeResult(ok=False, output=f"dial tcp {_join(host, port)}: i/o timeout")
    except OSError as error:
        return ProbeResult(ok=False, output=_reason(error, host, port))
    writer.close()
    with suppress(OSError):  # the answer is known; how the connection ends does not matter
        await writer.wait_closed()
    return ProbeResult(ok=True)


async def _exec(
    action: Mapping[str, Any],
    run_in_container: RunInContainer,
    timeout_s: float,
) -> ProbeResult:
    command = list(action.get("command") or ())
    try:
        code, output = await run_in_container(command, timeout_s)
    except TimeoutError:
        return ProbeResult(ok=False, output=f'command timed out: "{" ".join(command)}" timed out after {timeout_s:g}s')
    return ProbeResult(ok=code == 0, output=output[:_MAX_BODY_BYTES])


def resolve_port(port: int | str, container: Mapping[str, Any]) -> int | None:
    """A port by number or by its name among the container's ports; None when there is no such name."""
    if isinstance(port, int):
        return port
    for one in container.get("ports") or ():
        if one.get("name") == port:
            return int(one["containerPort"])
    return int(port) if port.isdecimal() else None


def _unresolved(action: Mapping[str, Any], host: str | None) -> ProbeResult:
    if host is None:
        text = f"host {action['host']} is a name: the lab's embedded backend probes IP addresses only"
        return ProbeResult(ok=False, output=text)
    return ProbeResult(ok=False, output=f'couldn\'t resolve port "{action["port"]}": no container port has that name')


def _literal_address(host: str) -> str | None:
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def _url(scheme: str, host: str, port: int, path: str) -> URL:
    return URL(f"{scheme}://{_join(host, port)}").join(URL(path if path.startswith("/") else f"/{path}"))


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception, host: str, port: int) -> str:
    """The error as Go's client words the two common cases; others as they are."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {_join(host, port)}: connect: connection refused"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def _period_s(spec: Mapping[str, Any]) -> float:
    return float(spec.get("periodSeconds") or 10)


def _failure_threshold(spec: Mapping[str, Any]) -> int:
    return int(spec.get("failureThreshold") or 3)


async def _until_delay_is_over(spec: Mapping[str, Any], begun: float) -> None:
    await asyncio.sleep(max(0.0, begun + float(spec.get("initialDelaySeconds") or 0) - time.monotonic()))
