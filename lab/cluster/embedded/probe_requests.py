"""One request of a probe: over HTTP, to a TCP port, or by a command; `probes` says what the answers mean.

Meaning follows Kubernetes 1.37 (``pkg/probe``). Deviations, on purpose:

- Hosts are IP addresses (or ``localhost``): resolving a name would start a thread in a process that forks.
- grpc probes fail with a text that says so.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

_USER_AGENT = "kube-probe/1.37"
_MAX_BODY_BYTES = 10 * 1024
_MAX_REDIRECTS = 10
_SUCCESS, _REDIRECT, _FAILURE = 200, 300, 400


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
    if action := spec.get("httpGet") or spec.get("tcpSocket"):
        port = resolve_port(action["port"], container)
        host = _literal_address(action.get("host") or address)
        if port is None or host is None:
            return _unresolved(action, host)
        if spec.get("httpGet"):
            return await _http_get(action, host, port, timeout_s)
        return await _tcp_socket(host, port, timeout_s)
    if action := spec.get("exec"):
        return await _exec(action, run_in_container, timeout_s)
    if "grpc" in spec:
        return ProbeResult(ok=False, output="grpc probes are not offered by the lab's embedded backend")
    return ProbeResult(ok=False, output="missing probe handler")


async def _http_get(action: Mapping[str, Any], host: str, port: int, timeout_s: float) -> ProbeResult:
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


async def _tcp_socket(host: str, port: int, timeout_s: float) -> ProbeResult:
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
