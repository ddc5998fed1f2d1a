"""What must hold between the values of a cluster definition, for its API server to start and find its files.

kubeadm takes any flag and any volume; what does not fit together shows only as an API server that does not come up. A
flag names a file of the container: it must lie below a mount, and the mount's source must be something that the node
has, from kubeadm or from an extraMount.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from lab.admission.manifest import FlagFile, flag_files, is_at_or_below
from lab.cluster.definition.admission_plugins import KUBE_APISERVER_PLUGINS
from lab.cluster.definition.model import JsonPatch
from lab.cluster.definition.patch_source import arguments_with_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.cluster.definition.model import Node, Resource
    from lab.cluster.definition.patch_source import SourcedPatch
    from lab.strict_yaml import Document, Fault, Path

_CA_DIRS = (
    "/etc/ssl/certs",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)
"""Mounted by kubeadm where the node has them. Source: cmd/kubeadm/app/phases/controlplane/volumes.go."""

_OWN_KUBECONFIG = {
    "controllerManager": "/etc/kubernetes/controller-manager.conf",
    "scheduler": "/etc/kubernetes/scheduler.conf",
}
_NODE_OWN = (*_CA_DIRS, "/etc/ssl", "/var/log", "/var/lib", "/run", "/var/run", "/dev", "/proc", "/sys", "/usr")
"""What a node has by itself, or writes."""

_WRITTEN = frozenset({"audit-log-path", "cert-dir"})
"""Flags whose file the component makes itself."""

_FIRST_V1BETA4 = (1, 36)
"""From this minor version on kind gives kubeadm v1beta4. Source: kind, pkg/cluster/internal/kubeadm/config.go."""


def node_faults(document: Document, nodes: Sequence[Node]) -> Iterator[Fault]:
    """Nodes that cannot be made."""
    if all(node.role != "control-plane" for node in nodes):
        yield document.fault(("nodes",), "no node is a control plane", "add '- role: control-plane'")
    for i, node in enumerate(nodes):
        seen: dict[str, int] = {}
        for j, mount in enumerate(node.extra_mounts):
            if mount.container_path in seen:
                yield document.fault(
                    ("nodes", i, "extraMounts", j, "containerPath"),
                    f"{mount.container_path} is mounted already, by extraMounts[{seen[mount.container_path]}]",
                    "choose another containerPath, or remove one of them",
                )
            seen.setdefault(mount.container_path, j)
        yield from _port_faults(document, i, node)


def _port_faults(document: Document, index: int, node: Node) -> Iterator[Fault]:
    taken: set[tuple[str, int, str]] = set()
    for j, mapping in enumerate(node.port_mappings):
        if mapping.host_port <= 0:
            continue
        address = "*" if mapping.listen_address in ("", "0.0.0.0", "::") else mapping.listen_address  # noqa: S104  # compared, not listened on
        same = {known for known in taken if known[1:] == (mapping.host_port, mapping.protocol)}
        if any(address in ("*", known[0]) or known[0] == "*" for known in same):
            yield document.fault(
                ("nodes", index, "extraPortMappings", j),
                f"port {mapping.host_port}/{mapping.protocol} of the host is mapped already",
                "choose another hostPort or listenAddress",
            )
        taken.add((address, mapping.host_port, mapping.protocol))


def version_faults(document: Document, nodes: Sequence[Node], patches: Sequence[SourcedPatch]) -> Iterator[Fault]:
    """Nodes whose kubeadm would not see the patches, because kind writes an older version for it."""
    if not any(source.patch.api_version.startswith("kubeadm.k8s.io/") for source in patches):
        return
    for i, node in enumerate(nodes):
        tag = re.search(r":v(\d+)\.(\d+)\.", node.image)
        if tag is not None and (int(tag[1]), int(tag[2])) < _FIRST_V1BETA4:
            yield document.fault(
                ("nodes", i, "image"),
                "kind gives the kubeadm of a node before Kubernetes 1.36 another version and drops the v1beta4 patches",
                "use a node image of Kubernetes 1.36 or newer, or leave apiVersion out of the patches",
            )


def component_faults(
    document: Document, configuration: Resource, patches: Sequence[SourcedPatch], mounts: Sequence[str]
) -> Iterator[Fault]:
    """Flags and volumes of the control plane that keep it from starting.

    Args:
        document: the definition, where a value's own patch cannot be named.
        configuration: the ClusterConfiguration that all patches together make.
        patches: in the order in which they are applied.
        mounts: what the extraMounts give the node: their container paths.
    """
    places = _Places(document, patches)
    certificates = str(configuration.get("certificatesDir") or "/etc/kubernetes/pki")
    present = (*mounts, certificates)
    for component in ("apiServer", "controllerManager", "scheduler"):
        settings: Resource = configuration.get(component) or {}
        volumes: list[Resource] = settings.get("extraVolumes") or []
        mounted = [certificates, *_CA_DIRS] if component != "scheduler" else []
        mounted += [_OWN_KUBECONFIG[component]] if component in _OWN_KUBECONFIG else []
        yield from _volume_faults(places, component, volumes, present)
        for argument in settings.get("extraArgs") or []:
            place = places.argument((component,), argument["name"])
            if argument["name"].replace("_", "-") in ("enable-admission-plugins", "disable-admission-plugins"):
                yield from _plugin_faults(place, argument)
            for file in _unmounted(argument, mounted):
                yield from _file_faults(place, file, volumes, present)
    local: Resource = (configuration.get("etcd") or {}).get("local") or {}
    for argument in local.get("extraArgs") or []:
        for file in _unmounted(argument, [f"{certificates}/etcd", str(local.get("dataDir") or "/var/lib/etcd")]):
            # kubeadm gives etcd no extraVolumes.
            yield places.argument(("etcd", "local"), argument["name"]).fault(
                f"--{file.flag} names {file.path}, which is not mounted into etcd's container",
                f"put the file below {certificates}/etcd",
            )


def _unmounted(argument: Resource, mounted: Sequence[str]) -> list[FlagFile]:
    """The files of an argument that lie in none of a component's own mounts."""
    files = flag_files([f"--{argument['name']}={argument['value']}"])
    return [file for file in files if not any(is_at_or_below(file.path, directory) for directory in mounted)]


