"""The verb ``apiServer``: the API server as a process. What runs counts, never what a mirror pod says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.admission.manifest import PLUGINS_FLAG, flag_values
from lab.scenario.compare import shown
from lab.scenario.result import Mismatch
from lab.scenario.sighting import Sighting, failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.scenario.schema.verbs import ApiServer, FlagExpectation
    from lab.scenario.sighting import Context


def plugins_on(flags: Sequence[str]) -> tuple[str, ...]:
    """The admission plugins that a process's flags enable."""
    return tuple(name for value in flag_values(flags, PLUGINS_FLAG) for name in value.split(",") if name)


def look(spec: ApiServer, context: Context) -> Sighting:
    """Compare the process with what is expected of it."""
    status = context.cluster.status().api_server
    plugins = plugins_on(status.flags)
    facts = {
        "state": status.state,
        "error": status.error,
        "flags": " ".join(status.flags),
        "plugins": ",".join(plugins),
    }
    if status.state != spec.state:
        actual = f"{status.state}: {status.error}" if status.error else status.state
        return failed(facts, [Mismatch(what="API server", expected=spec.state, actual=shown(actual))])
    wrong = [
        Mismatch(what="admission plugins", expected=f"with {name}", actual=",".join(plugins) or "-")
        for name in spec.plugins_enabled
        if name not in plugins
    ]
    wrong += [
        Mismatch(what="admission plugins", expected=f"without {name}", actual=",".join(plugins))
        for name in spec.plugins_disabled
        if name in plugins
    ]
    for flag in spec.flags:
        wrong += _flag(flag, flag_values(status.flags, flag.name.removeprefix("--")))
    if spec.error is not None and not re.search(spec.error, status.error):
        wrong.append(Mismatch(what="error", expected=f"matching {spec.error}", actual=shown(status.error) or "-"))
    return failed(facts, wrong)


def _flag(expected: FlagExpectation, values: tuple[str, ...]) -> list[Mismatch]:
    """What is wrong with one flag; where it was given more than once, the last value counts for ``equals``."""
    if expected.exists is not None:
        words, good = ("given" if expected.exists else "absent"), bool(values) == expected.exists
    elif expected.contains is not None:
        words = f"with {','.join(expected.contains)}"
        good = set(expected.contains) <= {part for value in values for part in value.split(",")}
    elif expected.matches is not None:
        words, good = f"matching {expected.matches}", any(re.search(expected.matches, value) for value in values)
    else:
        words, good = str(expected.equals), bool(values) and values[-1] == expected.equals
    return [] if good else [Mismatch(what=expected.name, expected=words, actual=", ".join(values) or "-")]
