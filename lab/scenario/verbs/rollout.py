"""The verb ``rollout``: a Deployment whose rollout is complete, and the digests that its Pods run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.scenario.result import Mismatch
from lab.scenario.schema.verbs import Selection
from lab.scenario.sighting import Sighting, failed
from lab.scenario.verbs.resource import select

if TYPE_CHECKING:
    from lab.scenario.schema.verbs import Rollout
    from lab.scenario.sighting import Context

TEMPLATE_HASH = "pod-template-hash"


def look(spec: Rollout, context: Context) -> Sighting:
    """Compare the Deployment, then every Pod of it."""
    found = select(_selection("apps/v1", "Deployment", spec, name=spec.name), context)
    what = f"Deployment {spec.name}"
    if not found:
        return failed({"exists": "false"}, [Mismatch(what=what, expected="present", actual="absent")])
    deployment = found[0]
    pods = _pods(spec, deployment, context)
    digests = [digest_of(status.get("imageID", "")) for pod in pods for status in _containers(pod)]
    images = [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]
    unfinished = unfinished_because(deployment, pods)
    facts = {
        "exists": "true",
        "complete": "false" if unfinished else "true",
        "images": ", ".join(images),
        "digests": ", ".join(sorted(set(digests))),
    }
    wrong: list[Mismatch] = []
    if spec.pinned:
        wrong += [
            Mismatch(what="image", expected="pinned to a digest", actual=image)
            for image in images
            if "@sha256:" not in image
        ]
    if unfinished:
        wrong.append(Mismatch(what=what, expected="rolled out", actual=unfinished))
    if spec.digest is not None:
        capture = spec.digest.equals_capture
        expected = context.captures[capture] if capture is not None else str(spec.digest.equals)
        wrong += [
            Mismatch(what="digest", expected=expected, actual=digest or "-")
            for digest in sorted(set(digests) or {""})
            if digest != expected
        ]
    return failed(facts, wrong)


def unfinished_because(deployment: dict[str, Any], pods: list[dict[str, Any]]) -> str:
    """Why a rollout is not complete, as ``kubectl rollout status`` sees it; empty when it is.

    The Pods of the old template must be gone too: a check on "every Pod" would see them otherwise.
    """
    status, spec = deployment.get("status", {}), deployment["spec"]
    wanted = spec.get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 1):
        return "not yet seen by its controller"
    if status.get("updatedReplicas", 0) < wanted:
        return f"{status.get('updatedReplicas', 0)} of {wanted} replicas updated"
    if status.get("availableReplicas", 0) < wanted:
        return f"{status.get('availableReplicas', 0)} of {wanted} replicas available"
    hashes = {pod["metadata"].get("labels", {}).get(TEMPLATE_HASH) for pod in pods}
    if status.get("replicas", 0) > wanted or len(hashes) > 1:
        return "old Pods are still there"
    return ""


def digest_of(image_id: str) -> str:
    """The digest in an imageID such as ``docker.io/library/httpd@sha256:...``; empty when there is none."""
    _, at, digest = image_id.rpartition("@")
    return digest if at else ""


def _pods(spec: Rollout, deployment: dict[str, Any], context: Context) -> list[dict[str, Any]]:
    """The Pods of a Deployment that are not on their way out."""
    labels = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"].get("matchLabels", {}).items())
    pods = select(_selection("v1", "Pod", spec, label_selector=labels), context)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    statuses: list[dict[str, Any]] = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses


def _selection(
    api_version: str, kind: str, spec: Rollout, *, name: str | None = None, label_selector: str | None = None
) -> Selection:
    # By alias, as a file would give them: the models read nothing else.
    return Selection(
        apiVersion=api_version, kind=kind, namespace=spec.namespace, name=name, labelSelector=label_selector
    )
