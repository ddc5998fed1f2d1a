"""Namespaces and manifests in a lab, and probes, for tests that are no scenarios."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.errors import InputError, LabError, WaitError
from lab.scenario.api import HTTP_CONFLICT, HTTP_NOT_FOUND, Api, KubeconfigTransport, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cluster.protocol import Cluster

LABEL = "lab.supply-chain/test"
SERVICE_ACCOUNT_WAIT_S = 30.0
POLL_S = 0.05


def api_of(cluster: Cluster) -> Api:
    """The API server of a lab, asked with cluster-admin rights from outside."""
    return Api(KubeconfigTransport(cluster.kubeconfig()))


def make_namespace(api: Api) -> str:
    """Make a namespace with a name of its own; returns when Pods can be created in it.

    Raises:
        LabError: ``namespace-denied``, or a `WaitError` for its default ServiceAccount.
    """
    name = f"test-{uuid.uuid4().hex[:10]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: "true"}}}
    answer = api.transport.send(Request(method="POST", path="/api/v1/namespaces", body=body))
    if not answer.ok:
        raise LabError(
            "namespace-denied",
            f"the namespace of a test could not be made: {answer.message}",
            hint="see who denied it; while Gatekeeper is down, its webhook on namespaces denies every new one",
        )
    _wait_for_service_account(api, name)
    return name


def remove_namespace(api: Api, name: str) -> None:
    """Have a namespace deleted with all that is in it; nobody waits for the controller that does it.

    Raises:
        LabError: ``namespace-not-removed``.
    """
    answer = api.transport.send(Request(method="DELETE", path=f"/api/v1/namespaces/{name}"))
    if not answer.ok and answer.status not in (HTTP_NOT_FOUND, HTTP_CONFLICT):
        raise LabError(
            "namespace-not-removed",
            f"the namespace {name} of a test could not be removed: {answer.message}",
            hint="remove it with kubectl, or reset the lab",
        )


def objects_in(source: Path | str | Mapping[str, Any], *, directory: Path) -> list[dict[str, Any]]:
    """The objects of a manifest.

    Args:
        source: a file, the text of one, or an object itself.
        directory: what a relative path starts from.

    Raises:
        InputError: ``manifest-unreadable``.
    """
    if not isinstance(source, (Path, str)):
        return [dict(source)]
    name = str(source) if isinstance(source, Path) else "the manifest"
    try:
        text = (directory / source).read_text(encoding="utf-8") if isinstance(source, Path) else source
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError("manifest-unreadable", f"{name} cannot be read: {error}", hint="give a manifest") from error
    objects = [item for document in documents for item in _listed(document)]
    for found in objects or [None]:
        if not isinstance(found, dict) or not {"apiVersion", "kind", "metadata"} <= found.keys():
            raise InputError(
                "manifest-unreadable",
                f"{name} holds what is no Kubernetes object: {json.dumps(found, default=str)[:80]}",
                hint="give objects with apiVersion, kind and metadata; a file name must be a pathlib.Path, not a str",
            )
    return objects


def _listed(document: Any) -> list[Any]:
    """The objects of a document: itself, or those of a List."""
    if isinstance(document, dict) and document.get("kind") == "List":
        return list(document.get("items") or [])
    return [document]


def _wait_for_service_account(api: Api, namespace: str) -> None:
    """A Pod needs the namespace's default ServiceAccount, which a controller makes."""
    request = Request(method="GET", path=f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    deadline = time.monotonic() + SERVICE_ACCOUNT_WAIT_S
    while not (answer := api.transport.send(request)).ok:
        if time.monotonic() > deadline:
            raise WaitError(
                what=f"the default ServiceAccount of namespace {namespace}",
                timeout_s=SERVICE_ACCOUNT_WAIT_S,
                last_seen=answer.message,
                hint="see `lab logs kube-controller-manager`",
            )
        time.sleep(POLL_S)
