"""Waits until the API server's admission has seen what was changed behind its back.

Admission reads webhook configurations and policies from caches that follow etcd a moment later. Each collection is
followed in order, so an object written last shows when all before it are in force: a *marker* that denies one request
which nobody else sends. It is made, waited for with dry-run requests, and removed.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.embedded.stored_objects import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.api_errors import JsonObject

_POLL_S = 0.02
_GROUP = "/apis/admissionregistration.k8s.io/v1"
_WEBHOOKS = {
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
}
_POLICIES = frozenset({"validatingadmissionpolicies", "validatingadmissionpolicybindings"})
_LABEL = "lab.supply-chain/marker"
_NAMESPACE = "kube-node-lease"
_RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
_NOBODY = "https://127.0.0.1:9/"
"""Nothing listens at the discard port of the node, so a webhook there denies at once when it may not fail open."""


async def wait_until_in_force(client: ApiClient, keys: Iterable[str]) -> None:
    """Wait until admission follows what was written to etcd.

    Args:
        client: client with an administrator's rights.
        keys: the keys of etcd that were written or deleted.

    Raises:
        ApiError: a marker could not be made.
        ApiUnavailable: the API server does not answer.
    """
    collections = {key.removeprefix(ROOT).split("/", 1)[0] for key in keys}
    for collection in sorted(collections & _WEBHOOKS.keys()):
        name = _new_name()
        await _mark(client, name, {collection: _webhook(_WEBHOOKS[collection], name)})
    if collections & _POLICIES:
        name = _new_name()
        policy = {"validatingadmissionpolicies": _policy(name), "validatingadmissionpolicybindings": _binding(name)}
        await _mark(client, name, policy)


def _new_name() -> str:
    return f"lab-marker-{secrets.token_hex(4)}"


async def _mark(client: ApiClient, name: str, objects: Mapping[str, JsonObject]) -> None:
    """Make the objects of a marker, by collection, wait until they deny, and remove them."""
    made: list[str] = []
    try:
        for collection, body in objects.items():
            await client.create(f"{_GROUP}/{collection}", body)
            made.append(collection)
        while not await _is_denied(client, name):
            await asyncio.sleep(_POLL_S)
    finally:
        for collection in reversed(made):
            await client.delete(f"{_GROUP}/{collection}/{name}")


async def _is_denied(client: ApiClient, name: str) -> bool:
    config_map: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {_LABEL: name}},
    }
    try:
        await client.create(f"/api/v1/namespaces/{_NAMESPACE}/configmaps", config_map, params={"dryRun": "All"})
    except ApiError:
        return True
    return False


def _selector(name: str) -> JsonObject:
    """Nothing but what carries the marker's name as a label."""
    return {"matchLabels": {_LABEL: name}}


def _webhook(kind: str, name: str) -> JsonObject:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "marker.lab.supply-chain",
                "clientConfig": {"url": _NOBODY},
                "rules": [_RULE],
                "objectSelector": _selector(name),
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1,
            }
        ],
    }


def _policy(name: str) -> JsonObject:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [_RULE], "objectSelector": _selector(name)},
            "validations": [{"expression": "false"}],
        },
    }


def _binding(name: str) -> JsonObject:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
