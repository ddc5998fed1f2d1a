"""Reads and changes the metadata of an object that kubectl sends as protobuf, which it does for what it makes itself.

``kubectl create namespace``, ``create secret`` and the like speak protobuf and do not fall back to JSON. Only the
metadata matters to the overlay, and it is the first field of every kind. The envelope is that of
k8s.io/apimachinery/pkg/runtime/serializer/protobuf, the numbers are those of ``ObjectMeta`` in
k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_RAW = 2
_METADATA = 1
_NAME, _NAMESPACE, _LABELS = 1, 3, 11
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTH = {_FIXED64: 8, _FIXED32: 4}
_MORE = 0x80


def metadata_in(body: bytes) -> dict[str, Any]:
    """Name, namespace and labels of an object, as far as it has them.

    Raises:
        ValueError: it is no object in protobuf.
    """
    found: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for number, payload, _ in _fields(_only(_object_of(body), _METADATA)):
        if number == _NAME:
            found["name"] = payload.decode()
        elif number == _NAMESPACE:
            found["namespace"] = payload.decode()
        elif number == _LABELS:
            labels[_only(payload, _KEY).decode()] = _only(payload, _VALUE).decode()
    return found | ({"labels": labels} if labels else {})


def with_metadata(body: bytes, metadata: dict[str, Any]) -> bytes:
    """The same object with another name, namespace and labels.

    Args:
        body: the object.
        metadata: as `metadata_in` gives it.
    """
    message = _object_of(body)
    kept = [raw for number, _, raw in _fields(_only(message, _METADATA)) if number not in (_NAME, _NAMESPACE, _LABELS)]
    texts = [(_NAME, metadata.get("name")), (_NAMESPACE, metadata.get("namespace"))]
    changed = [_bytes(number, text.encode()) for number, text in texts if text]
    changed += [
        _bytes(_LABELS, _bytes(_KEY, key.encode()) + _bytes(_VALUE, value.encode()))
        for key, value in (metadata.get("labels") or {}).items()
    ]
    changed_object = _replaced(message, _METADATA, b"".join([*changed, *kept]))
    return _MAGIC + _replaced(body.removeprefix(_MAGIC), _RAW, changed_object)


def _object_of(body: bytes) -> bytes:
    if not body.startswith(_MAGIC):
        raise ValueError("it does not begin as an object in protobuf does")
    return _only(body.removeprefix(_MAGIC), _RAW)


def _only(message: bytes, wanted: int) -> bytes:
    """The payload of a field that occurs at most once; empty when it is not there."""
    return b"".join(payload for number, payload, _ in _fields(message) if number == wanted)


def _replaced(message: bytes, wanted: int, payload: bytes) -> bytes:
    """A message with another payload in a field, which comes first."""
    return _bytes(wanted, payload) + b"".join(raw for number, _, raw in _fields(message) if number != wanted)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, payload and whole encoding of each field of a message.

    Raises:
        ValueError: it is no message.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind == _VARINT:
            length = _varint(message, at)[1] - at
        elif kind in _WIDTH:
            length = _WIDTH[kind]
        else:
            raise ValueError(f"a field of the unknown wire type {kind}")
        if at + length > len(message):
            raise ValueError("it ends within a field")
        yield key >> 3, message[at : at + length], message[start : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & ~_MORE) << shift
        at, shift = at + 1, shift + 7
        if byte < _MORE:
            return value, at
    raise ValueError("it ends within a number")


def _bytes(number: int, payload: bytes) -> bytes:
    return bytes([*_digits(number << 3 | _BYTES), *_digits(len(payload))]) + payload


def _digits(value: int) -> Iterable[int]:
    while value >= _MORE:
        yield value & ~_MORE & 0xFF | _MORE
        value >>= 7
    yield value