class _Place:
    """Where a value was written, as the faults name it."""

    def __init__(self, document: Document, path: Path) -> None:
        self.document = document
        self.path = path

    def fault(self, message: str, remedy: str) -> Fault:
        return self.document.fault(self.path, message, remedy)


class _Places:
    """Finds the last patch that wrote a value."""

    def __init__(self, document: Document, patches: Sequence[SourcedPatch]) -> None:
        self.merged: list[tuple[Document, Resource]] = []
        self.default = _Place(document, ())
        for source in patches:
            if isinstance(source.patch, JsonPatch):
                self.default = _Place(document, source.path)
            elif source.patch.kind == "ClusterConfiguration":
                self.merged.insert(0, (source.document, source.patch.data))

    def argument(self, component: Path, name: str) -> _Place:
        for document, data in self.merged:
            for path, argument in arguments_with_paths(data):
                if path[: len(component)] == component and argument["name"] == name:
                    return _Place(document, path)
        return self.default

    def volume(self, component: str, index: int) -> _Place:
        """A list replaces a list, so the last patch that has one holds them all."""
        for document, data in self.merged:
            if (data.get(component) or {}).get("extraVolumes") is not None:
                return _Place(document, (component, "extraVolumes", index))
        return self.default


def _plugin_faults(place: _Place, argument: Resource) -> Iterator[Fault]:
    for plugin in str(argument["value"]).split(","):
        if plugin not in KUBE_APISERVER_PLUGINS:
            near = difflib.get_close_matches(plugin, KUBE_APISERVER_PLUGINS, n=1)
            yield place.fault(
                f"the API server has no admission plugin {plugin!r}",
                f"write {near[0]}" if near else "remove it; names are separated by commas, without spaces",
            )


def _volume_faults(
    places: _Places, component: str, volumes: Sequence[Resource], mounts: Sequence[str]
) -> Iterator[Fault]:
    for i, volume in enumerate(volumes):
        host_path, path_type = volume["hostPath"], volume.get("pathType") or ""
        # Without a type the container runtime makes a directory; the OrCreate types make what they name.
        must_exist = path_type not in ("", "DirectoryOrCreate", "FileOrCreate")
        if must_exist and not any(is_at_or_below(host_path, directory) for directory in (*mounts, *_NODE_OWN)):
            yield places.volume(component, i).fault(
                f"pathType {path_type} asks for {host_path}, which nothing puts on the node",
                f"add an extraMount with a containerPath at or above {host_path}",
            )


def _file_faults(place: _Place, file: FlagFile, volumes: Sequence[Resource], mounts: Sequence[str]) -> Iterator[Fault]:
    covering = [volume for volume in volumes if is_at_or_below(file.path, volume["mountPath"])]
    if not covering:
        yield place.fault(
            f"--{file.flag} names {file.path}, which is not mounted into the container",
            "add an entry to extraVolumes whose mountPath is its directory",
        )
        return
    deepest = max(covering, key=lambda volume: len(volume["mountPath"].rstrip("/")))
    on_node = deepest["hostPath"].rstrip("/") + file.path.removeprefix(deepest["mountPath"].rstrip("/"))
    if file.flag in _WRITTEN:
        if deepest.get("readOnly"):
            yield place.fault(
                f"--{file.flag} is written to {file.path}, below the read-only volume {deepest['name']}",
                "set readOnly: false on that volume",
            )
    elif not any(is_at_or_below(on_node, directory) for directory in (*mounts, *_NODE_OWN)):
        yield place.fault(
            f"--{file.flag} names {file.path}, which is {on_node} on the node, and nothing puts that file there",
            f"add an extraMount with a containerPath at or above {on_node}",
        )
