"""The catalogue is well formed, and its digests are those that were written down: the same on every machine."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.bouncer.reference import parse
from lab.images.catalogue import CATALOGUE, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).with_name("digests.json")
REFERENCES = [reference for image in CATALOGUE for reference in image.references]


def test_digests_are_the_ones_written_down(golden: Callable[[Path, str], None]) -> None:
    digests = {reference: image.build().digest for image in CATALOGUE for reference in image.references}

    golden(GOLDEN, json.dumps(digests, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("reference", REFERENCES)
def test_every_reference_is_normalised(reference: str) -> None:
    assert parse(reference).normalised == reference


def test_no_reference_stands_for_two_contents() -> None:
    assert [reference for reference, count in Counter(REFERENCES).items() if count > 1] == []


def test_only_aliases_share_a_digest() -> None:
    digests = Counter(image.build().digest for image in CATALOGUE)

    assert [digest for digest, count in digests.items() if count > 1] == []


def test_control_plane_images_are_left_to_the_programs_that_run() -> None:
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    prefixes = tuple(f"registry.k8s.io/{program}:" for program in programs)
    assert [reference for reference in REFERENCES if reference.startswith(prefixes)] == []


@pytest.mark.parametrize(
    "written",
    [
        "nginx",
        "docker.io/nginx",
        "nginx:1.27",
        "docker.io/library/httpd",
        "docker.io/library/busybox",
        "gcr.io/google-containers/busybox:1.27",
        "gcr.io/x/busybox",
        "kainlite/kube-image-bouncer:latest",
        "openpolicyagent/gatekeeper:v3.23.1",
        "pramodhm/image-policy-webhook:v5",
        "openpolicyagent/opa:1.22.2",
        "python:3",
        "internal-registry.io/nginx",
        "registry.example.com/app",
        "ghcr.io/aquasecurity/trivy:latest",
        "k8s.gcr.io/kube-apiserver:v1.20.2",
        "some-registry.io/a-very-vulnerable-image",
        "docker.io.evil.example/x",
        "docker.iomalicious/x",
        "evil.example/internal-registry.io/x",
    ],
)
def test_every_image_that_the_course_names_is_there(written: str) -> None:
    assert parse(written).normalised in REFERENCES


def test_a_readme_and_os_release_name_the_image() -> None:
    nginx = next(image for image in CATALOGUE if "docker.io/library/nginx:1.27" in image.references)
    layer = nginx.build().blobs[0].data

    assert b"docker.io/library/nginx:1.27.5\n" in layer
    assert b'IMAGE_ID="nginx"\nIMAGE_VERSION="1.27.5"\n' in layer


def test_the_fingerprint_changes_with_content_and_with_tags_but_not_with_order() -> None:
    first, *rest = CATALOGUE
    retagged = dataclasses.replace(first, tags=first.tags[:-1])
    rewritten = dataclasses.replace(first, summary="Another sentence.")

    assert len({fingerprint(), fingerprint([retagged, *rest]), fingerprint([rewritten, *rest])}) == 3
    assert fingerprint([*rest, first]) == fingerprint()
