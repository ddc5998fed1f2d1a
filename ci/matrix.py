"""What a night replays: every backend that ``lab`` knows, and every Kubernetes that CI has for it.

So the kind backend is replayed from the night on in which ``lab`` knows it, and no night fails because it does not yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci.programs import KUBERNETES_BEFORE_VERSION
from lab.cluster.backends import open_cluster
from lab.components import KUBERNETES_VERSION
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.paths import LabPaths

PINNED = "pinned"
BEFORE = "before"

_WANTED = (
    ("embedded", PINNED),
    ("embedded", BEFORE),
    # A node image of kind's holds one Kubernetes: the version before needs an image of its own.
    ("kind", PINNED),
)
_VERSIONS = {PINNED: KUBERNETES_VERSION, BEFORE: KUBERNETES_BEFORE_VERSION}


def entries(paths: LabPaths) -> list[dict[str, str]]:
    """The entries of a workflow's matrix: ``backend``, ``kubernetes`` and ``version``.

    ``kubernetes`` is ``pinned`` or ``before``, so that a night after a new pin has the night before to compare with.

    Args:
        paths: the lab's directories; nothing is written to them.
    """
    return [
        {"backend": backend, "kubernetes": kubernetes, "version": _VERSIONS[kubernetes]}
        for backend, kubernetes in _known(paths)
    ]


def _known(paths: LabPaths) -> Iterator[tuple[str, str]]:
    for backend, kubernetes in _WANTED:
        try:
            open_cluster("ci", paths=paths, backend=backend)
        except InputError as error:
            if error.code != "backend-unknown":
                raise
        else:
            yield backend, kubernetes
