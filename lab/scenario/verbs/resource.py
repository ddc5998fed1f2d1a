"""The verb ``resource``: objects in the cluster and what must be true of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.scenario.compare import FieldMismatch, field_mismatches
from lab.scenario.result import Mismatch
from lab.scenario.sighting import Sighting, failed

if TYPE_CHECKING:
    from lab.scenario.schema.verbs import Resource, Selection
    from lab.scenario.sighting import Context


def select(selection: Selection, context: Context) -> list[dict[str, Any]]:
    """The objects of a selection; none when their kind is not served at all."""
    kind = context.api.kind(selection.api_version, selection.kind)
    if kind is None:
        return []
    return context.api.find(
        kind,
        namespace=None if selection.namespace == "*" else selection.namespace or "default",
        name=selection.name,
        label_selector=selection.label_selector,
        field_selector=selection.field_selector,
    )


def look(spec: Resource, context: Context) -> Sighting:
    """Find the objects and compare them."""
    objects = select(spec, context)
    wrong: list[FieldMismatch] = []
    for found in objects:
        name = f"{spec.kind} {found['metadata']['name']}"
        wrong += field_mismatches(spec.fields, found, context.captures, of=name)
    facts = {
        "exists": "true" if objects else "false",
        "count": str(len(objects)),
        "names": ", ".join(found["metadata"]["name"] for found in objects),
        "path": ", ".join(field.path for field in wrong),
        "values": ", ".join(field.values for field in wrong),
    }
    return failed(facts, [*_number(spec, len(objects)), *(field.mismatch for field in wrong)])


def _number(spec: Resource, count: int) -> list[Mismatch]:
    what = f"{spec.kind} {spec.name}" if spec.name else f"{spec.kind} objects"
    if spec.count is not None and count != spec.count:
        return [Mismatch(what=what, expected=str(spec.count), actual=str(count))]
    if spec.count is None and bool(count) != spec.exists:
        absent, present = "none", f"{count or 'at least one'}"
        return [
            Mismatch(what=what, expected=present if spec.exists else absent, actual=absent if spec.exists else present)
        ]
    return []
