"""The node's HTTPS server on port 10250, as far as the API server asks a kubelet: logs, and refusals that explain.

``kubectl logs`` works for static pods and workloads. ``exec``, ``attach``, ``debug -it`` and ``port-forward`` need a
container that can be entered, which no Pod of the embedded backend offers: they are refused at once with a text that
kubectl shows behind ``error: unable to upgrade connection:``. Without this server they would hang or tell only of a
refused connection.

Who may ask: the API server (the common name of kubeadm's kubelet client certificate) and administrators, by a client
certificate of the cluster's CA. A real kubelet asks the API server with a SubjectAccessReview; here the two names do.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from lab.cluster.embedded.pod_logs import LogOptions, follow_log, read_log
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

PORT = 10250
"""The kubelet's port."""

_CLIENT_NAME = "kube-apiserver-kubelet-client"
_ADMIN_GROUPS = frozenset({"system:masters", "kubeadm:cluster-admins"})
_OPEN_REQUESTS_GRACE_S = 1.0


class PodKind(StrEnum):
    """How a Pod of the node is run."""

    STATIC = "static"
    """By the supervisor, from a manifest; the API server knows its mirror."""
    WORKLOAD = "workload"
    """By the supervisor, as a sandboxed process."""
    PLAYED = "played"
    """By kwok, which only writes its status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPod:
    """A Pod of this node.

    Attributes:
        kind: how it is run.
        pod: the v1.Pod with its present status, as the API server knows it.
    """

    kind: PodKind
    pod: Mapping[str, Any]


class PodDirectory(Protocol):
    """What the server asks of the supervisor; nothing may block."""

    def hosted_pods(self) -> Sequence[HostedPod]:
        """Every Pod of the node."""

    def hosted_pod(self, namespace: str, name: str) -> HostedPod | None:
        """One Pod; a static pod by the name of its mirror."""

    def log_path(self, namespace: str, name: str, container: str, *, previous: bool) -> Path | None:
        """The log of a container's latest run, or of the run before; None when there is none."""

    def run_ended(self, namespace: str, name: str, container: str) -> bool:
        """Whether the container's latest run is over (or the Pod gone), so that its log grows no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFiles:
    """What the server proves itself with, and whom it trusts.

    Attributes:
        certificate: PEM file of its certificate, chain included.
        key: PEM file of its key.
        client_ca: PEM file of the cluster's CA.
    """

    certificate: Path
    key: Path
    client_ca: Path


class KubeletServer:
    """Serves one node.

    Args:
        pods: the supervisor's knowledge.
        files: certificate, key and client CA.
    """

    def __init__(self, pods: PodDirectory, files: ServingFiles) -> None:
        self._files = files
        self._runner = web.AppRunner(
            kubelet_application(pods), access_log=None, shutdown_timeout=_OPEN_REQUESTS_GRACE_S
        )

    async def start(self, address: str, port: int = PORT) -> int:
        """Listen on an IP address; returns the port (a free one when 0 was asked for).

        Raises:
            LabError: ``kubelet-server``: the certificate cannot be used or the port is taken.
        """
        try:
            context = _server_context(self._files)
            await self._runner.setup()
            site = web.TCPSite(self._runner, address, port, ssl_context=context)
            await site.start()
        except OSError as error:  # ssl.SSLError is one too
            await self._runner.cleanup()
            raise LabError(
                "kubelet-server",
                f"the node's server cannot listen on {address}:{port}: {error}",
                hint="look at the certificate files, and at what else listens on this port inside the node",
                context={"certificate": str(self._files.certificate), "client CA": str(self._files.client_ca)},
            ) from error
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening; streams that are open get a second to end."""
        await self._runner.cleanup()


def kubelet_application(pods: PodDirectory) -> web.Application:
    """The routes of a kubelet, for `KubeletServer` and for tests."""
    handlers = _Handlers(pods)
    application = web.Application(middlewares=[_authorise])
    application.router.add_get("/healthz", handlers.healthz)
    application.router.add_get("/pods", handlers.list_pods)
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", handlers.container_logs)
    for verb in ("exec", "attach", "run"):
        application.router.add_route("*", f"/{verb}/{{namespace}}/{{pod}}/{{container}}", handlers.refuse)
        application.router.add_route("*", f"/{verb}/{{namespace}}/{{pod}}/{{uid}}/{{container}}", handlers.refuse)
    application.router.add_route("*", "/portForward/{namespace}/{pod}", handlers.refuse)
    application.router.add_route("*", "/portForward/{namespace}/{pod}/{uid}", handlers.refuse)
    return application


def _server_context(files: ServingFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.client_ca))
    context.load_cert_chain(files.certificate, files.key)
    # Optional, not required: a client without a certificate gets 401 and not a broken connection, as from a kubelet.
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


