"""What a rewind puts back of etcd's content, and what it leaves alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.etcd_client import Stored
from lab.cluster.embedded.stored_objects import (
    changes,
    follows_its_owner,
    leaving,
    renamed,
    successors,
    took_a_service_account,
)

if TYPE_CHECKING:
    from collections.abc import Callable

POD = "/registry/pods/default/web"
CRD = "/registry/apiextensions.k8s.io/customresourcedefinitions/k8strusted.constraints.gatekeeper.sh"
GROUP = "/registry/apiregistration.k8s.io/apiservices/v1beta1.constraints.gatekeeper.sh"


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, shorter than 16 KB, as protobuf encodes it."""
    length = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
    tag = bytes([number << 3 | 2]) if number < 16 else bytes([(number << 3 | 2) & 127 | 128, number >> 4])
    return tag + length + content


def proto(kind: str, *, metadata: bytes = b"", spec: bytes = b"", third: bytes = b"") -> bytes:
    """An object as the API server stores it."""
    type_meta = field(1, b"v1") + field(2, kind.encode())
    return b"k8s\0" + field(1, type_meta) + field(2, field(1, metadata) + field(2, spec) + field(3, third))


def custom(**document: object) -> bytes:
    return json.dumps({"apiVersion": "example/v1", "kind": "Example", **document}).encode()


def held(**values: bytes) -> dict[str, Stored]:
    return {"/registry/" + key: Stored(value=value, leased=False) for key, value in values.items()}


def one(key: str, value: bytes, *, leased: bool = False) -> dict[str, Stored]:
    return {key: Stored(value=value, leased=leased)}


NAME = field(1, b"web")


def test_nothing_is_written_when_nothing_changed() -> None:
    stored = one(POD, proto("Pod", metadata=NAME, spec=b"\x0a\x01x"))
    assert changes(stored, stored) == ({}, [])


def test_what_is_new_is_deleted_and_what_is_gone_comes_back() -> None:
    before = one("/registry/secrets/default/gone", proto("Secret", metadata=NAME))
    now = one("/registry/secrets/default/new", proto("Secret", metadata=NAME))
    assert changes(before, now) == (
        {"/registry/secrets/default/gone": before["/registry/secrets/default/gone"].value},
        ["/registry/secrets/default/new"],
    )


@pytest.mark.parametrize(
    "now",
    [
        proto("Pod", metadata=NAME, spec=field(1, b"same"), third=field(1, b"Running")),
        proto("Pod", metadata=NAME + field(17, b"managed fields" * 20), spec=field(1, b"same")),
        proto("Pod", metadata=NAME + b"\x38\x07", spec=field(1, b"same")),
    ],
    ids=["status", "managed fields", "generation"],
)
def test_what_the_cluster_keeps_up_to_date_is_left_alone(now: bytes) -> None:
    before = proto("Pod", metadata=NAME, spec=field(1, b"same"))
    assert changes(one(POD, before), one(POD, now)) == ({}, [])


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (proto("Pod", spec=field(1, b"one")), proto("Pod", spec=field(1, b"two"))),
        (proto("Pod", metadata=NAME), proto("Pod", metadata=NAME + field(11, b"a label"))),
        (proto("Secret", third=b"\x0a\x06Opaque"), proto("Secret", third=b"\x0a\x11kubernetes.io/tls")),
        (custom(spec={"rego": "a"}), custom(spec={"rego": "b"})),
    ],
    ids=["spec", "label", "a Secret's type", "custom resource"],
)
def test_what_somebody_decided_is_put_back(before: bytes, now: bytes) -> None:
    assert changes(one("/registry/x/y", before), one("/registry/x/y", now)) == ({"/registry/x/y": before}, [])


def test_the_status_of_a_custom_resource_is_left_alone() -> None:
    before = custom(metadata={"name": "a", "generation": 1}, spec={"rego": "a"})
    now = custom(metadata={"name": "a", "generation": 2}, spec={"rego": "a"}, status={"created": True})
    assert changes(one("/registry/x/y", before), one("/registry/x/y", now)) == ({}, [])


def test_leases_and_what_goes_by_itself_are_left_alone() -> None:
    before = {
        **one("/registry/events/default/old", proto("Event"), leased=True),
        **one("/registry/leases/kube-system/kube-scheduler", proto("Lease", spec=field(1, b"one"))),
    }
    now = one("/registry/leases/kube-system/another", proto("Lease"))
    assert changes(before, now) == ({}, [])


def test_events_that_came_are_deleted() -> None:
    key = "/registry/events/default/new"
    assert changes({}, one(key, proto("Event"), leased=True)) == ({}, [key])


def test_endpoints_of_a_controller_are_its_own() -> None:
    key = "/registry/endpointslices/default/web"
    before = proto("EndpointSlice", metadata=field(11, b"endpointslice-controller.k8s.io"), spec=field(1, b"10.0.0.1"))
    now = proto("EndpointSlice", metadata=field(11, b"endpointslice-controller.k8s.io"), spec=field(1, b"10.0.0.2"))
    assert changes(one(key, before), one(key, now)) == ({}, [])
    mine = proto("EndpointSlice", metadata=NAME, spec=field(1, b"10.0.0.2"))
    assert changes(one(key, before), one(key, mine)) == ({key: before}, [])


