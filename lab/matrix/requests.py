"""From a way in to the one request that tries it, as a probe of the scenario engine.

Every request differs from something trusted in exactly one image. A new object is the trusted manifest with that image
in it; an update is a patch of that image in an object that was let in before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.bouncer.podimages import POD_SPECS
from lab.matrix.model import UNTRUSTED_IMAGE, Operation, Place, Workload
from lab.testing.probes import decode

if TYPE_CHECKING:
    from lab.matrix.model import Row
    from lab.scenario.schema.verbs import Probe

DIRECTORY = Path(__file__).parent
"""Where the files lie that requests and decision points name."""

_MANIFESTS = {
    Workload.POD: "manifests/pod.yaml",
    Workload.DEPLOYMENT: "manifests/deployment.yaml",
    Workload.JOB: "manifests/job.yaml",
    Workload.CRON_JOB: "manifests/cronjob.yaml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """Where a place is in a PodSpec.

    Attributes:
        list_key: the list that holds it.
        name: of the item in the trusted manifest, or of one to be added.
        image_path: where the image stands in the item.
    """

    list_key: str
    name: str
    image_path: tuple[str, ...] = ("image",)

    def item(self, image: str) -> dict[str, Any]:
        """The item with an image and nothing else, as a strategic merge patch takes it."""
        return {"name": self.name, **_nested(self.image_path, image)}


_SLOTS = {
    Place.CONTAINER: _Slot(list_key="containers", name="app"),
    Place.INIT_CONTAINER: _Slot(list_key="initContainers", name="init"),
    Place.EPHEMERAL_CONTAINER: _Slot(list_key="ephemeralContainers", name="debugger"),
    Place.IMAGE_VOLUME: _Slot(list_key="volumes", name="data", image_path=("image", "reference")),
}


def probe_of(row: Row) -> Probe:
    """The request of a way in.

    Of Pods the bouncer's record is wanted too. Where a controller makes the Pods, their reviews would be in it as well.
    """
    asked = {} if row.is_controlled else {"asked": ["bouncer"]}
    # What is expected does not matter here: the matrix measures, and judges nothing.
    return decode({**_request(row), "expect": {"verdict": "allowed", **asked}})


def request_text(row: Row) -> str:
    """What is sent, as YAML under the command that sends it."""
    request = _request(row)
    if "debug" in request:
        return f"$ kubectl debug {request['debug']['pod']} --image={request['debug']['image']}\n"
    if "object" in request:
        return f"$ kubectl create -f -\n{_dumped(request['object'])}"
    patch = request["patch"]
    return f"$ kubectl patch {patch['kind']} {patch['name']} --type=strategic --patch-file=/dev/stdin\n" + _dumped(
        patch["body"]
    )


def _request(row: Row) -> dict[str, Any]:
    trusted = _manifest(row.workload)
    name = trusted["metadata"]["name"]
    if row.operation is Operation.CREATE:
        return {"object": _with_image(trusted, row, UNTRUSTED_IMAGE)}
    given = {"given": [_MANIFESTS[row.workload]]}
    if row.operation is Operation.DEBUG:
        return given | {"debug": {"pod": name, "image": UNTRUSTED_IMAGE}}
    slot = _SLOTS[row.place]
    body = _nested((*_pod_spec_path(trusted), slot.list_key), [slot.item(UNTRUSTED_IMAGE)])
    reference = {"apiVersion": trusted["apiVersion"], "kind": trusted["kind"], "name": name}
    return given | {"patch": {**reference, "type": "strategic", "body": body}}


def _manifest(workload: Workload) -> dict[str, Any]:
    """A trusted manifest; a copy of one's own, to be changed."""
    loaded: dict[str, Any] = yaml.safe_load(_text(_MANIFESTS[workload]))
    return loaded


@functools.cache
def _text(file: str) -> str:
    return (DIRECTORY / file).read_text(encoding="utf-8")


def _with_image(manifest: dict[str, Any], row: Row, image: str) -> dict[str, Any]:
    spec = manifest
    for key in _pod_spec_path(manifest):
        spec = spec[key]
    slot = _SLOTS[row.place]
    items = spec.setdefault(slot.list_key, [])
    found = next((item for item in items if item["name"] == slot.name), None)
    if found is None:
        items.append(slot.item(image))
        return manifest
    found.update(_nested(slot.image_path, image))
    return manifest


def _pod_spec_path(manifest: dict[str, Any]) -> tuple[str, ...]:
    group, _, _ = manifest["apiVersion"].rpartition("/")
    return POD_SPECS[group, manifest["kind"]]


def _nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    if not isinstance(value, dict):
        raise TypeError("a path has at least one key")
    return value


def _dumped(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
