"""Every request differs from something trusted in one image, at the place that its row names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.bouncer.podimages import workload_images
from lab.images.catalogue import CATALOGUE
from lab.matrix.model import TRUSTED, UNTRUSTED_IMAGE, Operation, Place, Row, Workload, rows_of
from lab.matrix.points import POINTS
from lab.matrix.requests import DIRECTORY, probe_of, request_text
from lab.strict_yaml import parse_all

if TYPE_CHECKING:
    from pathlib import Path

MANIFESTS = sorted(DIRECTORY.glob("manifests/*.yaml"))
PLACES = {
    Place.CONTAINER: "containers",
    Place.INIT_CONTAINER: "initContainers",
    Place.EPHEMERAL_CONTAINER: "ephemeralContainers",
    Place.IMAGE_VOLUME: "volumes",
}


def images_of(manifest: dict[str, Any]) -> tuple[str, ...]:
    group = manifest["apiVersion"].rpartition("/")[0]
    return workload_images(group=group, kind=manifest["kind"], manifest=manifest)


@pytest.mark.parametrize("file", MANIFESTS, ids=[file.stem for file in MANIFESTS])
def test_the_given_manifests_are_trusted_in_three_places(file: Path) -> None:
    images = images_of(yaml.safe_load(file.read_text()))
    assert len(images) == 3
    assert all(image.startswith(TRUSTED) for image in images)


def test_the_registry_of_the_lab_serves_every_image() -> None:
    served = {reference for image in CATALOGUE for reference in image.references}
    manifests = [yaml.safe_load(file.read_text()) for file in MANIFESTS]
    assert {UNTRUSTED_IMAGE, *(image for manifest in manifests for image in images_of(manifest))} <= served


@pytest.mark.parametrize("row", rows_of(), ids=lambda row: row.key)
def test_a_request_names_the_untrusted_image_once_and_in_its_place(row: Row) -> None:
    probe = probe_of(row)
    text = request_text(row)
    assert text.count(UNTRUSTED_IMAGE) == 1
    if row.operation is Operation.CREATE:
        assert probe.object is not None
        assert not probe.given
        untrusted = [image for image in images_of(probe.object) if not image.startswith(TRUSTED)]
        assert untrusted == [UNTRUSTED_IMAGE]
        assert probe.object["kind"] == row.workload
    elif row.operation is Operation.UPDATE:
        assert probe.patch is not None
        assert probe.patch.kind == row.workload
        (given,) = probe.given
        assert (DIRECTORY / given).is_file()
    else:
        assert probe.debug is not None
        assert probe.debug.image == UNTRUSTED_IMAGE
        return
    sent = probe.object if probe.patch is None else probe.patch.body
    before, _, _ = json.dumps(sent).partition(UNTRUSTED_IMAGE)
    keys = [key for key in PLACES.values() if f'"{key}"' in before]
    assert max(keys, key=before.rindex) == PLACES[row.place]


def test_the_record_of_the_bouncer_is_wanted_where_no_controller_is_reviewed_too() -> None:
    assert {probe_of(row).expect.asked for row in rows_of([Workload.POD])} == {("bouncer",)}
    assert {probe_of(row).expect.asked for row in rows_of([Workload.JOB])} == {None}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.column.key)
def test_a_decision_point_has_the_files_that_it_names_and_a_wait_for_its_decider(point: Any) -> None:
    scenario = point.scenario
    start = scenario.document.start
    for file in start.manifests:
        _, faults = parse_all(scenario.text(file), file=file)
        assert not faults
        assert scenario.text(file) == point.column.policy
    assert all(scenario.text(script) for script in start.scripts)
    if point.column.key != "none":
        (wait,) = [wait.probe for wait in start.waits if wait.probe is not None]
        assert wait.expect.verdict == "denied"


def test_every_policy_trusts_the_same_registries() -> None:
    policies = [point.column.policy for point in POINTS if "startswith" in point.column.policy.lower()]
    assert len(policies) == 3
    for policy in policies:
        assert all(f'"{registry}"' in policy for registry in TRUSTED)
