"""Where the Service proxy listens, for Services and EndpointSlices as the real controllers write them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.cluster.embedded.services import wanted_listeners

CLUSTER_IP = "10.96.3.3"


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "https", "port": 443, "targetPort": "web", "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "ns", "name": "web"},
        "spec": {"type": "ClusterIP", "clusterIP": CLUSTER_IP, "ports": ports, **spec},
    }


def endpoint(address: str, *, ready: bool | None = True) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}


def endpoint_slice(*endpoints: dict[str, Any], service_name: str = "web", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "s", "labels": {"kubernetes.io/service-name": service_name}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
        "endpoints": list(endpoints),
        **fields,
    }


def test_a_service_leads_to_its_ready_endpoints_on_the_port_that_the_slice_resolved() -> None:
    slices = [
        endpoint_slice(endpoint("10.244.0.3"), endpoint("10.244.0.9", ready=False)),
        endpoint_slice(endpoint("10.244.0.2", ready=None), endpoint("10.244.0.3")),
    ]
    assert wanted_listeners([service()], slices) == {
        (CLUSTER_IP, 443): (("10.244.0.2", 8443), ("10.244.0.3", 8443)),
    }


@pytest.mark.parametrize(
    "item",
    [
        endpoint_slice(),
        endpoint_slice(endpoint("10.244.0.3", ready=False)),
        endpoint_slice(endpoint("10.244.0.3"), service_name="other"),
        endpoint_slice(endpoint("fd00::3"), addressType="IPv6"),
        endpoint_slice(endpoint("10.244.0.3"), ports=[{"name": "metrics", "port": 8443}]),
        endpoint_slice(endpoint("10.244.0.3"), ports=None),
        endpoint_slice(endpoint("10.244.0.3"), endpoints=None),
    ],
)
def test_without_a_matching_ready_endpoint_nothing_listens(item: dict[str, Any]) -> None:
    assert wanted_listeners([service()], [item]) == {}


def test_a_slice_of_another_namespace_does_not_count() -> None:
    foreign = endpoint_slice(endpoint("10.244.0.3"))
    foreign["metadata"]["namespace"] = "elsewhere"
    assert wanted_listeners([service()], [foreign]) == {}


def test_a_node_port_listens_on_every_address_of_the_node() -> None:
    ports = [{"name": "https", "port": 443, "nodePort": 30080}]
    wanted = wanted_listeners([service(type="NodePort", ports=ports)], [endpoint_slice(endpoint("10.244.0.3"))])
    assert set(wanted) == {
        (CLUSTER_IP, 443),
        ("127.0.0.1", 30080),
        ("192.168.56.10", 30080),
        ("10.244.0.1", 30080),
    }
    assert set(wanted.values()) == {(("10.244.0.3", 8443),)}


def test_an_unnamed_port_finds_the_unnamed_endpoint_port() -> None:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    item = endpoint_slice(endpoint("10.244.0.3"), ports=[{"name": "", "port": 8080, "protocol": "TCP"}])
    assert wanted_listeners([service(ports=ports)], [item]) == {(CLUSTER_IP, 80): (("10.244.0.3", 8080),)}


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"type": "ExternalName", "clusterIP": "", "externalName": "example.org"},
        {"clusterIP": "fd00::1"},
        {"ports": [{"name": "https", "port": 443, "protocol": "UDP"}]},
        {"ports": None},
    ],
)
def test_what_has_no_tcp_address_of_its_own_is_left_out(spec: dict[str, Any]) -> None:
    assert wanted_listeners([service(**spec)], [endpoint_slice(endpoint("10.244.0.3"))]) == {}


def test_the_address_of_cluster_dns_is_left_to_the_resolver_and_its_other_ports_are_not() -> None:
    ports = [
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]
    item = endpoint_slice(
        endpoint("10.244.0.3"), ports=[{"name": "dns-tcp", "port": 53}, {"name": "metrics", "port": 9153}]
    )
    wanted = wanted_listeners([service(clusterIP="10.96.0.10", ports=ports)], [item])
    assert set(wanted) == {("10.96.0.10", 9153)}


def test_a_ready_endpoint_that_is_not_usable_is_left_out() -> None:
    slices = [endpoint_slice(endpoint("10.244.0.2"), endpoint("10.244.0.3"))]
    some = wanted_listeners([service()], slices, usable=lambda one: one["addresses"] == ["10.244.0.3"])
    assert some == {(CLUSTER_IP, 443): (("10.244.0.3", 8443),)}
    assert wanted_listeners([service()], slices, usable=lambda _: False) == {}
