"""The verb ``events``: what the cluster recorded, for example that a ReplicaSet could not create its Pods."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lab.scenario.compare import shown, text_mismatches
from lab.scenario.result import Mismatch
from lab.scenario.schema.verbs import Selection
from lab.scenario.sighting import Sighting, failed
from lab.scenario.verbs.resource import select

if TYPE_CHECKING:
    from lab.scenario.schema.verbs import Events
    from lab.scenario.sighting import Context


def look(spec: Events, context: Context) -> Sighting:
    """Find the events and compare their messages."""
    selection = Selection(
        apiVersion="v1", kind="Event", namespace=spec.namespace, fieldSelector=f"reason={spec.reason}"
    )
    messages = [event.get("message", "") for event in select(selection, context) if _is_about(spec, event)]
    fitting = [text for text in messages if not text_mismatches("message", spec.message, text, context.captures)]
    facts = {"count": str(len(messages)), "messages": "\n".join(messages)}
    if bool(fitting) == spec.exists:
        return Sighting(facts=facts)
    what = f"events {spec.reason} in {spec.namespace}"
    if not spec.exists:
        return failed(facts, [Mismatch(what=what, expected="none", actual=shown(fitting[0]))])
    words = "at least one" if spec.message is None else str(spec.message.model_dump(exclude_unset=True, by_alias=True))
    return failed(facts, [Mismatch(what=what, expected=words, actual=shown("\n".join(messages)) or "none")])


def _is_about(spec: Events, event: dict[str, Any]) -> bool:
    about = event.get("involvedObject", {})
    if spec.kind is not None and about.get("kind") != spec.kind:
        return False
    return spec.name_pattern is None or re.fullmatch(spec.name_pattern, about.get("name", "")) is not None
