"""What the node's kubelet server may know: every Pod of the node, how it is run, and where its logs are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cluster.embedded.kubelet_api import HostedPod, PodKind
from lab.cluster.mirror_pods import is_mirror

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from lab.cluster.embedded.pod_agent import PodAgent
    from lab.cluster.embedded.pod_runner import PodRunner
    from lab.cluster.embedded.static_pod_host import StaticPodHost


class NodePods:
    """Looks Pods up for the kubelet server.

    Args:
        agent: the Pods that the API server knows.
        static: the static pods.
    """

    def __init__(self, *, agent: PodAgent, static: StaticPodHost) -> None:
        self._agent = agent
        self._static = static

    def hosted_pods(self) -> Sequence[HostedPod]:
        """Every Pod of the node."""
        return [self._hosted(pod) for pod in self._agent.informer.objects.values()]

    def hosted_pod(self, namespace: str, name: str) -> HostedPod | None:
        """One Pod; a static pod by the name of its mirror."""
        pod = self._agent.informer.get(namespace, name)
        return self._hosted(pod) if pod is not None else None

    def log_path(self, namespace: str, name: str, container: str, *, previous: bool) -> Path | None:
        """The log of a container's latest run, or of the run before."""
        runner = self._runner(namespace, name)
        return runner.log_path(container, previous=previous) if runner is not None else None

    def run_ended(self, namespace: str, name: str, container: str) -> bool:
        """Whether the container's latest run is over, or the Pod gone."""
        runner = self._runner(namespace, name)
        return runner is None or container not in runner.processes

    def _hosted(self, pod: Mapping[str, Any]) -> HostedPod:
        if is_mirror(pod):
            return HostedPod(kind=PodKind.STATIC, pod=pod)
        workload = pod["metadata"]["uid"] in self._agent.runners
        return HostedPod(kind=PodKind.WORKLOAD if workload else PodKind.PLAYED, pod=pod)

    def _runner(self, namespace: str, name: str) -> PodRunner | None:
        for pod, runner in self._static.runners:
            if pod.full_name == f"{name}_{namespace}":
                return runner
        known = self._agent.informer.get(namespace, name)
        return self._agent.runners.get(known["metadata"]["uid"]) if known is not None else None
