"""Removes what killed runs have left in Docker: clusters of this state directory that no lab remembers."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lab.cluster.kind import orphans
from lab.cluster.kind.layout import home_mark
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.paths import LabPaths


def remove_left_over(paths: LabPaths) -> tuple[str, ...]:
    """Remove containers, networks and volumes of labs that have no directory any more; their clusters' names.

    Raises:
        LabError: ``docker-failed``: Docker does not remove something.
    """
    if shutil.which("docker") is None:
        return ()
    from lab.cluster.kind.engine import Engine  # noqa: PLC0415 - the docker package takes a while

    try:
        engine = Engine.connect()
    except LabError:
        return ()  # no Docker answers, so it holds nothing that this user could have made
    ending = f"-{home_mark(paths.labs)}"
    found = []
    for cluster in engine.clusters():
        name = cluster.removesuffix(ending)
        if name != cluster and not (paths.labs / name / "lab.json").exists():
            orphans.remove(cluster, engine)
            found.append(cluster)
    return tuple(found)