def test_owners_are_deleted_before_what_they_own() -> None:
    now = held(
        **{
            "namespaces/shop": proto("Namespace"),
            "pods/shop/web-1-a": proto("Pod"),
            "replicasets/shop/web-1": proto("ReplicaSet"),
            "configmaps/shop/web": proto("ConfigMap"),
            "deployments/shop/web": proto("Deployment"),
        }
    )
    _, delete = changes({}, now)
    assert [key.split("/")[2] for key in delete] == ["deployments", "replicasets", "configmaps", "pods", "namespaces"]


def test_a_kind_that_was_made_because_of_another_object_goes_with_it() -> None:
    owned = custom(metadata={"name": "k", "ownerReferences": [{"kind": "ConstraintTemplate"}]})
    found = {**one(CRD, owned), **one(GROUP, custom()), **one(POD, proto("Pod"))}
    assert follows_its_owner([POD, CRD, GROUP], found) == [CRD, GROUP]


def test_a_kind_that_somebody_made_goes_at_once() -> None:
    found = {**one(CRD, custom(metadata={"name": "k"})), **one(GROUP, custom())}
    assert follows_its_owner([CRD, GROUP], found) == []


UID, OTHER_UID = "0b0aa718-9872-4038-9161-6bf11e847654", "13438060-4204-4146-8318-1f1004092ea7"
SET = "/registry/replicasets/default/web"
UID_OF = {
    "protobuf": (
        lambda uid: proto("ReplicaSet", metadata=NAME + field(5, uid.encode())),
        lambda uid: proto("ReplicaSet", metadata=NAME + field(5, uid.encode()) + field(9, b"\x08\x01")),
    ),
    "json": (
        lambda uid: custom(metadata={"name": "web", "uid": uid}),
        lambda uid: custom(metadata={"name": "web", "uid": uid, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ),
}


@pytest.fixture(params=UID_OF)
def encoding(request: pytest.FixtureRequest) -> tuple[Callable[[str], bytes], Callable[[str], bytes]]:
    """Makes an object of a uid: one that stays, and one that is being deleted."""
    return UID_OF[request.param]


def test_what_is_still_there_keeps_its_uid(encoding: tuple[Callable[[str], bytes], ...]) -> None:
    staying, _ = encoding
    now = {**one(SET, staying(UID).replace(b"web", b"wex")), **one(POD, staying(OTHER_UID))}
    assert successors(one(SET, staying(UID)), now) == {}


def test_what_took_the_name_of_what_has_gone_succeeds_it(encoding: tuple[Callable[[str], bytes], ...]) -> None:
    staying, _ = encoding
    assert successors(one(SET, staying(UID)), one(SET, staying(OTHER_UID))) == {UID: OTHER_UID}


def test_what_has_gone_or_is_going_comes_back_under_a_new_uid(encoding: tuple[Callable[[str], bytes], ...]) -> None:
    staying, going = encoding
    for now in ({}, one(SET, going(UID)), one(SET, going(OTHER_UID))):
        ((uid, successor),) = successors(one(SET, staying(UID)), now).items()
        assert uid == UID
        assert successor not in {UID, OTHER_UID}
        assert len(successor) == len(UID)


def test_what_was_being_deleted_already_is_no_reason_for_another_uid(
    encoding: tuple[Callable[[str], bytes], ...],
) -> None:
    _, going = encoding
    before, now = going(UID), going(UID).replace(b"web", b"wex")
    assert before != now
    assert successors(one(SET, before), one(SET, now)) == {}


def test_what_goes_has_to_be_deleted_before_another_takes_its_place(
    encoding: tuple[Callable[[str], bytes], ...],
) -> None:
    staying, going = encoding
    found = {**one(SET, going(UID)), **one(POD, staying(OTHER_UID))}
    assert leaving([SET, POD, "/registry/pods/default/new"], found) == [SET]


def test_whoever_named_a_uid_names_its_successor() -> None:
    owned = proto("Pod", metadata=NAME + field(13, field(4, UID.encode())), spec=field(1, b"same"))
    same = one("/registry/pods/default/other", proto("Pod", metadata=NAME))
    before = {**one(POD, owned, leased=True), **same}
    after = {**one(POD, owned.replace(UID.encode(), OTHER_UID.encode()), leased=True), **same}
    assert renamed(before, {UID: OTHER_UID}) == after


def test_leases_and_objects_without_a_uid_have_no_successor() -> None:
    before = {
        **one("/registry/leases/kube-system/a", proto("Lease", metadata=field(5, UID.encode()))),
        **one("/registry/events/default/a", proto("Event", metadata=field(5, UID.encode())), leased=True),
        **one("/registry/ranges/serviceips", proto("RangeAllocation")),
    }
    assert successors(before, {}) == {}


def test_a_service_account_that_has_gone_is_told_from_other_objects() -> None:
    account = one("/registry/serviceaccounts/default/default", proto("ServiceAccount", metadata=field(5, UID.encode())))
    pod = one(POD, proto("Pod", metadata=field(5, OTHER_UID.encode())))
    assert took_a_service_account({**account, **pod}, pod)
    assert not took_a_service_account({**account, **pod}, account)
