"""The metadata of an object in protobuf is read and changed, and everything else of it stays."""

from __future__ import annotations

import base64

import pytest

from lab.cluster.existing.protobuf import metadata_in, with_metadata

DEPLOYMENT = base64.b64decode(
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErMBCiUKBGxhdGUSABoEc2hvcCIAKgAyADgAQgBaCwoDYXBwEgRsYXRlEnwIARIN"
    "CgsKA2FwcBIEbGF0ZRphCh0KABIAGgAiACoAMgA4AEIAWgsKA2FwcBIEbGF0ZRJAEiIKBW5naW54EgVuZ2lueCoAQgBqAHIAgAEA"
    "iAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA"
)
"""What ``kubectl create deployment late --image=nginx -n shop`` of version 1.37 sends."""


def test_name_and_namespace_and_labels_are_read() -> None:
    assert metadata_in(DEPLOYMENT) == {"name": "late", "namespace": "shop", "labels": {"app": "late"}}


def test_what_is_changed_is_read_again_and_the_rest_stays() -> None:
    metadata = {"name": "later", "namespace": "lab-3f9a1c-1-shop", "labels": {"app": "late", "a": "b" * 200}}
    changed = with_metadata(DEPLOYMENT, metadata)
    assert metadata_in(changed) == metadata
    assert b"nginx" in changed
    back = with_metadata(changed, metadata_in(DEPLOYMENT))
    assert len(back) == len(DEPLOYMENT)
    assert sorted(back) == sorted(DEPLOYMENT)


def test_an_object_without_metadata_gets_some() -> None:
    empty = b"k8s\0" + b"\x12\x00"
    assert metadata_in(empty) == {}
    assert metadata_in(with_metadata(empty, {"name": "a"})) == {"name": "a"}


@pytest.mark.parametrize("body", [b"", b"{}", b"k8s\0\x12\x05a", b"k8s\0\x13", DEPLOYMENT[:-3]])
def test_what_is_no_object_is_told_as_such(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"it (does not|ends)|wire type"):
        metadata_in(body)
