"""Reads ``kind-config.yaml``, strictly: every fault of the file at once, with line, path and remedy.

The file is kind's own and kind consumes it as it stands. What kind accepts and applies is accepted; what it would drop
without a word, or what would only show as an API server that does not come up, is a fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab import strict_yaml
from lab.cluster.definition.kubeadm import KUBEADM_VERSION, base_documents
from lab.cluster.definition.model import (
    DEFAULT_NODE_IMAGE,
    ClusterDefinition,
    ExtraMount,
    Networking,
    Node,
    PortMapping,
)
from lab.cluster.definition.patching import apply_patches
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.definition.model import Resource
    from lab.cluster.definition.schema import KindNetworking, KindNode
    from lab.strict_yaml import Document, Fault

_WHAT = "the cluster definition"

# kind's defaults for each address family (pkg/internal/apis/config/default.go): listen address, Pods, Services.
_FAMILY_DEFAULTS = {
    "ipv4": ("127.0.0.1", "10.244.0.0/16", "10.96.0.0/16"),
    "ipv6": ("::1", "fd00:10:244::/56", "fd00:10:96::/112"),
    "dual": ("127.0.0.1", "10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"),
}


def read_cluster_definition(path: Path) -> ClusterDefinition:
    """Read a cluster definition.

    Args:
        path: the file; its name stands in every fault.

    Raises:
        InputError: ``cluster-definition`` when it cannot be read, ``invalid-file`` with every fault in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "cluster-definition", f"cannot read {path}: {error}", hint="give the path of a kind-config.yaml"
        ) from error
    return parse_cluster_definition(text, file=str(path))


def parse_cluster_definition(text: str, *, file: str) -> ClusterDefinition:
    """The same for a text.

    Args:
        text: the YAML.
        file: the name that faults give the file.

    Raises:
        InputError: ``invalid-file`` with every fault in it.
    """
    document, faults = strict_yaml.parse(text, file=file)
    if document is None:
        raise strict_yaml.fault_error(faults, what=_WHAT)
    if not isinstance(document.data, dict):
        faults.append(document.fault((), "not a mapping", "begin with 'kind: Cluster' and an apiVersion"))
        raise strict_yaml.fault_error(faults, what=_WHAT)
    definition, found = _decode(document)
    # What is wrong in the YAML itself, such as yes for true, has the wrong shape too: the first says more.
    told = {(fault.line, fault.path) for fault in faults}
    faults += [fault for fault in found if (fault.line, fault.path) not in told]
    if faults or definition is None:
        raise strict_yaml.fault_error(sorted(faults, key=lambda fault: fault.line), what=_WHAT)
    return definition


def check_host_paths(definition: ClusterDefinition, lab_dir: Path) -> None:
    """Check that every extraMount's source is there; Docker would put an empty directory in its place.

    Args:
        definition: the cluster definition.
        lab_dir: the lab's directory, against which relative paths are taken.

    Raises:
        InputError: ``invalid-file`` with every missing path.
    """
    faults = [
        strict_yaml.Fault(
            file=definition.file,
            line=mount.line,
            path=f"nodes[{i}].extraMounts[{j}].hostPath",
            message=f"{lab_dir / mount.host_path} is not there",
            remedy="create it, or correct the path; a relative one is below the lab's directory",
        )
        for i, node in enumerate(definition.nodes)
        for j, mount in enumerate(node.extra_mounts)
        if not (lab_dir / mount.host_path).exists()
    ]
    if faults:
        raise strict_yaml.fault_error(faults, what=_WHAT)


