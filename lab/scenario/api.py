"""The API server as checks need it: plain requests, and every answer as it came.

The Kubernetes client library reads the kubeconfig, authenticates and connects; what is asked and what came back is kept
here as it is, because a check compares the API server's own words. Kinds are resolved by asking the API server each
time, since a check is often about a kind that was made a moment ago; the library's own discovery keeps its answers in a
file that several labs would share.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

REQUEST_TIMEOUT_S = 40.0
"""Longer than the 34 s after which the API server itself gives up on a request."""

KIND_NOT_SERVED = "kind-not-served"
HTTP_CREATED, HTTP_NOT_FOUND, HTTP_CONFLICT = 201, 404, 409
PATCH_TYPES = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}

_LOADING = threading.Lock()
"""Held while a kubeconfig is loaded: the library notes a certificate's temporary file, by its content, before it has
written it, and labs that were made from one template have the same certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the API server.

    Attributes:
        method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
        path: with its query: ``/api/v1/namespaces/default/pods?dryRun=All``.
        body: an object to send as JSON; None for none.
        content_type: of the body.
        headers: further ones; a name may occur more than once.
    """

    method: str
    path: str
    body: object | None = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the API server answered.

    Attributes:
        status: the HTTP status.
        text: the body.
    """

    status: int
    text: str

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status in range(200, 300)

    @property
    def body(self) -> dict[str, Any]:
        """The object in it; empty when it holds none."""
        try:
            data = json.loads(self.text)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def message(self) -> str:
        """The Status message, or the text when it is no Status."""
        return str(self.body.get("message", "") or self.text.strip())


class Transport(Protocol):
    """Sends requests."""

    def send(self, request: Request) -> Response:
        """Send a request, once.

        Raises:
            LabError: ``api-server-unreachable``: there was no answer at all.
        """


class KubeconfigTransport:
    """Sends requests to the API server that a kubeconfig names.

    Args:
        kubeconfig: the file.
    """

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes import config  # noqa: PLC0415  # half a second to import
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

        try:
            with _LOADING:
                self._client = config.new_client_from_config(  # type: ignore[no-untyped-call]  # it has no types
                    config_file=str(kubeconfig), persist_config=False
                )
        except (ConfigException, OSError) as error:
            raise LabError(
                "kubeconfig-unusable",
                f"the kubeconfig {kubeconfig} cannot be used: {error}",
                hint="see `lab status`; `lab down` and `lab up` make a new one",
            ) from error

    def send(self, request: Request) -> Response:
        """Send a request, once, on a connection of its own: an API server that was restarted has closed the old one."""
        import urllib3  # noqa: PLC0415  # comes with the Kubernetes client

        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "supply-chain-lab"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        self._client.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, None)
        try:
            answer = self._client.rest_client.pool_manager.request(
                request.method,
                self._client.configuration.host + request.path,
                headers=urllib3.HTTPHeaderDict([*headers.items(), *request.headers]),
                body=None if request.body is None else json.dumps(request.body).encode(),
                timeout=urllib3.Timeout(total=REQUEST_TIMEOUT_S),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise LabError(
                "api-server-unreachable",
                f"the API server did not answer {request.method} {request.path}: {error}",
                hint="see `lab status` and `lab logs kube-apiserver`",
            ) from error
        return Response(status=answer.status, text=answer.data.decode("utf-8", errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind that the API server serves.

    Attributes:
        root: ``/api/v1`` or ``/apis/GROUP/VERSION``.
        plural: its name in a path.
        namespaced: whether its objects belong to a namespace.
    """

    root: str
    plural: str
    namespaced: bool

    def path(self, *, namespace: str | None, name: str | None = None, subresource: str = "", query: str = "") -> str:
        """The path of its objects, or of one of them."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = "/".join(quote(part, safe="") for part in (self.plural, name, subresource) if part)
        return f"{self.root}{inside}/{parts}{f'?{query}' if query else ''}"


class Api:
    """Objects of a cluster.

    Args:
        transport: sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """How a kind is served; None when it is not."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        answer = self.transport.send(Request(method="GET", path=root))
        if answer.status == HTTP_NOT_FOUND:
            return None
        for resource in _expect(answer, f"the kinds of {api_version}").body.get("resources", []):
            if resource["kind"] == kind and "/" not in resource["name"]:
                return Kind(root=root, plural=resource["name"], namespaced=resource["namespaced"])
        return None

    def kind_of(self, manifest: Mapping[str, Any]) -> Kind:
        """How the kind of a manifest is served.

        Raises:
            LabError: ``kind-not-served``.
        """
        kind = self.kind(manifest["apiVersion"], manifest["kind"])
        if kind is None:
            raise LabError(
                KIND_NOT_SERVED,
                f"the API server serves no {manifest['kind']} of {manifest['apiVersion']}",
                hint="apply what defines the kind first, and wait until it is served",
            )
        return kind

    def find(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        name: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[dict[str, Any]]:
        """Objects of a kind; of all namespaces without one.

        Raises:
            LabError: ``api-request-failed``.
        """
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = urlencode({key: value for key, value in selectors.items() if value})
        answer = self.transport.send(Request(method="GET", path=kind.path(namespace=namespace, name=name, query=query)))
        if answer.status == HTTP_NOT_FOUND:
            return []
        body = _expect(answer, f"{kind.plural} {name or ''}".rstrip()).body
        found: list[dict[str, Any]] = [body] if name else body.get("items") or []
        return found

    def apply(self, manifest: Mapping[str, Any], *, namespace: str) -> None:
        """Create an object or update it, by server-side apply.

        Raises:
            LabError: ``apply-failed`` with the API server's message, ``kind-not-served``.
        """
        kind = self.kind_of(manifest)
        name = manifest["metadata"]["name"]
        namespace = manifest["metadata"].get("namespace", namespace)
        query = urlencode({"fieldManager": "supply-chain-lab", "force": "true", "fieldValidation": "Strict"})
        answer = self.transport.send(
            Request(
                method="PATCH",
                path=kind.path(namespace=namespace, name=name, query=query),
                body=manifest,
                content_type="application/apply-patch+yaml",
            )
        )
        if not answer.ok:
            raise LabError(
                "apply-failed",
                f"{manifest['kind']} {name} could not be applied: {answer.message}",
                hint="mend the manifest, or see who denied it",
            )

    def pod_log(self, *, namespace: str, name: str, since_seconds: int) -> str | None:
        """The log of a Pod's only container; None when it has none yet or it cannot be had."""
        query = urlencode({"sinceSeconds": since_seconds})
        answer = self.transport.send(
            Request(method="GET", path=f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}/log?{query}")
        )
        return answer.text if answer.ok else None

    def webhooks(self) -> dict[str, str]:
        """The admission webhooks that are configured: name -> ``validating`` or ``mutating``."""
        return dict(self._webhooks("mutating", "MutatingWebhookConfiguration")) | dict(
            self._webhooks("validating", "ValidatingWebhookConfiguration")
        )

    def _webhooks(self, what: str, kind_name: str) -> Iterator[tuple[str, str]]:
        kind = self.kind_of({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind_name})
        for configuration in self.find(kind):
            for webhook in configuration.get("webhooks") or []:
                yield webhook["name"], what


def _expect(answer: Response, what: str) -> Response:
    if not answer.ok:
        raise LabError(
            "api-request-failed",
            f"the API server does not give {what}: {answer.message}",
            hint="see `lab status` and `lab logs kube-apiserver`",
            context={"HTTP status": str(answer.status)},
        )
    return answer
