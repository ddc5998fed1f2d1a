"""What speaks with the API server for the node: the agent, the Service proxy, the kubelet's server, kwok."""

from __future__ import annotations

import asyncio
import logging
import platform
import shutil
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from lab.cluster.embedded import kwok_stages, memory
from lab.cluster.embedded.addresses import API_SERVER_PORT, CLUSTER_DNS_IP, DNS_PORT, NODE_IP, PLAYED_POD_CIDR, POD_CIDR
from lab.cluster.embedded.api_client import ApiClient
from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.kubelet_api import KubeletServer, ServingFiles
from lab.cluster.embedded.layout import KUBERNETES
from lab.cluster.embedded.memory import Memory
from lab.cluster.embedded.node_services import NodeService
from lab.cluster.embedded.pod_agent import PodAgent
from lab.cluster.embedded.pod_directory import NodePods
from lab.cluster.embedded.pod_publisher import PodPublisher
from lab.cluster.embedded.pod_runner import PodRunner
from lab.cluster.embedded.programs import THRIFTY, on_node
from lab.cluster.embedded.resolver import ClusterResolver, DnsServer
from lab.cluster.embedded.services import ServiceProxy
from lab.cluster.mirror_pods import is_mirror
from lab.components.pins import KUBERNETES_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cluster.embedded.children import Children
    from lab.cluster.embedded.layout import LabLayout, LabSettings
    from lab.cluster.embedded.pod_worlds import PodWorlds
    from lab.cluster.embedded.static_pod_host import StaticPodHost
    from lab.images.resolve import ImageResolver

KUBELET_PKI = Path("/var/lib/kubelet/pki")
_POLL_S = 0.02
_OUTAGE_POLL_S = 0.1
_TCP_LISTEN = "0A"
"""State of a listening socket in ``/proc/net/tcp`` (include/net/tcp_states.h)."""
_WORKLOADS_FIRST_S = 1.5
_IN_CLUSTER_WAIT_S = 5.0
_COMING_BACK_S = 15.0
"""How long a Pod that comes back keeps the status of before; Gatekeeper's take 4 s with one core to themselves."""
_KUBERNETES_SERVICE = ("10.96.0.1", 443)

log = logging.getLogger(__name__)


