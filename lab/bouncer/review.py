"""What the API server asks and how it wants its answer: ImageReview and AdmissionReview.

Decoding is strict about what decides (apiVersion, kind, the fields needed) and lenient about unknown fields, as
Kubernetes itself is: a newer API server may send more. Answers always carry apiVersion and kind: the API server refuses
an AdmissionReview without them, and accepts an ImageReview without them only by luck.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.bouncer.podimages import as_object, container_images, malformed, object_at, workload_images
from lab.bouncer.reference import show

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lab.bouncer.policy import Verdict

FORBIDDEN = 403
"""``status.code`` of a denied AdmissionReview: kubectl shows it as ``Forbidden``. The HTTP answer itself is 200."""


class ReviewKind(StrEnum):
    """The kinds of review that the bouncer answers."""

    IMAGE_REVIEW = "ImageReview"
    ADMISSION_REVIEW = "AdmissionReview"


API_VERSIONS: Mapping[ReviewKind, str] = {
    ReviewKind.IMAGE_REVIEW: "imagepolicy.k8s.io/v1alpha1",
    ReviewKind.ADMISSION_REVIEW: "admission.k8s.io/v1",
}
"""The one version of each that the API server sends and accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One question of the API server.

    Attributes:
        kind: which kind of review.
        images: every image asked about, as written.
        namespace: where the object would go; empty for none.
        uid: what an AdmissionReview's answer must echo; empty for an ImageReview.
        operation: ``CREATE``, ``UPDATE``, ``DELETE`` or ``CONNECT``; empty for an ImageReview.
        resource: kind of the object under review, for example ``Deployment``; empty for an ImageReview.
    """

    kind: ReviewKind
    images: tuple[str, ...]
    namespace: str = ""
    uid: str = ""
    operation: str = ""
    resource: str = ""


def parse_json(body: bytes) -> Mapping[str, object]:
    """The JSON object in a request's body.

    Raises:
        InputError: ``not-a-review`` when it is anything else.
    """
    if not body:
        raise malformed("the body is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is not JSON: {error}") from error
    return as_object(document, "the body")


def decode(document: Mapping[str, object], *, accepted: Collection[ReviewKind]) -> Review:
    """Read a review.

    Args:
        document: the request's body.
        accepted: the kinds that the path of the request takes.

    Raises:
        InputError: ``not-a-review`` when it is none of them, or lacks what is needed.
    """
    kind, version = document.get("kind"), document.get("apiVersion")
    for candidate in accepted:
        if kind == candidate.value and version == API_VERSIONS[candidate]:
            return _DECODERS[candidate](document)
    wanted = " or ".join(f"{API_VERSIONS[candidate]} {candidate.value}" for candidate in accepted)
    raise malformed(f"this path takes {wanted}, got apiVersion {_shown(version)}, kind {_shown(kind)}")


def encode(review: Review, verdict: Verdict) -> dict[str, object]:
    """The answer to a review, ready for JSON."""
    answer: dict[str, object] = {"apiVersion": API_VERSIONS[review.kind], "kind": review.kind.value}
    if review.kind is ReviewKind.IMAGE_REVIEW:
        status: dict[str, object] = {"allowed": verdict.allowed}
        if not verdict.allowed:
            status["reason"] = verdict.reason
        return answer | {"status": status}
    response: dict[str, object] = {"uid": review.uid, "allowed": verdict.allowed}
    if not verdict.allowed:
        response["status"] = {"code": FORBIDDEN, "reason": "Forbidden", "message": verdict.reason}
    return answer | {"response": response}


def _decode_image_review(document: Mapping[str, object]) -> Review:
    spec = as_object(document.get("spec"), "spec")
    return Review(
        kind=ReviewKind.IMAGE_REVIEW,
        images=tuple(container_images(spec.get("containers"), "spec.containers")),
        namespace=_optional_text(spec, "namespace", "spec.namespace"),
    )


def _decode_admission_review(document: Mapping[str, object]) -> Review:
    request = as_object(document.get("request"), "request")
    uid = _optional_text(request, "uid", "request.uid")
    if not uid:
        raise malformed("request.uid is missing: an answer could not be matched to its request")
    operation = _optional_text(request, "operation", "request.operation")
    of = object_at(request, "kind", "request.kind")
    kind = _optional_text(of, "kind", "request.kind.kind")
    if not operation or not kind:
        raise malformed("request.operation and request.kind.kind are needed to know what is under review")
    return Review(
        kind=ReviewKind.ADMISSION_REVIEW,
        images=_admitted_images(request, operation, _optional_text(of, "group", "request.kind.group"), kind),
        namespace=_optional_text(request, "namespace", "request.namespace"),
        uid=uid,
        operation=operation,
        resource=kind,
    )


def _admitted_images(request: Mapping[str, object], operation: str, group: str, kind: str) -> tuple[str, ...]:
    if operation == "DELETE":  # the object is null, and what goes away runs nothing
        return ()
    return workload_images(group=group, kind=kind, manifest=as_object(request.get("object"), "request.object"))


_DECODERS = {
    ReviewKind.IMAGE_REVIEW: _decode_image_review,
    ReviewKind.ADMISSION_REVIEW: _decode_admission_review,
}


def _optional_text(parent: Mapping[str, object], key: str, where: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise malformed(f"{where} is not a string")
    return value


def _shown(value: object) -> str:
    return show(value) if isinstance(value, str) else "none" if value is None else "not a string"
