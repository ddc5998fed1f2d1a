"""The pinned third-party programs: kube-apiserver, etcd, Gatekeeper and the rest, each from where it can be trusted.

A lab is only as real as the programs in it, and a verdict means something only when everybody has the same ones. So
each is pinned (`lab.components.pins`), verified, and obtained once: see `Components.ensure`.
"""

from __future__ import annotations

from lab.components.catalog import ComponentInfo, Components
from lab.components.pins import (
    ETCD_VERSION,
    GATEKEEPER_VERSION,
    KIND_VERSION,
    KUBERNETES_VERSION,
    KWOK_VERSION,
    OPA_VERSION,
    REGISTRY_VERSION,
)

__all__ = [
    "ETCD_VERSION",
    "GATEKEEPER_VERSION",
    "KIND_VERSION",
    "KUBERNETES_VERSION",
    "KWOK_VERSION",
    "OPA_VERSION",
    "REGISTRY_VERSION",
    "ComponentInfo",
    "Components",
]
