"""The cluster that the lab is a guest in: its API server, asked with the rights that a kubeconfig gives.

The official client reads the kubeconfig, runs what it names for a token, and says how to connect; aiohttp connects.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CALL_TIMEOUT_S = 40.0
"""Longer than the 34 s after which an API server itself gives up on a request."""
CONNECT_TIMEOUT_S = 10.0
NOT_FOUND, CONFLICT = 404, 409
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""A list of which only the metadata is wanted (Kubernetes API concepts, "Metadata-only fetches"): the schemas of
Gatekeeper's kinds are a megabyte."""

_LOADING = threading.Lock()
"""Held while a kubeconfig is loaded: the library notes a certificate's temporary file, by its content, before it has
written it, and labs side by side have the same kubeconfig."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server answered.

    Attributes:
        status: the HTTP status.
        body: the object in it; empty when it holds none.
    """

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status in range(200, 300)

    @property
    def message(self) -> str:
        """What it says to a person."""
        return str(self.body.get("message") or f"HTTP status {self.status}")


class Upstream:
    """A cluster's API server. Made and used in one event loop.

    Args:
        kubeconfig: the file.
        context: one of its contexts; None for the current one.

    Raises:
        InputError: ``kubeconfig-unusable``.
    """

    def __init__(self, kubeconfig: Path, *, context: str | None = None) -> None:
        from kubernetes import config  # noqa: PLC0415  # half a second to import
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

        try:
            with _LOADING:
                self._client = config.new_client_from_config(  # type: ignore[no-untyped-call]  # it has no types
                    config_file=str(kubeconfig), context=context, persist_config=False
                )
        except (ConfigException, OSError) as error:
            raise InputError(
                "kubeconfig-unusable",
                f"the kubeconfig {kubeconfig} cannot be used: {error}",
                hint="give a file with which kubectl works; --context names one of its contexts",
            ) from error
        settings = self._client.configuration
        self.server = str(settings.host).rstrip("/")
        self._proxy: str | None = settings.proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_trust(settings) if self.server.startswith("https") else True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        )
        self._server_name: str | None = getattr(settings, "tls_server_name", None)

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request; whoever gets the answer reads it.

        Args:
            method: of HTTP.
            path: with its query, percent-encoded.
            body: to send.
            headers: further ones.
            timeout_s: for the whole answer; None for no bound, as a watch needs it.

        Raises:
            LabError: ``api-server-unreachable``.
        """
        # A program that a kubeconfig names for a token may run now, and takes its time.
        rights: dict[str, str] = {}
        await asyncio.to_thread(self._client.update_params_for_auth, rights, [], ["BearerToken"], path, method, None)
        sent = CIMultiDict(headers or {})
        sent.update(rights)
        try:
            return await self._session.request(
                method,
                URL(self.server + path, encoded=True),
                data=body,
                headers=sent,
                proxy=self._proxy,
                server_hostname=self._server_name,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LabError(
                "api-server-unreachable",
                f"the API server {self.server} did not answer {method} {path}: {error or type(error).__name__}",
                hint="see whether kubectl reaches it with the same kubeconfig",
            ) from error

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> Answer:
        """Send an object, or none, and read the object that comes back.

        Args:
            method: of HTTP.
            path: with its query, percent-encoded.
            body: the object to send.
            accept: the media type wanted, such as `METADATA_LIST`.

        Raises:
            LabError: ``api-server-unreachable``.
        """
        answer = await self.send(
            method,
            path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Accept": accept, "Content-Type": "application/json"},
            timeout_s=CALL_TIMEOUT_S,
        )
        async with answer:
            text = await answer.text()
        try:
            data = json.loads(text)
        except ValueError:
            data = {"message": text}
        return Answer(status=answer.status, body=data if isinstance(data, dict) else {})


def _trust(settings: Any) -> ssl.SSLContext:  # the client library has no types
    """The TLS side of a kubeconfig."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.verify_ssl:
        tls.load_default_certs()
    else:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if settings.ssl_ca_cert:
        tls.load_verify_locations(settings.ssl_ca_cert)
    if settings.cert_file:
        tls.load_cert_chain(settings.cert_file, settings.key_file)
    return tls
