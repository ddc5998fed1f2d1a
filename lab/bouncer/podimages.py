"""Every image that a workload would run, wherever the API lets one be named.

A webhook that reads ``spec.containers`` alone is walked around: by an init container, an ephemeral container, an image
volume, or a Deployment. This is the one place that knows where images stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTAINER_KINDS = ("containers", "initContainers", "ephemeralContainers")
"""The lists of containers of a PodSpec (k8s.io/api/core/v1)."""

POD_SPECS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "PodTemplate"): ("template", "spec"),
    ("", "ReplicationController"): ("spec", "template", "spec"),
    ("apps", "DaemonSet"): ("spec", "template", "spec"),
    ("apps", "Deployment"): ("spec", "template", "spec"),
    ("apps", "ReplicaSet"): ("spec", "template", "spec"),
    ("apps", "StatefulSet"): ("spec", "template", "spec"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "Job"): ("spec", "template", "spec"),
}
"""Where the built-in workloads keep their PodSpec, by API group and kind."""


def workload_images(*, group: str, kind: str, manifest: Mapping[str, object]) -> tuple[str, ...]:
    """The images of an object, in the order in which they stand.

    Args:
        group: its API group; empty for the core group.
        kind: its kind; one that is not in `POD_SPECS` runs no images.
        manifest: the object.

    Raises:
        InputError: ``not-a-review`` when the object does not have the shape of its kind.
    """
    path = POD_SPECS.get((group, kind))
    if path is None:
        return ()
    spec: Mapping[str, object] = manifest
    for depth, key in enumerate(path):
        spec = object_at(spec, key, ".".join(path[: depth + 1]))
    return tuple(_pod_images(spec, ".".join(path)))


def container_images(containers: object, where: str) -> Iterator[str]:
    """The images of a list of containers; a missing image is an empty one, so that it is refused by name."""
    for place, container in _items(containers, where):
        yield _text(container.get("image"), f"{place}.image")


def object_at(parent: Mapping[str, object], key: str, where: str) -> Mapping[str, object]:
    """The object under a key; an absent one is empty, as the API server's decoder has it."""
    return as_object(parent.get(key), where, optional=True)


def as_object(value: object, where: str, *, optional: bool = False) -> Mapping[str, object]:
    """A value that must be a JSON object.

    Raises:
        InputError: ``not-a-review``.
    """
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise malformed(f"{where} is {_type(value)}, not an object")
    return value


def malformed(message: str) -> InputError:
    """The error for a document that is not what it must be."""
    return InputError(
        "not-a-review",
        message,
        hint="send an imagepolicy.k8s.io/v1alpha1 ImageReview, or to /validate an admission.k8s.io/v1 AdmissionReview",
    )


def _pod_images(spec: Mapping[str, object], where: str) -> Iterator[str]:
    for key in CONTAINER_KINDS:
        yield from container_images(spec.get(key), f"{where}.{key}")
    for place, volume in _items(spec.get("volumes"), f"{where}.volumes"):
        if volume.get("image") is not None:
            source = object_at(volume, "image", f"{place}.image")
            yield _text(source.get("reference"), f"{place}.image.reference")


def _items(value: object, where: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    if value is None:
        return
    if not isinstance(value, list):
        raise malformed(f"{where} is {_type(value)}, not a list")
    for index, item in enumerate(value):
        place = f"{where}[{index}]"
        yield place, as_object(item, place)


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise malformed(f"{where} is {_type(value)}, not a string")
    return value


def _type(value: object) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
