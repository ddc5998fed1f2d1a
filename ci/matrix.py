"""What a night replays: every backend that makes its own cluster, with every Kubernetes that CI has for it."""

from __future__ import annotations

from ci.programs import KUBERNETES_BEFORE_VERSION
from lab.components import KUBERNETES_VERSION

_VERSIONS = {"pinned": KUBERNETES_VERSION, "before": KUBERNETES_BEFORE_VERSION}
_REPLAYED = (
    ("embedded", "pinned"),
    ("embedded", "before"),
    # A node image of kind's holds one Kubernetes: the version before needs an image of its own.
    ("kind", "pinned"),
)


def entries() -> list[dict[str, str]]:
    """The entries of a workflow's matrix: ``backend``, ``kubernetes`` and ``version``.

    ``kubernetes`` is ``pinned`` or ``before``, so that a night after a new pin has the night before to compare with.
    """
    return [
        {"backend": backend, "kubernetes": kubernetes, "version": _VERSIONS[kubernetes]}
        for backend, kubernetes in _REPLAYED
    ]
