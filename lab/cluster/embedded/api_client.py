"""A small asynchronous client of the API server, for a supervisor that must not have a second thread.

The official Python client is synchronous and starts thread pools; the supervisor forks, and forking is safe only
while there is one thread. This client speaks plain JSON over aiohttp and asks for server addresses that are
numbers, because resolving a name would start aiohttp's (and asyncio's) resolver thread.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import aiohttp
import yaml
from yarl import URL

from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from lab.cluster.embedded.api_errors import JsonObject

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
DEFAULT_USER_AGENT = "lab-supervisor"

_CONNECT_TIMEOUT_S = 3.0
_REQUEST_TIMEOUT_S = 40.0
"""Longer than the 34 s after which the API server itself ends a request, so that its own answer is seen."""
_WATCH_SLACK_S = 30.0
_OK = 200
_MULTIPLE_CHOICES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One event of a watch.

    Attributes:
        type: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``; an ``ERROR`` is raised, never yielded.
        object: the object after the change (before it, for ``DELETED``).
    """

    type: str
    object: JsonObject


class ApiClient:
    """A client of one API server; paths are absolute, for example ``/api/v1/namespaces/default/pods``.

    Must be made inside a running event loop, and closed.

    Args:
        server: URL whose host is an IP address.
        ssl_context: how to verify the server and who to be; None for plain HTTP.
        bearer_token: sent with every request when given.
        user_agent: what the audit log will show.

    Raises:
        InputError: ``api-server-address``: the host is a name.
    """

    def __init__(
        self,
        server: str,
        ssl_context: ssl.SSLContext | None,
        *,
        bearer_token: str | None = None,
        user_agent: str = DEFAULT_USER_AGENT,
    ) -> None:
        self._base = URL(server)
        _require_address(server, self._base.host)
        headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if bearer_token:
            headers["Authorization"] = f"Bearer {bearer_token}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=True if ssl_context is None else ssl_context),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S),
            trust_env=False,
        )

    @classmethod
    def from_kubeconfig(cls, path: Path, *, user_agent: str = DEFAULT_USER_AGENT) -> Self:
        """A client for the current context of a kubeconfig file (certificates embedded or in files).

        Raises:
            InputError: ``kubeconfig-invalid``: it cannot be read, or names nothing to connect to.
        """
        try:
            cluster, user = _current_context(path)
            return cls(
                cluster["server"],
                _ssl_context(cluster, user, path.parent),
                bearer_token=user.get("token"),
                user_agent=user_agent,
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration, ssl.SSLError) as error:
            raise InputError(
                "kubeconfig-invalid",
                f"the kubeconfig cannot be used: {type(error).__name__}: {error}",
                hint="make it again with `lab kubeconfig`, or mend the context, cluster and user that it names",
                context={"file": str(path)},
            ) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop every connection."""
        await self._session.close()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> JsonObject:
        """Read an object or a list."""
        return _decode(await self._send("GET", path, params=params))

    async def get_text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Read what is not JSON, such as ``/readyz``."""
        return (await self._send("GET", path, params=params, accept="*/*")).decode(errors="replace")

    async def create(self, path: str, body: JsonObject, params: Mapping[str, str] | None = None) -> JsonObject:
        """Create an object in the collection at ``path``."""
        return _decode(await self._send("POST", path, body=body, params=params))

    async def update(self, path: str, body: JsonObject, params: Mapping[str, str] | None = None) -> JsonObject:
        """Replace the object at ``path``."""
        return _decode(await self._send("PUT", path, body=body, params=params))

    async def patch(
        self,
        path: str,
        body: JsonObject | list[JsonObject],
        *,
        content_type: str = MERGE_PATCH,
        params: Mapping[str, str] | None = None,
        field_manager: str | None = None,
    ) -> JsonObject:
        """Change the object at ``path``."""
        query = dict(params or {})
        if field_manager:
            query["fieldManager"] = field_manager
        return _decode(await self._send("PATCH", path, body=body, params=query, content_type=content_type))

    async def apply(self, path: str, body: JsonObject, *, field_manager: str, force: bool = True) -> JsonObject:
        """Server-side apply: make or change the object at ``path`` so that these fields are as given."""
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return _decode(await self._send("PATCH", path, body=body, params=query, content_type=APPLY_PATCH))

    async def delete(
        self, path: str, body: JsonObject | None = None, params: Mapping[str, str] | None = None
    ) -> JsonObject:
        """Delete the object at ``path``; ``body`` is a ``DeleteOptions``."""
        return _decode(await self._send("DELETE", path, body=body, params=params))

    async def watch(
        self, path: str, params: Mapping[str, str] | None = None, *, timeout_s: float = 300.0
    ) -> AsyncGenerator[WatchEvent, None]:
        """Follow the changes of the collection at ``path`` until the server ends the stream after ``timeout_s``.

        Leave the iteration early only under ``contextlib.aclosing``, so that the connection is closed at once.

        Raises:
            ApiError: the server refused, or sent an ``ERROR`` event.
            ApiUnavailable: the connection broke.
        """
        request = f"WATCH {path}"
        query = {**(params or {}), "watch": "true", "timeoutSeconds": str(max(1, int(timeout_s)))}
        patience = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=timeout_s + _WATCH_SLACK_S
        )
        try:
            async with self._session.get(self._base.join(URL(path)), params=query, timeout=patience) as response:
                if not _OK <= response.status < _MULTIPLE_CHOICES:
                    raise _refusal(request, response.status, await response.read())
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError.from_status(event["object"], request=request)
                    yield WatchEvent(type=event["type"], object=event["object"])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiUnavailable(request=request, cause=error) from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        request = f"{method} {path}"
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        try:
            async with self._session.request(
                method, self._base.join(URL(path)), params=params, data=data, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
                if not _OK <= response.status < _MULTIPLE_CHOICES:
                    raise _refusal(request, response.status, content)
                return content
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnavailable(request=request, cause=error) from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """The stream's lines, of any length: aiohttp's own line reader gives up beyond a fixed size."""
    pending: list[bytes] = []
    async for chunk in stream.iter_any():
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        for start in rest:
            line = b"".join(pending)
            pending = [start]
            if line:
                yield line


def _decode(content: bytes) -> JsonObject:
    try:
        decoded = json.loads(content)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise LabError(
            "api-answer-shape",
            "the API server answered with something else than a JSON object",
            hint="see whether the address is an API server's",
            context={"answer": content[:200].decode(errors="replace")},
        )
    return decoded


def _refusal(request: str, status: int, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("kind") == "Status":
        return ApiError.from_status(body, request=request, status=status)
    message = content.decode(errors="replace").strip()
    return ApiError(request=request, status=status, reason="", message=message, body={})


def _require_address(server: str, host: str | None) -> None:
    try:
        ipaddress.ip_address(host or "")
    except ValueError as error:
        raise InputError(
            "api-server-address",
            f"the API server's host must be an IP address, not {host!r}: resolving a name would start a thread",
            hint="use the address in place of the name, for example https://127.0.0.1:6443",
            context={"server": server},
        ) from error


def _current_context(path: Path) -> tuple[JsonObject, JsonObject]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    config = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader either way

    def named(section: str, name: str) -> JsonObject:
        for entry in config.get(section) or []:
            if entry["name"] == name:
                found: JsonObject = entry[section.removesuffix("s")]
                return found
        raise KeyError(f"{section}: {name}")

    context = named("contexts", config["current-context"])
    return named("clusters", context["cluster"]), named("users", context["user"])


def _ssl_context(cluster: JsonObject, user: JsonObject, base: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", base)
    context = ssl.create_default_context(cadata=None if authority is None else authority.decode())
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(user, "client-certificate", base)
    key = _material(user, "client-key", base)
    if certificate and key:
        # ssl reads key pairs only from files; an anonymous file in memory never touches a disk.
        descriptor = os.memfd_create("client-key-pair", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(certificate + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    return context


def _material(section: JsonObject, name: str, base: Path) -> bytes | None:
    """Certificate or key, embedded as ``<name>-data`` or in the file ``<name>``; relative to the kubeconfig."""
    if embedded := section.get(f"{name}-data"):
        return base64.b64decode(embedded)
    if file := section.get(name):
        return base.joinpath(str(file)).read_bytes()
    return None
