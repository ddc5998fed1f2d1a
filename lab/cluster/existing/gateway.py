"""The API server as a scenario sees it: a server on this machine's loopback that hands requests on under the overlay.

Scripts reach it with kubectl and checks with their own client, by a kubeconfig that names nothing else. So whatever a
scenario does, there is one place where it is seen whether it stays within what is the lab's own, and one where it is
made to. It speaks TLS with a certificate of the lab's own CA, because clients send a token over nothing else, and only
who has the token may use the rights of the person whose kubeconfig it is.
"""

from __future__ import annotations

import json
import secrets
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml
from aiohttp import ClientError, web
from multidict import CIMultiDict

from lab.cluster.existing import protobuf
from lab.cluster.existing.overlay import OWNER_LABEL, Overlay, OverlayError
from lab.cluster.existing.requests import Target, target_of
from lab.cluster.existing.upstream import NOT_FOUND
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import aiohttp

    from lab.cluster.existing.upstream import Upstream

ADDRESS = "127.0.0.1"
_MAX_BODY = 16 * 1024 * 1024
_WITH_OBJECT = frozenset({"POST", "PUT"})
_APPLY = "application/apply-patch+"
_JSON = "application/json"
_BINARY = ("protobuf", "cbor")
_FORBIDDEN, _BAD_GATEWAY = 403, 502
_KEPT_OF_REQUEST = ("Accept", "Audit-ID", "Content-Type", "User-Agent", "Impersonate-User", "Impersonate-Group")
_KEPT_OF_ANSWER = ("Audit-Id", "Content-Type", "Retry-After", "Warning")
_MADE_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")


class Gateway:
    """Serves one lab. Everything but `overlay` belongs to the event loop in which it was started.

    Args:
        upstream: the cluster.
        directory: where its certificate lies while it runs.

    Attributes:
        overlay: the names of the present start state; a new one takes its place at a reset.
        token: what clients have to show.
        port: where it listens, once it is started.
        authority_pem: certificate of the CA that signed its own.
    """

    def __init__(self, upstream: Upstream, overlay: Overlay, *, directory: Path) -> None:
        self.overlay = overlay
        self.token = secrets.token_urlsafe(32)
        self.port = 0
        self.authority_pem = b""
        self._upstream = upstream
        self._directory = directory
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        from lab.admission.certificates import CertificateAuthority  # noqa: PLC0415 - needs cryptography

        authority = CertificateAuthority.create("lab-existing-ca")
        serving = authority.issue_server(names=[ADDRESS])
        self.authority_pem = authority.pair.certificate_pem
        certificate = self._directory / "gateway.pem"
        certificate.touch(mode=0o600)
        certificate.write_bytes(serving.certificate_pem + serving.key_pem)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, ADDRESS, 0, ssl_context=tls)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening; requests that are under way end."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return _status(401, "Unauthorized", "the token of the lab's own kubeconfig is needed")
        try:
            return await self._handed_on(request)
        except OverlayError as error:
            return _status(_FORBIDDEN, "Forbidden", f"the lab's overlay: {error}")
        except (LabError, ClientError, TimeoutError) as error:
            text = error.message if isinstance(error, LabError) else f"the API server broke off: {error}"
            return _status(_BAD_GATEWAY, "BadGateway", text)

    async def _handed_on(self, request: web.Request) -> web.StreamResponse:
        overlay = self.overlay
        path, query = request.rel_url.raw_path, dict(request.rel_url.query)
        target = target_of(path)
        body = await request.read()
        if target is None:
            if request.method not in ("GET", "HEAD"):
                raise OverlayError(f"{request.method} {path} is not handed on")
            return await self._passed(request, None, _with_query(path, query), None)
        manifest = None
        if request.method in _WITH_OBJECT or request.content_type.startswith(_APPLY):
            manifest = _object_in(request, body)
            if request.content_type == protobuf.CONTENT_TYPE and overlay.narrows(target):
                raise OverlayError(f"{target.resource} in protobuf cannot be narrowed; send JSON")
        name = target.name or (manifest or {}).get("metadata", {}).get("name")
        overlay.refuse(request.method, target, name)
        there = _with_query(overlay.target(target).path, overlay.query(target, query))
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return await self._passed(request, target, there, None)
        await self._see_whose(overlay, target, name)
        if manifest is not None:
            adapted = overlay.object(target, manifest)
            if request.content_type == protobuf.CONTENT_TYPE:
                return await self._passed(request, target, there, protobuf.with_metadata(body, adapted["metadata"]))
            written = request.content_type if request.method == "PATCH" else _JSON
            return await self._passed(request, target, there, json.dumps(adapted).encode(), content_type=written)
        if request.method == "PATCH" and not target.subresource and overlay.narrows(target):
            return await self._patched(request, target, query, body)
        change = overlay.patch(target, body) if request.method == "PATCH" else body
        return await self._passed(request, target, there, change)

    async def _see_whose(self, overlay: Overlay, target: Target, name: str | None) -> None:
        """See that an object whose name is the same in every lab is this lab's, or not there yet.

        Raises:
            OverlayError: it is somebody else's.
        """
        one = Target(root=target.root, group=target.group, resource=target.resource, namespace=None, name=name)
        if target.namespace is not None or not overlay.has_fixed_name(one):
            return
        found = await self._upstream.call("GET", one.path)
        if found.status == NOT_FOUND:
            return
        labels = found.body.get("metadata", {}).get("labels") or {}
        if labels.get(OWNER_LABEL) != overlay.run:
            raise OverlayError(f"{target.resource} {name} is in the cluster already and is not this lab's")

    async def _patched(
        self, request: web.Request, target: Target, query: Mapping[str, str], body: bytes
    ) -> web.StreamResponse:
        """Change something that decides about requests: see what would come of it, narrow that, and put it there.

        A patch says only what changes, so what it leaves cannot be seen in it.
        """
        overlay = self.overlay
        place = overlay.target(target).path
        rehearsed = await self._upstream.send(
            "PATCH",
            _with_query(place, {**query, "dryRun": "All"}),
            body=body,
            headers=_kept(request, overlay, accept=_JSON),
        )
        async with rehearsed:
            text = await rehearsed.text()
        if rehearsed.status not in range(200, 300):
            return web.Response(
                status=rehearsed.status, body=overlay.text(text).encode(), headers=_headers(rehearsed, overlay)
            )
        manifest = json.loads(overlay.text(text))
        whole = overlay.object(target, manifest)
        whole["metadata"] = {
            key: value
            for key, value in whole["metadata"].items()
            if key == "resourceVersion" or key not in _MADE_BY_THE_SERVER
        }
        kept = {key: query[key] for key in ("dryRun", "fieldManager", "fieldValidation") if key in query}
        return await self._passed(
            request, target, _with_query(place, kept), json.dumps(whole).encode(), method="PUT", content_type=_JSON
        )

    async def _passed(
        self,
        request: web.Request,
        target: Target | None,
        path: str,
        body: bytes | None,
        *,
        method: str | None = None,
        content_type: str | None = None,
    ) -> web.StreamResponse:
        """Send a request to the cluster and give its answer back under the scenario's names."""
        overlay = self.overlay
        headers = _kept(request, overlay)
        if content_type is not None:
            headers["Content-Type"] = content_type
        answer = await self._upstream.send(method or request.method, path, body=body or None, headers=headers)
        async with answer:
            if target is not None and answer.status in range(200, 300) and _is_stream(request):
                return await self._streamed(request, target, answer, overlay)
            raw = await answer.read()
            text = raw.decode("utf-8", errors="surrogateescape")
            seen = overlay.answer(target, text) if request.method == "GET" else overlay.text(text)
            return web.Response(
                status=answer.status,
                body=seen.encode("utf-8", errors="surrogateescape"),
                headers=_headers(answer, overlay),
            )

    async def _streamed(
        self, request: web.Request, target: Target, answer: aiohttp.ClientResponse, overlay: Overlay
    ) -> web.StreamResponse:
        """Hand on an answer that goes on, line by line: a watch, or a log that is followed."""
        response = web.StreamResponse(status=answer.status, headers=_headers(answer, overlay))
        await response.prepare(request)
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", errors="surrogateescape") + "\n"
                seen = overlay.event(target, text) if target.subresource != "log" else overlay.text(text)
                if seen is not None:
                    await response.write(seen.encode("utf-8", errors="surrogateescape"))
        await response.write_eof(rest)
        return response


