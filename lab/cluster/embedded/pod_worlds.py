"""What each kind of Pod gets from the node: where static pods and workloads differ."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.addresses import NODE_IP, resolv_conf_for_node, resolv_conf_for_pod
from lab.cluster.embedded.backoff import (
    CONTAINER_RESTART_MAX_S,
    CONTAINER_RESTARTS,
    IMAGE_PULLS,
    Backoff,
    BackoffPolicy,
)
from lab.cluster.embedded.pod_environment import PodContext, pod_hostname
from lab.cluster.embedded.pod_runner import PodWorld
from lab.cluster.embedded.pod_volumes import PodVolumes, VolumeError, resolve_host_path
from lab.cluster.embedded.sandbox import Bind
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.children import Children
    from lab.cluster.embedded.layout import LabLayout
    from lab.cluster.embedded.memory import Memory
    from lab.cluster.embedded.network import PodNetwork
    from lab.cluster.embedded.programs import ProgramTable

_RESTARTS = replace(CONTAINER_RESTARTS, maximum_s=CONTAINER_RESTART_MAX_S)
_STATIC_POD_RESTARTS = BackoffPolicy(initial_s=1.0, maximum_s=10.0, forget_after_s=60.0)
"""A kubelet lets a control-plane container wait up to five minutes between restarts; nobody learns from that wait."""
_HOSTS_HEADER = "# Kubernetes-managed hosts file.\n"


class HostPathMounts:
    """The volumes of a static pod, which may be hostPath and emptyDir only: it cannot refer to other objects.

    Args:
        pod: the static pod.
        directory: a directory of its own, for emptyDir.
    """

    def __init__(self, pod: Mapping[str, Any], *, directory: Path) -> None:
        self._volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        self._directory = directory

    async def mounts(self, container: Mapping[str, Any]) -> Sequence[Bind]:
        """What the container mounts, each hostPath checked anew."""
        for name, volume in self._volumes.items():
            self._source(name, volume)  # a kubelet mounts every volume of the Pod, used or not
        return [
            Bind(
                source=self._source(mount["name"], self._volumes.get(mount["name"])) / mount.get("subPath", ""),
                target=mount["mountPath"],
                read_only=bool(mount.get("readOnly")),
            )
            for mount in container.get("volumeMounts") or ()
        ]

    async def close(self) -> None:
        """Nothing is held."""

    def _source(self, name: str, volume: Mapping[str, Any] | None) -> Path:
        if volume is None:
            raise LabError(
                "static-pod-invalid",
                f'a volumeMount names the volume "{name}", which spec.volumes does not have',
                hint="add the volume to the static pod's manifest, or take the mount away",
            )
        if (host_path := volume.get("hostPath")) is not None:
            try:
                return resolve_host_path(str(host_path["path"]), str(host_path.get("type") or ""), Path("/"))
            except VolumeError as error:
                raise VolumeError(error.cause, volume=name) from error
        if "emptyDir" in volume:
            directory = self._directory / name
            directory.mkdir(parents=True, exist_ok=True)
            return directory
        raise LabError(
            "static-pod-invalid",
            f'the volume "{name}" is neither hostPath nor emptyDir: a static pod cannot refer to other objects',
            hint="use a hostPath volume",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodWorlds:
    """Makes the worlds of Pods.

    Attributes:
        layout: the lab's directory as the node sees it.
        children: starts and reaps processes.
        programs: image to program.
        image_id: image to the imageID that the lab's registry has for it; raises `LabError` when it lacks it.
        pod_network: addresses and namespaces of Pods.
        client: client with the node's own credentials.
        memory: what the node knew when its template was made.
        services: gives the Services of the cluster.
    """

    layout: LabLayout
    children: Children
    programs: ProgramTable
    image_id: Callable[[str], Awaitable[str]]
    pod_network: PodNetwork
    client: Callable[[], ApiClient]
    memory: Callable[[], Memory]
    services: Callable[[], Sequence[Mapping[str, Any]]]
    _restarts: Backoff = field(default_factory=lambda: Backoff(_RESTARTS))
    _static_restarts: Backoff = field(default_factory=lambda: Backoff(_STATIC_POD_RESTARTS))
    _pulls: Backoff = field(default_factory=lambda: Backoff(IMAGE_PULLS))

    def forget_failures(self) -> None:
        """Begin every back-off anew: the same Pods are about to be started in another time."""
        for backoff in (self._restarts, self._static_restarts, self._pulls):
            backoff.clear()

    def static(self, pod: Mapping[str, Any]) -> PodWorld:
        """The world of a static pod on the host network."""
        return PodWorld(
            children=self.children,
            program=self.programs.control_plane,
            image_id=self._control_plane_image,
            mounts=HostPathMounts(pod, directory=self.layout.pods / pod["metadata"]["uid"]),
            sandbox_root=self.layout.sandbox_mount,
            log_root=Path("/var/log/pods"),
            log_links=Path("/var/log/containers"),
            node_ip=NODE_IP,
            pod_ip=NODE_IP,
            network=None,
            hosts=_node_hosts,
            resolv_conf=resolv_conf_for_node(),
            services=tuple,
            objects=None,
            backoff=self._static_restarts,
            pulls=self._pulls,
        )

    async def workload(self, pod: Mapping[str, Any]) -> PodWorld:
        """The world of a workload Pod, with an address of its own unless it is on the host network."""
        metadata, spec = pod["metadata"], pod["spec"]
        address = None
        if not spec.get("hostNetwork"):
            before = (pod.get("status") or {}).get("podIP")
            address = await self.pod_network.add(metadata["uid"], preferred=before)
        pod_ip = address.ip if address else NODE_IP
        context = PodContext(pod=pod, pod_ip=pod_ip, node_ip=NODE_IP, services=self.services())
        return PodWorld(
            children=self.children,
            program=self.programs.workload,
            image_id=self._workload_image,
            mounts=_WorkloadVolumes(
                PodVolumes(
                    context,
                    directory=self.layout.pods / metadata["uid"],
                    client=self.client(),
                    memory=self.memory(),
                ),
                network=self.pod_network,
                uid=metadata["uid"],
            ),
            sandbox_root=self.layout.sandbox_mount,
            log_root=Path("/var/log/pods"),
            log_links=Path("/var/log/containers"),
            node_ip=NODE_IP,
            pod_ip=pod_ip,
            network=address.netns if address else None,
            hosts=_node_hosts if address is None else lambda: _pod_hosts(pod, pod_ip),
            resolv_conf=resolv_conf_for_pod(metadata["namespace"]),
            services=self.services,
            objects=self.client(),
            backoff=self._restarts,
            pulls=self._pulls,
        )

    def is_workload(self, pod: Mapping[str, Any]) -> bool:
        """Whether the lab has programs for all containers of a Pod; with one missing, kwok plays the whole Pod."""
        spec = pod["spec"]
        containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
        return all(self.programs.workload(one["image"]) is not None for one in containers)

    async def _control_plane_image(self, image: str) -> str:
        program = self.programs.control_plane(image)
        if program is None:
            return await self.image_id(image)
        return program.image_id

    async def _workload_image(self, image: str) -> str:
        self.programs.require_present(image)
        return await self.image_id(image)


class _WorkloadVolumes:
    """A workload's volumes, whose end is the end of its network too."""

    def __init__(self, volumes: PodVolumes, *, network: PodNetwork, uid: str) -> None:
        self._volumes = volumes
        self._network = network
        self._uid = uid

    async def mounts(self, container: Mapping[str, Any]) -> Sequence[Bind]:
        return await self._volumes.mounts(container)

    async def close(self) -> None:
        await self._volumes.close()
        await self._network.remove(self._uid)


def _node_hosts() -> str:
    return Path("/etc/hosts").read_text()


def _pod_hosts(pod: Mapping[str, Any], pod_ip: str) -> str:
    """As the kubelet writes it (pkg/kubelet/kubelet_pods.go: managedHostsFileContent)."""
    lines = ["127.0.0.1\tlocalhost", f"{pod_ip}\t{pod_hostname(pod)}"]
    lines += ["\t".join([one["ip"], *(one.get("hostnames") or ())]) for one in pod["spec"].get("hostAliases") or ()]
    return _HOSTS_HEADER + "\n".join(lines) + "\n"
