"""The addresses and names of the lab's network, the same in every lab: each has a network of its own."""

from __future__ import annotations

from ipaddress import IPv4Network

NODE_NAME = "controlplane"
"""The node's name, as on the course's machines. It stands in certificates, so a template fits a lab of any name."""
NODE_IP = "192.168.56.10"
"""The control-plane node's address: the one of the course's machines, so its commands work as printed."""
NODE_RESOLVER_IP = "169.254.169.254"
"""The node's name server, as on the course's machines: it stands in the error text of a failed lookup."""
SERVICE_CIDR = IPv4Network("10.96.0.0/16")
"""kubeadm's default (``networking.serviceSubnet``) is 10.96.0.0/12; kind and the lab use the first /16 of it."""
CLUSTER_DNS_IP = "10.96.0.10"
"""The tenth address of the Service range, by kubeadm's convention."""
POD_CIDR = IPv4Network("10.244.0.0/24")
POD_GATEWAY_IP = "10.244.0.1"
NODE_ADDRESSES = ("127.0.0.1", NODE_IP, POD_GATEWAY_IP)
"""Where the node itself is reached, and so where NodePorts answer."""
PLAYED_POD_CIDR = "10.244.1.0/24"
"""Where the Pods that kwok plays get their addresses; workloads live in the first /24 of the Pod subnet."""
CLUSTER_DOMAIN = "cluster.local"
DNS_PORT = 53
API_SERVER_PORT = 6443


def resolv_conf_for_node() -> str:
    """The node's ``/etc/resolv.conf``."""
    return f"nameserver {NODE_RESOLVER_IP}\n"


def resolv_conf_for_pod(namespace: str) -> str:
    """A Pod's ``/etc/resolv.conf``, as the kubelet writes it for dnsPolicy ClusterFirst."""
    search = f"{namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
    return f"search {search}\nnameserver {CLUSTER_DNS_IP}\noptions ndots:5\n"
