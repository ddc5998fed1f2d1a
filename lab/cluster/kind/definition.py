"""The cluster definition as kind is given it: the file as it stands, and what the lab needs on the node beside it.

Nothing of the definition is changed. Added are mounts (the lab's own files, the node's pki) and two patches. With that
of the kubelet a container that has ended is started again seconds later instead of minutes, and a Secret that was
changed reaches the Pods that mount it sooner, for which Gatekeeper waits before it is ready. With that of kube-proxy a
Service leads away from a Pod as soon as it is told to end: a webhook call that is sent to one which has gone is never
answered, and fails open half a minute later.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.cluster.embedded.backoff import CONTAINER_RESTART_MAX_S
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.cluster.kind.node_services import NodeMount

OVERLAY_VARIABLE = "LAB_KIND_OVERLAY"
"""Names a file with what this machine needs of every kind cluster, such as patches for an old version of cgroups."""

_ADDED = ("nodes", "kubeadmConfigPatches", "containerdConfigPatches")
_KUBELET_PATCH = f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
syncFrequency: 10s
crashLoopBackOff:
  maxContainerRestartPeriod: {CONTAINER_RESTART_MAX_S}s
"""
_PROXY_PATCH = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
iptables:
  minSyncPeriod: 10ms
"""
"""kind's own is a second. Zero would stand for kube-proxy's default, the same."""
_MERGED = "kubeadmConfigPatches"


def render(text: str, *, mounts: Iterable[NodeMount], overlay: str = "", has_own_network: bool = False) -> str:
    """The configuration that kind is given for a lab.

    Args:
        text: the cluster definition, which has been read and found right.
        mounts: what the lab puts on the control plane; a path that the definition mounts itself is left to it.
        overlay: a part of a kind configuration that this machine needs: what its lists hold is added.
        has_own_network: the node image connects Pods itself; it does not hold kind's own network plugin.

    Raises:
        InputError: ``kind-overlay``: the overlay is no mapping, or has keys that cannot be added.
    """
    document: dict[str, Any] = yaml.safe_load(text)
    node = _control_plane(document)
    taken = {mount["containerPath"] for mount in node["extraMounts"]}
    node["extraMounts"] += [
        {"hostPath": mount.host_path, "containerPath": mount.container_path, "readOnly": mount.read_only}
        for mount in mounts
        if mount.container_path not in taken
    ]
    document[_MERGED] = [*(document.get(_MERGED) or []), _KUBELET_PATCH, _PROXY_PATCH]
    return _for_this_machine(document, overlay=overlay, has_own_network=has_own_network)


def render_bare(*, overlay: str = "", has_own_network: bool = False) -> str:
    """The configuration of a cluster that is no lab: one node, and nothing but what this machine needs.

    Raises:
        InputError: as `render`.
    """
    document = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
    return _for_this_machine(document, overlay=overlay, has_own_network=has_own_network)


def _for_this_machine(document: dict[str, Any], *, overlay: str, has_own_network: bool) -> str:
    added = _read_overlay(overlay)
    node = _control_plane(document)
    node["extraMounts"] += [mount for one in added["nodes"] for mount in one.get("extraMounts") or []]
    for key in (_MERGED, "containerdConfigPatches"):
        if patches := [*(document.get(key) or []), *added[key]]:
            document[key] = patches
    if has_own_network:
        document["networking"] = {**(document.get("networking") or {}), "disableDefaultCNI": True}
    return yaml.safe_dump(document, sort_keys=False)


def _control_plane(document: dict[str, Any]) -> dict[str, Any]:
    """The control-plane node of a configuration, with a list of mounts; it is added where kind would assume it."""
    nodes: list[dict[str, Any]] = document.get("nodes") or [{"role": "control-plane"}]
    document["nodes"] = nodes
    node = next(node for node in nodes if node.get("role", "control-plane") == "control-plane")
    node["extraMounts"] = list(node.get("extraMounts") or [])
    return node


def machine_overlay() -> str:
    """What this machine needs of every kind cluster: the file that `OVERLAY_VARIABLE` names, empty when it names none.

    Raises:
        InputError: ``kind-overlay``: the file cannot be read.
    """
    named = os.environ.get(OVERLAY_VARIABLE)
    if not named:
        return ""
    try:
        return Path(named).read_text()
    except OSError as error:
        raise InputError(
            "kind-overlay", f"{OVERLAY_VARIABLE} names a file that cannot be read: {error}", hint="mend the path"
        ) from error


def _read_overlay(text: str) -> dict[str, list[Any]]:
    document = yaml.safe_load(text) or {}
    if not isinstance(document, dict) or not set(document) <= set(_ADDED):
        raise InputError(
            "kind-overlay",
            f"the file that {OVERLAY_VARIABLE} names is no part of a kind configuration that can be added",
            hint=f"write lists under {', '.join(_ADDED)}; what replaces something belongs into the definition",
        )
    return {key: document.get(key) or [] for key in _ADDED}