class ClusterLink:
    """Made when the node's kubeconfigs exist; lives until the cluster is frozen.

    Args:
        layout: the lab's directory as the node sees it.
        settings: what the lab is made of.
        children: starts and reaps processes.
        static_pods: the node's static pods.
        worlds: makes the worlds of Pods.
        images: the lab's registry.

    Attributes:
        admin: client with the rights of ``super-admin.conf``.
        person: client with the rights of ``admin.conf``, which hold only once RBAC has been read.
        client: client with the node's own credentials.
        memory: what the node knew when its template was made.
        services: Services and EndpointSlices, and the listeners that they ask for.
        publisher: writes mirror pods and statuses.
        agent: sees to the node's Pods.
    """

    def __init__(
        self,
        *,
        layout: LabLayout,
        settings: LabSettings,
        children: Children,
        static_pods: StaticPodHost,
        worlds: PodWorlds,
        images: ImageResolver,
    ) -> None:
        self._static_pods = static_pods
        self._worlds = worlds
        self.admin = ApiClient.from_kubeconfig(KUBERNETES / "super-admin.conf", user_agent="lab-supervisor")
        self.person = ApiClient.from_kubeconfig(KUBERNETES / "admin.conf", user_agent="lab-supervisor")
        self.client = ApiClient.from_kubeconfig(KUBERNETES / "kubelet.conf", user_agent="kubelet")
        self.memory = Memory.load(memory.PATH)
        self.services = ServiceProxy(self.admin, usable=self._is_usable, memory=self.memory)
        self.publisher = PodPublisher(
            self.client,
            node_name=settings.node_name,
            known=self._known_pod,
        )
        self.agent = PodAgent(
            self.client,
            node_name=settings.node_name,
            images=images,
            is_workload=worlds.is_workload,
            make_runner=self._make_workload_runner,
            publisher=self.publisher,
            memory=self.memory,
        )
        self._kubelet = KubeletServer(
            NodePods(agent=self.agent, static=static_pods),
            ServingFiles(
                certificate=KUBELET_PKI / "kubelet.crt",
                key=KUBELET_PKI / "kubelet.key",
                client_ca=KUBERNETES / "pki/ca.crt",
            ),
        )
        self._dns = DnsServer(ClusterResolver(self.services.services, self.services.slices), (CLUSTER_DNS_IP, DNS_PORT))
        config = layout.run / "kwok.yaml"
        config.write_text(kwok_stages.kwok_config(_node_facts()))
        self._kwok = NodeService(
            "kwok",
            tuple(
                kwok_stages.kwok_argv(
                    on_node(settings.programs["kwok"]),
                    kubeconfig=KUBERNETES / "super-admin.conf",
                    config=config,
                    node_name=settings.node_name,
                    node_ip=NODE_IP,
                    pod_cidr=PLAYED_POD_CIDR,
                )
            ),
            environment={**kwok_stages.kwok_environment(layout.run), **dict(THRIFTY)},
            log=layout.logs / "kwok.log",
            children=children,
        )

    async def run(self) -> None:
        """Speak with the API server, which need not answer yet, until cancelled."""
        await self._dns.start()
        await self._kubelet.start(NODE_IP)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.services.run())
            group.create_task(self.agent.run())
            group.create_task(self._keep_kwok())
            group.create_task(self._remove_stale_mirrors())

    async def stop(self, *, grace_s: float) -> None:
        """End kwok, the workloads and everything that listens; `run` must have been cancelled."""
        # First of all: Pods that end now were not asked to, and their status must not say so.
        await self.publisher.stop()
        await self._kwok.stop()
        await self.agent.stop(grace_s=grace_s)
        await self._kubelet.stop()
        self._dns.close()

    async def close(self) -> None:
        """Drop the connections to the API server."""
        await self.admin.close()
        await self.person.close()
        await self.client.close()

    @property
    def listening(self) -> bool:
        """Whether something listens on the API server's port: cheap to ask while the API server needs the processor."""
        port = f":{API_SERVER_PORT:04X} "
        for table in ("/proc/net/tcp6", "/proc/net/tcp"):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _TCP_LISTEN and f"{fields[1]} ".endswith(port):
                    return True
        return False

    async def answers(self) -> bool:
        """Whether the API server answers a person's requests now."""
        if not self.listening:
            return False
        try:
            await self.person.get("/api/v1/namespaces/default")
        except (ApiError, ApiUnavailable):
            return False
        return True

    async def wait_answers(self) -> None:
        """Wait, without limit, until the API server answers."""
        while not await self.answers():
            await asyncio.sleep(_POLL_S)

    async def wait_first_things(self) -> None:
        """Wait until the API server answers and, for a moment, until the workloads that it knows of are ready.

        What a start state is judged by is a webhook's verdict. Whoever else would use the processor while a webhook
        starts waits here: the other clients of the API server have seconds of work and nobody waits for the first.
        """
        await self.wait_answers()
        deadline = asyncio.get_running_loop().time() + _WORKLOADS_FIRST_S
        while not self.agent.workloads_ready and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)

    def _is_usable(self, endpoint: Mapping[str, Any]) -> bool:
        """Whether an endpoint can be used: one of this node's workloads only while its process is ready."""
        address = endpoint["addresses"][0]
        if IPv4Address(address) not in POD_CIDR:
            return True
        return self.agent.serves(address, uid=(endpoint.get("targetRef") or {}).get("uid"))

    def _known_pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.agent.informer.get(namespace, name)

    async def forget_leaders(self) -> None:
        """Remove the leases of controller-manager and scheduler, which must have been stopped.

        Their next instance has another identity, and would wait for 15 s until a lease that is not renewed runs out.
        """
        for name in ("kube-controller-manager", "kube-scheduler"):
            try:
                await self.admin.delete(f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}")
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise

    async def _keep_kwok(self) -> None:
        """Run kwok while the API server runs, and a new one for each new API server.

        kwok waits a second and more when it is refused at its start, and after an outage its watches come back only
        after a back-off of several seconds; a new one is there in a fraction of one.
        """
        while True:
            await self.wait_first_things()
            served_by = self._api_server_processes()
            self._kwok.start()
            while self._api_server_processes() == served_by:
                await asyncio.sleep(_OUTAGE_POLL_S)
            await self._kwok.stop()

    def _api_server_processes(self) -> dict[str, int]:
        runner = self._static_pods.runner("kube-apiserver")
        return dict(runner.processes) if runner is not None else {}

    async def _remove_stale_mirrors(self) -> None:
        """Remove mirror pods that no manifest stands behind, for example of before a reset."""
        await self.wait_answers()
        await self.agent.informer.synced.wait()
        for pod in list(self.agent.informer.objects.values()):
            mirrors = {static.pod["metadata"]["name"] for static, _ in self._static_pods.runners}
            if is_mirror(pod) and pod["metadata"]["name"] not in mirrors:
                self.publisher.remove(pod)

    async def _make_workload_runner(self, pod: Mapping[str, Any]) -> PodRunner:
        await self.services.services.synced.wait()  # the service variables are part of the environment
        if _asks_the_api_server(pod):
            await self.wait_answers()  # its token can be had no sooner
            await self._api_server_in_cluster()
        world = await self._worlds.workload(pod)
        return PodRunner(pod, world=world, events=_WorkloadEvents(self, pod))

    async def _api_server_in_cluster(self) -> None:
        """Wait a while until the Service ``default/kubernetes`` answers.

        An API server that starts enters itself there only after it answers elsewhere. A real node's rules for it
        outlast that; a program that is refused would end, and come back only after its back-off.
        """
        deadline = asyncio.get_running_loop().time() + _IN_CLUSTER_WAIT_S
        while _KUBERNETES_SERVICE not in self.services.listening and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_S)