def _decode(document: Document) -> tuple[ClusterDefinition | None, list[Fault]]:
    # Late, because pydantic takes longer to import than the command line takes to answer --help.
    from lab.cluster.definition import checks, patch_source, schema  # noqa: PLC0415

    cluster, faults = schema.decode(schema.KindCluster, document)
    reading = patch_source.read_patches(document)
    faults += reading.faults
    # Without a sound outer shape the networking is unknown; then the patches are tried on kind's defaults.
    networking = _networking(cluster.networking if cluster else None)
    gates = (cluster.feature_gates if cluster else None) or {}
    runtime_config = (cluster.runtime_config if cluster else None) or {}
    base = base_documents(networking=networking, feature_gates=gates, runtime_config=runtime_config)
    sources, wrong = patch_source.applicable(base.values(), reading.patches)
    faults += wrong
    patches = tuple(source.patch for source in sources)
    (effective,) = apply_patches([base["ClusterConfiguration"]], patches)
    if reading.complete:
        # With a patch missing, the others would seem to lack what it brings.
        faults += checks.component_faults(document, effective, sources, _mounted(document))
    if cluster is None:
        return None, faults
    nodes = tuple(_node(document, i, node) for i, node in enumerate(cluster.nodes or [])) or (Node(),)
    faults += checks.node_faults(document, nodes)
    faults += checks.version_faults(document, nodes, sources)
    definition = ClusterDefinition(
        file=document.file,
        name=cluster.name or "kind",
        nodes=nodes,
        networking=networking,
        feature_gates=gates,
        runtime_config=runtime_config,
        patches=patches,
        cluster_configuration=_own_configuration(effective, base["ClusterConfiguration"]),
    )
    return definition, faults


def _own_configuration(effective: Resource, base: Resource) -> Resource:
    """What the patches make of the base, without what the base already said."""
    own: Resource = {"apiVersion": KUBEADM_VERSION, "kind": "ClusterConfiguration"}
    return own | _difference(effective, base)


def _difference(changed: Resource, base: Resource) -> Resource:
    result: Resource = {}
    for key, value in changed.items():
        known = base.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            if inner := _difference(value, known):
                result[key] = inner
        elif isinstance(value, list) and isinstance(known, list):
            if rest := [item for item in value if item not in known]:
                result[key] = rest
        elif value != known:
            result[key] = value
    return result


def _mounted(document: Document) -> list[str]:
    """Container paths of the control plane's extraMounts, read from what is sound of a file with faults."""
    data: Any = document.data
    nodes = data.get("nodes") if isinstance(data.get("nodes"), list) else []
    control_planes = [
        node for node in nodes or [] if isinstance(node, dict) and node.get("role") in (None, "control-plane")
    ]
    mounts = control_planes[0].get("extraMounts") if control_planes else []
    return [
        mount["containerPath"]
        for mount in (mounts if isinstance(mounts, list) else [])
        if isinstance(mount, dict) and isinstance(mount.get("containerPath"), str)
    ]


def _node(document: Document, index: int, node: KindNode) -> Node:
    return Node(
        role=node.role or "control-plane",
        image=node.image or DEFAULT_NODE_IMAGE,
        labels=node.labels or {},
        extra_mounts=tuple(
            ExtraMount(
                host_path=mount.host_path,
                container_path=mount.container_path,
                read_only=bool(mount.read_only),
                propagation=mount.propagation or "None",
                selinux_relabel=bool(mount.selinux_relabel),
                line=document.line_of(("nodes", index, "extraMounts", j, "hostPath")),
            )
            for j, mount in enumerate(node.extra_mounts or [])
        ),
        port_mappings=tuple(
            PortMapping(
                container_port=mapping.container_port,
                host_port=mapping.host_port or 0,
                listen_address=mapping.listen_address or "",
                protocol=mapping.protocol or "TCP",
            )
            for mapping in node.extra_port_mappings or []
        ),
    )


def _networking(read: KindNetworking | None) -> Networking:
    family = (read.ip_family if read else None) or "ipv4"
    address, pods, services = _FAMILY_DEFAULTS[family]
    if read is None:
        return Networking()
    return Networking(
        ip_family=family,
        api_server_address=read.api_server_address or address,
        api_server_port=read.api_server_port or 0,
        pod_subnet=read.pod_subnet or pods,
        service_subnet=read.service_subnet or services,
        disable_default_cni=bool(read.disable_default_cni),
        kube_proxy_mode=read.kube_proxy_mode or "iptables",
    )
