"""What of a stored object a person or a scenario decides, and what the cluster keeps up to date by itself.

A rewind puts back the first and leaves the second alone. The API server stores its own kinds as protobuf behind the
magic ``k8s`` and a zero byte (k8s.io/apimachinery/pkg/runtime/serializer/protobuf) and custom resources as JSON. Only
the outermost fields of a protobuf message are told apart here, by their numbers (k8s.io/api/core/v1/generated.proto and
its like); what is in them is compared as bytes.

**A uid that has gone never comes back.** The garbage collector remembers uids of owners that are no more, and other
controllers keep accounts by uid too. So what is put back after it had gone gets a new uid, as if somebody had made it
again, and everything that names the old one names the new one from then on.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lab.cluster.embedded.etcd_client import Stored

ROOT = "/registry/"
_MAGIC = b"k8s\0"
_TYPE_META, _RAW = 1, 2
_API_KIND = 2
_METADATA, _STATUS = 1, 3
_UID, _DELETION_TIMESTAMP = 5, 9
_VOLATILE_METADATA = frozenset({6, 7, 17})
"""resourceVersion, generation and managedFields of an ObjectMeta."""
_WITH_STATUS = frozenset({
    b"CertificateSigningRequest", b"ClusterTrustBundle", b"CronJob", b"DaemonSet", b"Deployment", b"FlowSchema",
    b"HorizontalPodAutoscaler", b"Ingress", b"Job", b"Namespace", b"Node", b"PersistentVolume",
    b"PersistentVolumeClaim", b"Pod", b"PodDisruptionBudget", b"PriorityLevelConfiguration", b"ReplicaSet",
    b"ReplicationController", b"ResourceQuota", b"Service", b"ServiceCIDR", b"StatefulSet",
    b"ValidatingAdmissionPolicy",
})  # fmt: skip
"""Kinds whose third field is a status; that of others (a Secret's type) is as much the object as the rest."""
_KEPT_BY_THE_CLUSTER = ("leases/", "masterleases/", "peerserverleases/")
_KEPT_BY_CONTROLLERS = ("endpointslices/", "services/endpoints/")
_CONTROLLERS = (b"endpointslice-controller.k8s.io", b"endpoint-controller")
_EVENTS = "events/"
_ORDER = ("deployments/", "daemonsets/", "statefulsets/", "cronjobs/", "jobs/", "replicasets/")
_LAST = ("pods/", "namespaces/")
_KINDS = ROOT + "apiextensions.k8s.io/customresourcedefinitions/"
_GROUPS = ROOT + "apiregistration.k8s.io/apiservices/"
_SERVICE_ACCOUNTS = ROOT + "serviceaccounts/"


def successors(wanted: Mapping[str, Stored], found: Mapping[str, Stored]) -> dict[str, str]:
    """Which uids have gone, and which ones take their places.

    Args:
        wanted: what etcd held.
        found: what it holds.

    Returns:
        By the uid of an object that is no longer there or is being deleted: that of the object which has taken its
        name since, or else a new one.
    """
    gone: dict[str, str] = {}
    for key, stored in wanted.items():
        now = found.get(key)
        if stored.leased or _kept(key) or (now is not None and now.value == stored.value):
            continue
        uid, left = _identity(stored.value)
        now_uid, leaves = ("", False) if now is None else _identity(now.value)
        if leaves and not left:
            now_uid = ""
        if uid and uid != now_uid:
            gone[uid] = now_uid or str(uuid.uuid4())
    return gone


def renamed(stored: Mapping[str, Stored], uids: Mapping[str, str]) -> dict[str, Stored]:
    """Stored objects that name other uids, of the same length, wherever they named those that have gone."""
    pairs = [(old.encode(), new.encode()) for old, new in uids.items()]
    result = dict(stored)
    for key, one in stored.items():
        value = one.value
        for old, new in pairs:
            value = value.replace(old, new)
        if value != one.value:
            result[key] = replace(one, value=value)
    return result


def leaving(keys: Iterable[str], found: Mapping[str, Stored]) -> list[str]:
    """Those of some keys whose objects are being deleted: they have to go before others can take their places."""
    return [key for key in keys if key in found and _identity(found[key].value)[1]]


def took_a_service_account(wanted: Mapping[str, Stored], found: Mapping[str, Stored]) -> bool:
    """Whether a service account has gone: its tokens, which programs hold, are worth nothing when it comes back."""
    accounts = {key: stored for key, stored in wanted.items() if key.startswith(_SERVICE_ACCOUNTS)}
    return bool(successors(accounts, found))


def changes(wanted: Mapping[str, Stored], found: Mapping[str, Stored]) -> tuple[dict[str, bytes], list[str]]:
    """What has to be written, and what deleted, so that etcd holds again what it held.

    Args:
        wanted: what it held.
        found: what it holds.

    Returns:
        Values to put by key, and keys to delete: owners before what they own.
    """
    put = {
        key: stored.value
        for key, stored in wanted.items()
        if not stored.leased and not _kept(key) and not _is_same(key, stored.value, found.get(key))
    }
    delete = sorted((key for key in found if key not in wanted and not _kept(key)), key=_rank)
    return put, delete


def is_event(key: str) -> bool:
    """Whether a key holds an event, which is told of something that has happened before."""
    return key.startswith(ROOT + _EVENTS)


def owners(keys: Iterable[str]) -> list[str]:
    """Those of some keys whose controllers would make again what goes before them."""
    return [key for key in keys if _rank(key)[0] < len(_ORDER)]


def follows_its_owner(keys: Iterable[str], found: Mapping[str, Stored]) -> list[str]:
    """Those of some keys that go by themselves when another object has gone, and that come back when they go before it.

    Whoever made a kind because of an object (Gatekeeper, of a ConstraintTemplate) makes it again; and while a kind is
    defined, the API server keeps its group among those that it serves.
    """
    defined = [key for key in keys if key.startswith((_KINDS, _GROUPS))]
    if not any(key.startswith(_KINDS) and b'"ownerReferences"' in found[key].value for key in defined):
        return []
    return [key for key in defined if key.startswith(_GROUPS) or b'"ownerReferences"' in found[key].value]


def _identity(value: bytes) -> tuple[str, bool]:
    """An object's uid, empty where it has none, and whether it is being deleted."""
    if not value.startswith(_MAGIC):
        metadata = json.loads(value).get("metadata") or {}
        return metadata.get("uid", ""), "deletionTimestamp" in metadata
    raw = dict(_fields(value[len(_MAGIC) :])).get(_RAW, b"")
    fields = dict(_fields(dict(_fields(raw)).get(_METADATA, b"")))
    return fields.get(_UID, b"").decode(), _DELETION_TIMESTAMP in fields


def _is_same(key: str, wanted: bytes, found: Stored | None) -> bool:
    if found is None:
        return False
    if key.startswith(tuple(ROOT + part for part in _KEPT_BY_CONTROLLERS)):
        return found.value == wanted or any(controller in found.value for controller in _CONTROLLERS)
    return found.value == wanted or decided(found.value) == decided(wanted)


def _kept(key: str) -> bool:
    return not key.startswith(ROOT) or key.startswith(tuple(ROOT + part for part in _KEPT_BY_THE_CLUSTER))


def _rank(key: str) -> tuple[int, str]:
    path = key.removeprefix(ROOT)
    for rank, part in enumerate(_ORDER):
        if path.startswith(part):
            return rank, key
    for rank, part in enumerate(_LAST, start=len(_ORDER) + 1):
        if path.startswith(part):
            return rank, key
    return len(_ORDER), key


def decided(value: bytes) -> object:
    """What of a stored object was decided: all but its status and the bookkeeping in its metadata."""
    if value.startswith(_MAGIC):
        return _decided_protobuf(value[len(_MAGIC) :])
    document = json.loads(value)
    document.pop("status", None)
    metadata = document.get("metadata") or {}
    for name in ("managedFields", "generation", "resourceVersion"):
        metadata.pop(name, None)
    return document


def _decided_protobuf(unknown: bytes) -> tuple[tuple[int, object], ...]:
    outer = dict(_fields(unknown))
    kind = dict(_fields(outer.get(_TYPE_META, b""))).get(_API_KIND, b"")
    return tuple(
        (number, _decided_metadata(content) if number == _METADATA else content)
        for number, content in _fields(outer.get(_RAW, b""))
        if not (number == _STATUS and kind in _WITH_STATUS)
    )


def _decided_metadata(metadata: bytes) -> tuple[tuple[int, bytes], ...]:
    return tuple((number, content) for number, content in _fields(metadata) if number not in _VOLATILE_METADATA)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The outermost fields of a protobuf message: number and content (wire types 0, 1, 2 and 5)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        match wire_type:
            case 0:
                _, end = _varint(message, at)
            case 1:
                end = at + 8
            case 2:
                length, at = _varint(message, at)
                end = at + length
            case 5:
                end = at + 4
            case _:
                raise ValueError(f"protobuf wire type {wire_type} at byte {at}")
        yield number, message[at:end]
        at = end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at
        shift += 7
