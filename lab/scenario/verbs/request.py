"""From a probe to the one request that it sends, and to what a person would type for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lab import strict_yaml
from lab.errors import LabError
from lab.scenario.api import PATCH_TYPES, Kind, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.scenario.api import Api
    from lab.scenario.schema.verbs import DebugPod, Probe, RunPod
    from lab.scenario.sighting import Context

FIELD_MANAGER = "supply-chain-lab"
FRESH = "fresh"
"""The namespace of a probe that gets one of its own."""
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a probe is about.

    Attributes:
        kind: how it is served.
        name: its name.
        manifest: the object to send; None for a patch or a deletion.
        creates: whether an allowed request leaves an object behind that was not there.
    """

    kind: Kind
    name: str
    manifest: Mapping[str, Any] | None = None
    creates: bool = False


def as_typed(probe: Probe) -> str:
    """The request as a person would type it; a namespace of its own has no name that anybody could type."""
    options = f" --namespace={probe.namespace}" if probe.namespace not in (FRESH, DEFAULT_NAMESPACE) else ""
    options += " --dry-run=server" if probe.dry_run else ""
    options += f" --as={probe.as_user}" if probe.as_user else ""
    if probe.run is not None:
        return f"kubectl run {probe.run.name} --image={probe.run.image}{options}"
    if probe.debug is not None:
        return f"kubectl debug {probe.debug.pod} --image={probe.debug.image}{options}"
    if probe.patch is not None:
        return f"kubectl patch {probe.patch.kind} {probe.patch.name}{options}"
    if probe.delete is not None:
        return f"kubectl delete {probe.delete.kind} {probe.delete.name}{options}"
    verb = "create" if probe.operation == "create" else "replace"
    return f"kubectl {verb} -f {probe.manifest or '-'}{options}"


def target_of(probe: Probe, context: Context) -> Target:
    """What a probe is about.

    Raises:
        LabError: ``kind-not-served``.
    """
    if probe.run is not None:
        return _sent(context.api, pod_of(probe.run), creates=True)
    if probe.debug is not None:
        pods = context.api.kind_of({"apiVersion": "v1", "kind": "Pod"})
        return Target(kind=pods, name=probe.debug.pod)
    reference = probe.patch or probe.delete
    if reference is not None:
        kind = context.api.kind_of({"apiVersion": reference.api_version, "kind": reference.kind})
        return Target(kind=kind, name=reference.name)
    manifest = probe.object if probe.manifest is None else manifests_in(context, probe.manifest)[0]
    return _sent(context.api, dict(manifest or {}), creates=probe.operation == "create")


def request_of(probe: Probe, target: Target, *, namespace: str, audit_id: str, api: Api) -> Request:
    """The request.

    Args:
        probe: what to ask.
        target: what it is about.
        namespace: where.
        audit_id: the API server puts it into the audit event.
        api: asked for the object's current version where the probe replaces it.
    """
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": probe.field_validation}
    if probe.dry_run:
        query["dryRun"] = "All"
    headers = [("Audit-ID", audit_id)]
    headers += [("Impersonate-User", probe.as_user)] if probe.as_user else []
    headers += [("Impersonate-Group", group) for group in probe.as_groups]
    kind, name = target.kind, target.name
    text = urlencode(query)
    if probe.debug is not None:
        path = kind.path(namespace=namespace, name=name, subresource="ephemeralcontainers", query=text)
        body: object = {"spec": {"ephemeralContainers": [ephemeral_container(probe.debug)]}}
        return Request(
            method="PATCH", path=path, body=body, content_type=PATCH_TYPES["strategic"], headers=tuple(headers)
        )
    if probe.patch is not None:
        body = probe.patch.body if isinstance(probe.patch.body, dict) else list(probe.patch.body)
        return Request(
            method="PATCH",
            path=kind.path(namespace=namespace, name=name, query=text),
            body=body,
            content_type=PATCH_TYPES[probe.patch.type],
            headers=tuple(headers),
        )
    if probe.delete is not None:
        text = urlencode({"dryRun": "All"}) if probe.dry_run else ""
        return Request(
            method="DELETE", path=kind.path(namespace=namespace, name=name, query=text), headers=tuple(headers)
        )
    manifest = _placed(dict(target.manifest or {}), kind, namespace)
    if probe.operation == "create":
        path = kind.path(namespace=namespace, query=text)
        return Request(method="POST", path=path, body=manifest, headers=tuple(headers))
    current = api.find(kind, namespace=namespace, name=name)
    if current:
        manifest["metadata"]["resourceVersion"] = current[0]["metadata"]["resourceVersion"]
    path = kind.path(namespace=namespace, name=name, query=text)
    return Request(method="PUT", path=path, body=manifest, headers=tuple(headers))


def pod_of(run: RunPod) -> dict[str, Any]:
    """The Pod that ``kubectl run`` sends."""
    container: dict[str, Any] = {"name": run.name, "image": run.image, "resources": {}}
    if run.command:
        container["args"] = list(run.command)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": run.name, "labels": {"run": run.name}},
        "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always"},
    }


def ephemeral_container(debug: DebugPod) -> dict[str, Any]:
    """The ephemeral container that ``kubectl debug`` adds."""
    return {
        "name": debug.name,
        "image": debug.image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePolicy": "File",
    }


def manifests_in(context: Context, file: str) -> list[dict[str, Any]]:
    """The objects in one of the scenario's manifests.

    Raises:
        LabError: ``manifest-changed``: the file was sound when the scenario was loaded, and is not now.
    """
    documents, faults = strict_yaml.parse_all(context.scenario.text(file), file=file)
    objects = [document.data for document in documents if isinstance(document.data, dict)]
    if faults or not objects:
        raise LabError(
            "manifest-changed", f"{file} can no longer be read", hint="load the scenario again to see its faults"
        )
    found: list[dict[str, Any]] = list(objects)
    return found


def _sent(api: Api, manifest: dict[str, Any], *, creates: bool) -> Target:
    return Target(kind=api.kind_of(manifest), name=manifest["metadata"]["name"], manifest=manifest, creates=creates)


def _placed(manifest: dict[str, Any], kind: Kind, namespace: str) -> dict[str, Any]:
    """A manifest in the probe's namespace, whatever namespace it names itself."""
    metadata = dict(manifest.get("metadata", {}))
    if kind.namespaced:
        metadata["namespace"] = namespace
    return {**manifest, "metadata": metadata}