class _WorkloadEvents:
    """Tells the API server and the Service proxy what becomes of a workload Pod.

    Of a Pod that comes back (see `PodRunner.coming_back`) the API server hears only when it is ready again, or
    `_COMING_BACK_S` later. Otherwise the controllers would take it out of its Service's EndpointSlice and back, with a
    second or more between when they are at odds with their caches, and a webhook would not answer in a lab that stands.
    """

    def __init__(self, cluster: ClusterLink, pod: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._uid = pod["metadata"]["uid"]
        self._pod = pod
        self._patient = True
        asyncio.get_running_loop().call_later(_COMING_BACK_S, self._lose_patience)

    def changed(self) -> None:
        runner = self._cluster.agent.runners.get(self._uid)
        if runner is not None:
            if not (self._patient and runner.coming_back):
                self._cluster.publisher.show_status(runner.pod, runner.status)
            self._cluster.services.refresh()

    def _lose_patience(self) -> None:
        self._patient = False
        runner = self._cluster.agent.runners.get(self._uid)
        if runner is not None and runner.coming_back:
            self.changed()

    def event(self, kind: str, reason: str, message: str) -> None:
        self._cluster.publisher.event(self._pod, kind=kind, reason=reason, message=message)


def _asks_the_api_server(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod has been given a token for the API server."""
    volumes = pod["spec"].get("volumes") or ()
    sources = [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or ()]
    return any("serviceAccountToken" in source for source in sources)


def _node_facts() -> kwok_stages.NodeFacts:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}
    return kwok_stages.NodeFacts(
        kubelet_version=f"v{KUBERNETES_VERSION}",
        architecture=machine[platform.machine()],
        kernel_version=platform.release(),
        cpus=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        storage_bytes=shutil.disk_usage("/var").total,
    )
