"""Decoding reviews, finding every image in them, and the answers."""

from __future__ import annotations

import json

import pytest

from lab.bouncer.podimages import POD_SPECS
from lab.bouncer.policy import Finding, Verdict
from lab.bouncer.review import Review, ReviewKind, decode, encode, parse_json
from lab.errors import InputError

IMAGE, ADMISSION = ReviewKind.IMAGE_REVIEW, ReviewKind.ADMISSION_REVIEW
POD_SPEC = {
    "containers": [{"name": "a", "image": "one"}, {"name": "b", "image": "two"}],
    "initContainers": [{"name": "i", "image": "three"}],
    "ephemeralContainers": [{"name": "e", "image": "four"}],
    "volumes": [
        {"name": "v", "image": {"reference": "five", "pullPolicy": "Always"}},
        {"name": "w", "emptyDir": {}},
        {"name": "x", "image": None},
    ],
}
DENIED = Verdict(findings=(Finding(policy="registries", image="a.example/x", why="is bad"),))


def image_review(**changes: object) -> dict[str, object]:
    review: dict[str, object] = {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "metadata": {"creationTimestamp": None},
        "spec": {"containers": [{"image": "nginx"}, {"image": "gcr.io/x"}], "namespace": "default"},
        "status": {"allowed": False},
    }
    return review | changes


def admission_review(request: object = None, **changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "uid": "705ab4f5",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "team",
        "object": {"apiVersion": "v1", "kind": "Pod", "spec": POD_SPEC},
    }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": base | changes if request is None else request,
    }


def test_an_image_review_is_read_and_unknown_fields_do_not_matter() -> None:
    review = decode(image_review(future={"x": 1}), accepted=[IMAGE])

    assert review == Review(kind=IMAGE, images=("nginx", "gcr.io/x"), namespace="default")


def test_an_admission_review_names_the_images_of_every_container_kind_and_volume() -> None:
    review = decode(admission_review(dryRun=True), accepted=[ADMISSION])

    assert review.images == ("one", "two", "three", "four", "five")
    assert (review.uid, review.operation, review.resource, review.namespace) == ("705ab4f5", "CREATE", "Pod", "team")


@pytest.mark.parametrize(("group", "kind"), POD_SPECS)
def test_every_workload_kind_is_looked_into(group: str, kind: str) -> None:
    manifest: dict[str, object] = {"spec": POD_SPEC}
    for key in reversed(POD_SPECS[group, kind][:-1]):
        manifest = {key: manifest}

    review = decode(
        admission_review(kind={"group": group, "version": "v1", "kind": kind}, object=manifest), accepted=[ADMISSION]
    )

    assert review.images == ("one", "two", "three", "four", "five")


def test_the_workload_kinds_are_the_built_in_ones() -> None:
    assert {kind for _, kind in POD_SPECS} == {
        "CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "ReplicationController",
        "StatefulSet",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("group", "kind"), [("", "ConfigMap"), ("", "PodExecOptions"), ("example.com", "Deployment"), ("apps", "Pod")]
)
def test_another_kind_runs_no_images(group: str, kind: str) -> None:
    review = decode(
        admission_review(kind={"group": group, "kind": kind}, object={"spec": POD_SPEC}), accepted=[ADMISSION]
    )

    assert review.images == ()


def test_a_delete_has_no_object_and_is_nothing_to_review() -> None:
    assert decode(admission_review(operation="DELETE", object=None), accepted=[ADMISSION]).images == ()


def test_a_container_without_an_image_counts_as_one_with_an_empty_image() -> None:
    review = decode(admission_review(object={"spec": {"containers": [{"name": "a"}]}}), accepted=[ADMISSION])

    assert review.images == ("",)


@pytest.mark.parametrize(
    ("document", "accepted", "message"),
    [
        ({}, [IMAGE], "got apiVersion none, kind none"),
        (image_review(kind="AdmissionReview"), [IMAGE], 'kind "AdmissionReview"'),
        (image_review(apiVersion="imagepolicy.k8s.io/v1"), [IMAGE], 'apiVersion "imagepolicy.k8s.io/v1"'),
        (image_review(apiVersion=7), [IMAGE], "apiVersion not a string"),
        (image_review(), [ADMISSION], "takes admission.k8s.io/v1 AdmissionReview"),
        (admission_review(), [IMAGE], "takes imagepolicy.k8s.io/v1alpha1 ImageReview"),
        (admission_review() | {"apiVersion": "admission.k8s.io/v1beta1"}, [ADMISSION], "admission.k8s.io/v1beta1"),
        (image_review(spec=None), [IMAGE], "spec is null, not an object"),
        (image_review(spec=[]), [IMAGE], "spec is a list, not an object"),
        (image_review(spec={"containers": {}}), [IMAGE], "spec.containers is an object, not a list"),
        (image_review(spec={"containers": ["nginx"]}), [IMAGE], r"spec.containers\[0\] is a string, not an object"),
        (image_review(spec={"containers": [{"image": 1}]}), [IMAGE], r"spec.containers\[0\].image is a number"),
        (admission_review(request=[]), [ADMISSION], "request is a list"),
        (admission_review(uid=""), [ADMISSION], "request.uid is missing"),
        (admission_review(uid=7), [ADMISSION], "request.uid is not a string"),
        (admission_review(operation=None), [ADMISSION], "request.operation"),
        (admission_review(kind=None), [ADMISSION], "request.kind.kind"),
        (admission_review(object=None), [ADMISSION], "request.object is null"),
        (admission_review(object={"spec": "x"}), [ADMISSION], "spec is a string"),
        (
            admission_review(object={"spec": {"volumes": [{"image": {"reference": True}}]}}),
            [ADMISSION],
            r"spec.volumes\[0\].image.reference is a boolean",
        ),
    ],
)
def test_what_is_not_a_review_is_refused_with_the_place(
    document: dict[str, object], accepted: list[ReviewKind], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode(document, accepted=accepted)

    assert caught.value.code == "not-a-review"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        pytest.param(b"[" * 200_000, id="deep"),
        pytest.param(b"1" * 5000, id="long"),
    ],
    ids=repr,
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(body)

    assert caught.value.code == "not-a-review"


def test_the_answer_to_an_image_review_carries_version_kind_and_reason() -> None:
    review = Review(kind=IMAGE, images=("a.example/x",))

    assert encode(review, Verdict()) == {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "status": {"allowed": True},
    }
    assert encode(review, DENIED)["status"] == {"allowed": False, "reason": 'image "a.example/x" is bad'}


def test_the_answer_to_an_admission_review_echoes_the_uid_and_denies_with_403_inside() -> None:
    review = Review(kind=ADMISSION, images=("a.example/x",), uid="705ab4f5", operation="CREATE", resource="Pod")

    assert encode(review, Verdict()) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "705ab4f5", "allowed": True},
    }
    assert json.loads(json.dumps(encode(review, DENIED)))["response"] == {
        "uid": "705ab4f5",
        "allowed": False,
        "status": {"code": 403, "reason": "Forbidden", "message": 'image "a.example/x" is bad'},
    }
