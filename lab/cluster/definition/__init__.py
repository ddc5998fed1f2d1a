"""The cluster definition ``kind-config.yaml``: read strictly, rendered as the kubeadm configuration it means."""

from lab.cluster.definition.kubeadm import cluster_configuration_yaml, node_labels
from lab.cluster.definition.model import ClusterDefinition, ExtraMount, Networking, Node, PortMapping
from lab.cluster.definition.reader import check_host_paths, parse_cluster_definition, read_cluster_definition

__all__ = [
    "ClusterDefinition",
    "ExtraMount",
    "Networking",
    "Node",
    "PortMapping",
    "check_host_paths",
    "cluster_configuration_yaml",
    "node_labels",
    "parse_cluster_definition",
    "read_cluster_definition",
]
