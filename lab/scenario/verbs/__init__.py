"""The verbs of a check, one module each: look, compare, say what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.scenario.verbs import api_server, events, exec, node_file, probe, resource, rollout  # noqa: A004  # the verb exec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.scenario.schema.verbs import Verbs
    from lab.scenario.sighting import Context, Sighting

LOOK: Mapping[str, Callable[[Any, Context], Sighting]] = {
    "probe": probe.look,
    "resource": resource.look,
    "apiServer": api_server.look,
    "nodeFile": node_file.look,
    "rollout": rollout.look,
    "exec": exec.look,
    "events": events.look,
}
"""Every verb of the format by its key in the file."""


def look(step: Verbs, context: Context) -> Sighting:
    """Use the step's one verb.

    Raises:
        LabError: it could not look.
    """
    return LOOK[step.chosen](step.verb, context)
