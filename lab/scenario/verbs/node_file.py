"""The verb ``nodeFile``: a file of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from lab.scenario.compare import field_mismatches, shown, text_mismatches
from lab.scenario.result import Mismatch
from lab.scenario.sighting import Sighting, failed

if TYPE_CHECKING:
    from lab.scenario.schema.verbs import NodeFile
    from lab.scenario.sighting import Context


def look(spec: NodeFile, context: Context) -> Sighting:
    """Read the file and compare it."""
    content = context.cluster.read_node_file(spec.path)
    facts = {"exists": "false" if content is None else "true"}
    if (content is not None) != spec.exists:
        expected, actual = ("present", "absent") if spec.exists else ("absent", "present")
        return failed(facts, [Mismatch(what=spec.path, expected=expected, actual=actual)])
    if content is None:
        return Sighting(facts=facts)
    text = content.decode("utf-8", errors="replace")
    facts["content"] = text
    wrong = text_mismatches(spec.path, spec.content, text, context.captures)
    if spec.mode is not None:
        facts["mode"] = _mode(spec.path, context)
        if int(facts["mode"], 8) != int(spec.mode, 8):
            wrong.append(Mismatch(what=f"mode of {spec.path}", expected=spec.mode, actual=f"0{facts['mode']}"))
    if spec.fields:
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            wrong.append(Mismatch(what=spec.path, expected="YAML", actual=shown(str(error))))
            return failed(facts, wrong)
        fields = field_mismatches(spec.fields, data, context.captures, of=spec.path)
        facts |= {"path": ", ".join(f.path for f in fields), "values": ", ".join(f.values for f in fields)}
        wrong += [field.mismatch for field in fields]
    return failed(facts, wrong)


def _mode(path: str, context: Context) -> str:
    """The permissions of a file, in octal digits."""
    return context.cluster.node_exec(["stat", "-c", "%a", path]).stdout.strip()
