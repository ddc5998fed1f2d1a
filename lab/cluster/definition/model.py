"""What a cluster definition says, once it has been read and found right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
"""The node image of kind 0.33.0, from its release notes; what a node without an image runs."""

Resource: TypeAlias = dict[str, Any]
"""A Kubernetes-style object as plain data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraMount:
    """A directory or file of the host that the node sees.

    Attributes:
        host_path: on the host; a relative one is below the lab's directory, in which every backend runs.
        container_path: on the node, absolute.
        read_only: whether the node may only read it.
        propagation: ``None``, ``HostToContainer`` or ``Bidirectional``.
        selinux_relabel: whether kind relabels it.
        line: line of the definition on which its host path stands.
    """

    host_path: str
    container_path: str
    read_only: bool = False
    propagation: str = "None"
    selinux_relabel: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A port of the node that the host answers on; 0 and -1 let kind choose the host's port."""

    container_port: int
    host_port: int = 0
    listen_address: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node.

    Attributes:
        role: ``control-plane`` or ``worker``.
        image: node image, for kind only.
        labels: labels of the Node object.
        extra_mounts: what it sees of the host.
        port_mappings: what the host sees of it.
    """

    role: str = "control-plane"
    image: str = DEFAULT_NODE_IMAGE
    labels: Mapping[str, str] = field(default_factory=dict)
    extra_mounts: tuple[ExtraMount, ...] = ()
    port_mappings: tuple[PortMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Networking:
    """Cluster-wide network settings, with kind's defaults filled in; ports and addresses are those on the host."""

    ip_family: str = "ipv4"
    api_server_address: str = "127.0.0.1"
    api_server_port: int = 0
    pod_subnet: str = "10.244.0.0/16"
    service_subnet: str = "10.96.0.0/16"
    disable_default_cni: bool = False
    kube_proxy_mode: str = "iptables"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePatch:
    """An entry of ``kubeadmConfigPatches``.

    Attributes:
        kind: of the object that it changes.
        api_version: of that object; empty when the patch names none and so takes any.
        data: the patch, its kind and apiVersion included.
    """

    kind: str
    api_version: str
    data: Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonPatch:
    """An entry of ``kubeadmConfigPatchesJSON6902``.

    Attributes:
        kind: of the object that it changes.
        api_version: of that object.
        operations: in the order in which they are applied.
    """

    kind: str
    api_version: str
    operations: tuple[Resource, ...]


Patch: TypeAlias = MergePatch | JsonPatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDefinition:
    """The whole of ``kind-config.yaml``.

    Attributes:
        file: the file that it was read from.
        name: the cluster's name in the file; the lab's own name goes before it.
        nodes: at least one, a control plane among them.
        networking: cluster-wide network settings.
        feature_gates: for every Kubernetes component.
        runtime_config: what ``--runtime-config`` of the API server switches.
        patches: what changes the kubeadm configuration of the control plane, in the order in which kind applies it.
        cluster_configuration: the ClusterConfiguration that these patches make of an empty one: what the definition
            itself asks for, ``extraArgs`` as lists.
    """

    file: str
    name: str
    nodes: tuple[Node, ...]
    networking: Networking
    feature_gates: Mapping[str, bool]
    runtime_config: Mapping[str, str]
    patches: tuple[Patch, ...]
    cluster_configuration: Resource

    @property
    def control_plane(self) -> Node:
        """The first control-plane node."""
        return next(node for node in self.nodes if node.role == "control-plane")

    @property
    def node_image(self) -> str:
        """The control plane's node image."""
        return self.control_plane.image

    @property
    def extra_mounts(self) -> tuple[ExtraMount, ...]:
        """What the control plane sees of the host."""
        return self.control_plane.extra_mounts

    @property
    def port_mappings(self) -> tuple[PortMapping, ...]:
        """What the host sees of the control plane."""
        return self.control_plane.port_mappings
