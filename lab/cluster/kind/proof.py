"""Proves that a cluster is what its definition asks for, by what runs: never by what kind was given.

kind drops a patch that matches nothing without a word (one for another version or kind, a map of arguments under
v1beta4), and Docker puts an empty directory in the place of a missing one. So the flags asked for are compared with
those of the running process, the volumes with the mounts of its container, the extraMounts with those of the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.cluster.definition import ClusterDefinition

COMPONENTS = {
    "apiServer": "kube-apiserver",
    "controllerManager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
}
"""Key in the ClusterConfiguration to the name of the process; etcd's arguments lie one level deeper."""
ETCD = "etcd"


def prove(
    definition: ClusterDefinition,
    *,
    processes: Mapping[str, Sequence[str]],
    mounts: Mapping[str, Sequence[str]],
    node: Mapping[str, Any],
) -> None:
    """Compare what runs with what was asked for.

    Args:
        definition: the cluster definition.
        processes: component to the command line of its process.
        mounts: component to the mount points of its container.
        node: Docker's document about the control-plane container.

    Raises:
        LabError: ``patch-dropped``: something was asked for and is not there; each is named.
    """
    missing = [*_flags(definition, processes), *_volumes(definition, mounts), *_extra_mounts(definition, node)]
    if missing:
        raise LabError(
            "patch-dropped",
            f"the cluster runs, but not as {definition.file} asks: {missing[0]}"
            + (f" (and {len(missing) - 1} more)" if missing[1:] else ""),
            hint="kind drops a patch that fits nothing: compare its apiVersion and kind with kubeadm's"
            " (kubeadm.k8s.io/v1beta4, ClusterConfiguration) and write extraArgs as a list",
            context={f"missing {number}": text for number, text in enumerate(missing, 1)},
        )


def arguments_asked_for(definition: ClusterDefinition) -> Iterator[tuple[str, str, str]]:
    """Process, flag and value, for each argument in the definition's patches."""
    configuration = definition.cluster_configuration
    sections = {process: configuration.get(key) or {} for key, process in COMPONENTS.items()}
    sections[ETCD] = (configuration.get("etcd") or {}).get("local") or {}
    for process, section in sections.items():
        for argument in section.get("extraArgs") or []:
            yield process, str(argument["name"]), str(argument["value"])


def _flags(definition: ClusterDefinition, processes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for process, name, value in arguments_asked_for(definition):
        running = processes.get(process)
        if running is None:
            yield f"{process} does not run, and was to have --{name}={value}"
        elif f"--{name}={value}" not in running:
            found = [word for word in running if word.startswith(f"--{name}=")]
            yield f"{process} was to have --{name}={value}, and has {found[0] if found else 'no such flag'}"


def _volumes(definition: ClusterDefinition, mounts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for key, process in COMPONENTS.items():
        for volume in (definition.cluster_configuration.get(key) or {}).get("extraVolumes") or []:
            if volume["mountPath"] not in mounts.get(process, ()):
                yield f"{process} was to have the volume {volume['name']} at {volume['mountPath']}, and has it not"


def _extra_mounts(definition: ClusterDefinition, node: Mapping[str, Any]) -> Iterator[str]:
    found = {mount["Destination"]: mount for mount in node.get("Mounts") or []}
    for mount in definition.extra_mounts:
        there = found.get(mount.container_path)
        if there is None:
            yield f"the node was to have {mount.host_path} at {mount.container_path}, and has it not"
        elif bool(there.get("RW")) is mount.read_only:
            wanted = "read-only" if mount.read_only else "writable"
            yield f"the node was to have {mount.container_path} {wanted}, and it is not"
    published = _published(node)
    for mapping in definition.port_mappings:
        port = f"{mapping.container_port}/{mapping.protocol.lower()}"
        if port not in published:
            yield f"the node was to publish port {port}, and does not"


def _published(node: Mapping[str, Any]) -> set[str]:
    ports = (node.get("NetworkSettings") or {}).get("Ports") or {}
    return {port for port, bindings in ports.items() if bindings}