def _is_stream(request: web.Request) -> bool:
    return request.method == "GET" and any(
        request.rel_url.query.get(key, "").lower() in ("true", "1") for key in ("watch", "follow")
    )


def _object_in(request: web.Request, body: bytes) -> dict[str, Any]:
    """The object that a request carries; of one in protobuf only the metadata.

    Raises:
        OverlayError: there is none that could be read, so nobody could say whose it is.
    """
    try:
        if request.content_type == protobuf.CONTENT_TYPE:
            return {"metadata": protobuf.metadata_in(body)}
        manifest = yaml.safe_load(body) if "yaml" in request.content_type else json.loads(body)
    except (ValueError, yaml.YAMLError) as error:
        raise OverlayError(f"the object cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise OverlayError("the request carries no object")
    return manifest


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _kept(request: web.Request, overlay: Overlay, *, accept: str = "") -> CIMultiDict[str]:
    """The headers that are handed on; answers that could not be read are not asked for."""
    kept = CIMultiDict[str]()
    for name in _KEPT_OF_REQUEST:
        for value in request.headers.getall(name, ()):
            kept.add(name, overlay.user(value) if name.startswith("Impersonate-") else value)
    asked = [one for one in kept.get("Accept", "").split(",") if not any(binary in one for binary in _BINARY)]
    kept["Accept"] = accept or ",".join(asked) or _JSON
    return kept


def _headers(answer: aiohttp.ClientResponse, overlay: Overlay) -> dict[str, str]:
    return {name: overlay.text(answer.headers[name]) for name in _KEPT_OF_ANSWER if name in answer.headers}


def _status(code: int, reason: str, message: str) -> web.Response:
    """An answer of the gateway's own, as a client of Kubernetes reads it."""
    body = {
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
        "message": message,
    }  # fmt: skip
    return web.json_response(body, status=code)