@web.middleware
async def _authorise(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    certificate = request.get_extra_info("peercert")
    if not certificate:
        return web.Response(status=HTTPStatus.UNAUTHORIZED, text="Unauthorized")
    subject = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    names = [value for key, value in subject if key == "commonName"]
    groups = {value for key, value in subject if key == "organizationName"}
    if _CLIENT_NAME not in names and not groups & _ADMIN_GROUPS:
        user = names[0] if names else ""
        text = f"Forbidden (user={user}, verb={_verb(request)}, resource=nodes, subresource(s)=[proxy])"
        return web.Response(status=HTTPStatus.FORBIDDEN, text=text)
    return await handler(request)


def _verb(request: web.Request) -> str:
    return {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}.get(request.method, "")


class _Handlers:
    def __init__(self, pods: PodDirectory) -> None:
        self._pods = pods

    async def healthz(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok")

    async def list_pods(self, request: web.Request) -> web.Response:
        del request
        items = [dict(hosted.pod) for hosted in self._pods.hosted_pods()]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def refuse(self, request: web.Request) -> web.Response:
        """Answer exec, attach, run and portForward: a plain text that kubectl shows, whether it came by SPDY or not."""
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        verb = request.path.split("/")[1]
        hosted = self._pods.hosted_pod(namespace, name)
        if hosted is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f'pod "{name}" does not exist')
        return web.Response(status=HTTPStatus.NOT_IMPLEMENTED, text=refusal(verb, hosted.kind, f"{namespace}/{name}"))

    async def container_logs(self, request: web.Request) -> web.StreamResponse:
        namespace, name, container = (request.match_info[key] for key in ("namespace", "pod", "container"))
        hosted = self._pods.hosted_pod(namespace, name)
        if hosted is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f'pod "{name}" does not exist')
        if not _has_container(hosted.pod, container):
            text = f'container "{container}" not found in pod "{name}"'
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        try:
            options = LogOptions.from_query(request.query, now=datetime.now(UTC))
        except InputError as error:
            return web.Response(status=HTTPStatus.UNPROCESSABLE_ENTITY, text=error.message)
        path = None
        if hosted.kind is not PodKind.PLAYED:
            path = self._pods.log_path(namespace, name, container, previous=options.previous)
        if path is None or not path.exists():
            text = _why_no_log(hosted, container, previous=options.previous)
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=text)
        return await self._send_log(request, path, options)

    async def _send_log(self, request: web.Request, path: Path, options: LogOptions) -> web.StreamResponse:
        key = [request.match_info[name] for name in ("namespace", "pod", "container")]
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        try:
            if options.follow and not options.previous:
                async for piece in follow_log(path, options, ended=lambda: self._pods.run_ended(*key)):
                    await response.write(piece)
            else:
                for piece in read_log(path, options):
                    await response.write(piece)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader has gone: `kubectl logs -f` ended by Ctrl-C
        return response


def refusal(verb: str, kind: PodKind, pod: str) -> str:
    """Why a Pod cannot be entered, in one line: the text that a person sees below ``kubectl exec``.

    Args:
        verb: ``exec``, ``attach``, ``run`` or ``portForward``.
        kind: how the Pod is run.
        pod: namespace and name.
    """
    word = {"portForward": "port-forward"}.get(verb, verb)
    if kind is PodKind.PLAYED:
        return (
            f"no process runs in pod {pod}: the lab's embedded backend plays it with kwok, so {word} is not possible; "
            "use the kind backend for containers that really run"
        )
    return (
        f"{word} is not offered by the lab's embedded backend (pod {pod} is a {kind.value} pod, run as a sandboxed "
        "process); use `lab node shell` to look at the node, its files and its processes"
    )


def _has_container(pod: Mapping[str, Any], name: str) -> bool:
    spec = pod["spec"]
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return any(one["name"] == name for kind in kinds for one in spec.get(kind) or ())


def _why_no_log(hosted: HostedPod, container: str, *, previous: bool) -> str:
    """Why there is no log to show, in the kubelet's words where it has any."""
    pod = hosted.pod
    name = pod["metadata"]["name"]
    if hosted.kind is PodKind.PLAYED:
        namespace = pod["metadata"]["namespace"]
        why = "the lab's embedded backend plays it with kwok, so it logs nothing"
        return f"no process runs in pod {namespace}/{name}: {why}"
    if previous:
        return f'previous terminated container "{container}" in pod "{name}" not found'
    waiting = _waiting_reason(pod, container)
    explained = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }
    return f'container "{container}" in pod "{name}" is waiting to start: {explained.get(waiting, waiting)}'


def _waiting_reason(pod: Mapping[str, Any], container: str) -> str:
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for one in status.get(kind) or ():
            if one["name"] == container:
                return str(((one.get("state") or {}).get("waiting") or {}).get("reason") or "no logs yet")
    return "no logs yet"
