"""Mirror pods: the objects by which a kubelet shows its static pods to the API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
"""What a kubelet marks them with (kubernetes, pkg/kubelet/types)."""


def is_mirror(pod: Mapping[str, Any]) -> bool:
    """Whether a v1.Pod only shows a static pod."""
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})
