"""Renders the kubeadm configuration of a cluster definition: what kind would generate, with its patches applied.

The base is kind's own template for v1beta4 (kubernetes-sigs/kind, pkg/cluster/internal/kubeadm/config.go), so that both
backends start the same API server under the same flags and a patch that applies on one applies on the other. Left out
is what only a kubelet or a second node would read: KubeletConfiguration, JoinConfiguration, bootstrap tokens and the
provider id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import strict_yaml
from lab.cluster.definition.patching import apply_patches, arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.cluster.definition.model import ClusterDefinition, Networking, Resource

KUBEADM_VERSION = "kubeadm.k8s.io/v1beta4"
CRI_SOCKET = "unix:///run/containerd/containerd.sock"


def cluster_configuration_yaml(
    definition: ClusterDefinition,
    *,
    kubernetes_version: str,
    control_plane_endpoint: str,
    advertise_address: str,
    node_name: str,
    cluster_name: str | None = None,
    bind_port: int = 6443,
    cert_sans: Sequence[str] = (),
    pod_subnet: str | None = None,
    service_subnet: str | None = None,
    etcd_version: str | None = None,
) -> str:
    """What ``kubeadm --config`` is given: ClusterConfiguration, InitConfiguration and KubeProxyConfiguration.

    Args:
        definition: the cluster definition; its patches are applied last and win.
        kubernetes_version: for example ``v1.37.0``.
        control_plane_endpoint: ``HOST:PORT`` that the kubeconfigs of admin and kubelet name.
        advertise_address: IP address of the API server; controller-manager and scheduler call it there.
        node_name: the node's name.
        cluster_name: name in the kubeconfigs; by default the definition's.
        bind_port: port of the API server.
        cert_sans: further names in the API server's certificate.
        pod_subnet: instead of the definition's.
        service_subnet: instead of the definition's.
        etcd_version: the etcd that will run, where it is not the one of kubeadm's own list of images.
    """
    documents = base_documents(
        networking=definition.networking,
        feature_gates=definition.feature_gates,
        runtime_config=definition.runtime_config,
    )
    cluster, init = documents["ClusterConfiguration"], documents["InitConfiguration"]
    cluster["kubernetesVersion"] = kubernetes_version
    cluster["clusterName"] = cluster_name or definition.name
    cluster["controlPlaneEndpoint"] = control_plane_endpoint
    known = cluster["apiServer"]["certSANs"]
    known += [name for name in dict.fromkeys(cert_sans) if name not in known]
    cluster["networking"] |= {
        key: subnet for key, subnet in (("podSubnet", pod_subnet), ("serviceSubnet", service_subnet)) if subnet
    }
    if etcd_version:
        cluster.setdefault("etcd", {}).setdefault("local", {})["imageTag"] = f"{etcd_version}-0"
    init["localAPIEndpoint"] = {"advertiseAddress": advertise_address, "bindPort": bind_port}
    init["nodeRegistration"]["name"] = node_name
    init["nodeRegistration"]["kubeletExtraArgs"] = [
        {"name": "node-ip", "value": advertise_address},
        {"name": "node-labels", "value": _joined(definition.control_plane.labels)},
    ]
    wanted = [documents[kind] for kind in ("ClusterConfiguration", "InitConfiguration", "KubeProxyConfiguration")]
    return strict_yaml.dump(*apply_patches(wanted, definition.patches))


def node_labels(definition: ClusterDefinition) -> dict[str, str]:
    """The labels that the control plane's kubelet would register: the node's own, or those of a patch."""
    init = base_documents(
        networking=definition.networking,
        feature_gates=definition.feature_gates,
        runtime_config=definition.runtime_config,
    )["InitConfiguration"]
    init["nodeRegistration"]["kubeletExtraArgs"] = [
        {"name": "node-labels", "value": _joined(definition.control_plane.labels)}
    ]
    (patched,) = apply_patches([init], definition.patches)
    labels: dict[str, str] = {}
    for argument in arguments(patched["nodeRegistration"].get("kubeletExtraArgs")):
        if argument["name"] == "node-labels":
            pairs = [pair.partition("=") for pair in argument["value"].split(",") if pair]
            labels |= {key: value for key, _, value in pairs}
    return labels


def base_documents(
    *, networking: Networking, feature_gates: Mapping[str, bool], runtime_config: Mapping[str, str]
) -> dict[str, Resource]:
    """What kind generates before any patch, by kind; names and addresses of the node are filled in later."""
    gates = ",".join(f"{name}={str(on).lower()}" for name, on in sorted(feature_gates.items()))
    gate_arguments = [{"name": "feature-gates", "value": gates}] if gates else []
    ipv6 = networking.ip_family == "ipv6"
    cluster: Resource = {
        "apiVersion": KUBEADM_VERSION,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": "",
        "clusterName": "",
        "controlPlaneEndpoint": "",
        "apiServer": {
            # The API server is reached through a loopback address of the machine, by name or by number.
            "certSANs": ["localhost", networking.api_server_address],
            # kind writes the flag without a value too; a JSON patch may count on its place.
            "extraArgs": [{"name": "runtime-config", "value": _joined(runtime_config)}, *gate_arguments],
        },
        "controllerManager": {
            # No use to us, but a flag of the real kind cluster: both backends run the same ones.
            "extraArgs": [*gate_arguments, {"name": "enable-hostpath-provisioner", "value": "true"}]
            + ([{"name": "bind-address", "value": "::"}] if ipv6 else []),
        },
        "scheduler": {
            "extraArgs": gate_arguments + ([{"name": "bind-address", "value": "::1"}] if ipv6 else []),
        },
        "networking": {"podSubnet": networking.pod_subnet, "serviceSubnet": networking.service_subnet},
    }
    init: Resource = {
        "apiVersion": KUBEADM_VERSION,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {},
        "nodeRegistration": {"criSocket": CRI_SOCKET, "kubeletExtraArgs": []},
    }
    proxy: Resource = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": networking.kube_proxy_mode,
        "iptables": {"minSyncPeriod": "1s"},
        # 0 leaves the machine's own limit alone: it is global, not the node's.
        "conntrack": {"maxPerCore": 0},
    }
    if networking.kube_proxy_mode == "none":
        # kind skips the phase; saying it in the configuration does the same for every way of calling kubeadm.
        cluster["proxy"] = {"disabled": True}
        proxy["mode"] = ""
    if feature_gates:
        proxy["featureGates"] = dict(sorted(feature_gates.items()))
    return {
        "ClusterConfiguration": cluster,
        "InitConfiguration": init,
        "KubeProxyConfiguration": proxy,
        # What patches are tried on; an embedded node has no kubelet and joins nothing.
        "JoinConfiguration": {
            "apiVersion": KUBEADM_VERSION,
            "kind": "JoinConfiguration",
            "controlPlane": {"localAPIEndpoint": {}},
            "nodeRegistration": {"criSocket": CRI_SOCKET, "kubeletExtraArgs": []},
            "discovery": {"bootstrapToken": {}},
        },
        "KubeletConfiguration": {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "evictionHard": {},
        },
    }


def _joined(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(pairs.items()))
