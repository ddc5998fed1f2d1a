"""A new cluster, as a readable list of actions: kubeadm writes the node, then what a kubelet and kubeadm do next.

Runs once for a cluster definition and a set of programs; the result is kept as a template, which every lab copies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.layout import KUBEADM_CONFIG
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lab.cluster.embedded.api_client import ApiClient

_FIELD_MANAGER = "kubeadm"
_WAIT_S = 60.0
_POLL_S = 0.05


class Bootstrap:
    """Makes a cluster on a node whose supervisor already watches the manifests directory.

    Args:
        run: runs a command on the node and returns its output; raises `LabError` when it fails.
        api: client with the rights of ``super-admin.conf``, made once that file exists.
        node_name: the node's name.
        pod_cidr: where the Pods that kwok plays get their addresses.
        progress: called with each step.
    """

    def __init__(
        self,
        *,
        run: Callable[[str, tuple[str, ...]], Awaitable[str]],
        api: Callable[[], ApiClient],
        node_name: str,
        pod_cidr: str,
        progress: Callable[[str], None],
    ) -> None:
        self._run = run
        self._api = api
        self._node_name = node_name
        self._pod_cidr = pod_cidr
        self._progress = progress

    async def perform(self) -> None:
        """Make the cluster; afterwards it serves Pods in namespace ``default``.

        Raises:
            LabError: kubeadm refused, or the API server did not come up.
        """
        self._progress("kubeadm writes certificates, kubeconfigs and static pod manifests")
        for phase in ("certs all", "kubeconfig all", "etcd local", "control-plane apiserver"):
            await self._kubeadm(phase)
        self._progress("etcd and the API server start")
        await self._api_answers()
        await self._grant_cluster_admins()
        for phase in ("control-plane controller-manager", "control-plane scheduler"):
            await self._kubeadm(phase)
        self._progress("the node registers; kubeadm adds its configuration, coredns and kube-proxy")
        await self._register_node()
        await self._kubeadm("upload-config kubeadm")
        await self._kubeadm("addon all")
        self._progress("the controllers make the default service account")
        await self._default_service_account()

    async def _kubeadm(self, phase: str) -> None:
        await self._run("kubeadm", ("kubeadm", "init", "phase", *phase.split(), "--config", KUBEADM_CONFIG))

    async def _api_answers(self) -> None:
        await _until(
            "the API server's first answer",
            lambda: self._api().get_text("/readyz/poststarthook/rbac/bootstrap-roles"),
        )

    async def _grant_cluster_admins(self) -> None:
        """What ``kubeadm init`` does after its kubeconfig phase: admin.conf has no rights without it."""
        await self._api().apply(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:cluster-admins",
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "kubeadm:cluster-admins"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "kubeadm:cluster-admins"}
                ],
            },
            field_manager=_FIELD_MANAGER,
        )

    async def _register_node(self) -> None:
        """What a kubelet registers, with the labels of kubeadm's mark-control-plane phase and without its taint.

        kind takes the taint from a cluster of one node too, so that Pods can be scheduled.
        """
        node: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self._node_name,
                "labels": {
                    "beta.kubernetes.io/arch": "amd64",
                    "beta.kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": self._node_name,
                    "kubernetes.io/os": "linux",
                    "node-role.kubernetes.io/control-plane": "",
                    "node.kubernetes.io/exclude-from-external-load-balancers": "",
                },
            },
            # Given here, or the controller-manager would give the first /24 of the Pod subnet, where workloads live.
            "spec": {"podCIDR": self._pod_cidr, "podCIDRs": [self._pod_cidr]},
        }
        await self._api().apply(f"/api/v1/nodes/{self._node_name}", node, field_manager="kubelet")

    async def _default_service_account(self) -> None:
        await _until(
            "the service account default/default (kube-controller-manager makes it)",
            lambda: self._api().get("/api/v1/namespaces/default/serviceaccounts/default"),
        )


async def _until(what: str, attempt: Callable[[], Awaitable[object]]) -> None:
    """Repeat a request until it succeeds.

    Raises:
        WaitError: it did not within a minute.
    """
    deadline = asyncio.get_running_loop().time() + _WAIT_S
    while True:
        try:
            await attempt()
        except (ApiError, ApiUnavailable, FileNotFoundError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise WaitError(
                    what=what,
                    timeout_s=_WAIT_S,
                    last_seen=str(error),
                    hint="see lab logs kube-apiserver and lab logs etcd; lab down and lab up start afresh",
                ) from error
            await asyncio.sleep(_POLL_S)
        else:
            return


def kubeadm_failed(argv: tuple[str, ...], *, exit_code: int, output: str) -> LabError:
    """A command of the bootstrap ended with an error."""
    return LabError(
        "bootstrap-failed",
        f"{' '.join(argv)} ended with exit code {exit_code}",
        hint="mend kind-config.yaml if the output names it; see lab logs kubeadm",
        context={"output": output.strip()},
    )
