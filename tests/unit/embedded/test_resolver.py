"""What the lab's name servers answer, message by message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from lab.cluster.embedded.addresses import resolv_conf_for_node, resolv_conf_for_pod
from lab.cluster.embedded.resolver import (
    ClusterResolver,
    NodeResolver,
    Resolver,
    answer,
)


def collection(*items: dict[str, Any]) -> Any:
    objects = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in items}
    return SimpleNamespace(objects=objects, get=lambda namespace, name: objects.get((namespace, name)))


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


def cluster(endpoints: int = 2) -> ClusterResolver:
    ready = [
        {"addresses": [f"10.244.0.{number + 2}"], "hostname": f"db-{number}", "conditions": {"ready": True}}
        for number in range(endpoints)
    ]
    labels = {"kubernetes.io/service-name": "db"}
    unready = {"addresses": ["10.244.0.250"], "hostname": "db-9", "conditions": {"ready": False}}
    item = {
        "metadata": {"namespace": "default", "name": "db-x", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [*ready, unready],
    }
    services = collection(
        service("kubernetes", type="ClusterIP", clusterIP="10.96.0.1"),
        service("db", type="ClusterIP", clusterIP="None"),
        service("outside", type="ExternalName", externalName="example.org"),
    )
    return ClusterResolver(services, collection(item))


def asked(resolver: Resolver, name: str, rdtype: str = "A", **options: Any) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, **options)
    wire = answer(resolver, query.to_wire())
    assert wire is not None
    response = dns.message.from_wire(wire)
    assert query.is_response(response)
    assert response.flags & dns.flags.AA
    return response


def addresses(response: dns.message.Message) -> list[str]:
    return [record.to_text() for records in response.answer for record in records]


@pytest.mark.parametrize("rdtype", ["A", "AAAA", "ANY", "MX"])
@pytest.mark.parametrize("name", ["external-service", "kubernetes.default.svc.cluster.local", "example.org", "."])
def test_the_node_knows_no_name(name: str, rdtype: str) -> None:
    response = asked(NodeResolver(), name, rdtype)
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.answer == []


@pytest.mark.parametrize("name", ["kubernetes.default.svc.cluster.local", "KUBERNETES.Default.svc.Cluster.Local."])
def test_a_service_has_its_cluster_address(name: str) -> None:
    response = asked(cluster(), name)
    assert response.rcode() == dns.rcode.NOERROR
    assert addresses(response) == ["10.96.0.1"]


def test_a_name_that_exists_without_such_a_record_is_no_nxdomain() -> None:
    response = asked(cluster(), "kubernetes.default.svc.cluster.local", "AAAA")
    assert response.rcode() == dns.rcode.NOERROR
    assert response.answer == []
    assert response.authority, "without a SOA record clients would not know how long that holds"


def test_a_headless_service_has_its_ready_endpoints_and_their_names() -> None:
    # In no order: dnspython shuffles a set of records as it writes it, to spread the load.
    assert sorted(addresses(asked(cluster(), "db.default.svc.cluster.local"))) == ["10.244.0.2", "10.244.0.3"]
    assert addresses(asked(cluster(), "db-1.db.default.svc.cluster.local")) == ["10.244.0.3"]
    assert asked(cluster(), "db-9.db.default.svc.cluster.local").rcode() == dns.rcode.NXDOMAIN


def test_an_external_name_is_an_alias() -> None:
    assert addresses(asked(cluster(), "outside.default.svc.cluster.local")) == ["example.org."]


@pytest.mark.parametrize(
    "name",
    [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "absent.default.svc.cluster.local",
        "kubernetes.other.svc.cluster.local",
        "default.svc.cluster.local",
        "a.b.c.d.svc.cluster.local",
        "example.org",
        "evilcluster.local",
    ],
)
def test_every_other_name_does_not_exist_in_the_cluster(name: str) -> None:
    assert asked(cluster(), name).rcode() == dns.rcode.NXDOMAIN


def test_an_answer_too_long_for_udp_is_cut_and_says_so_and_is_whole_over_tcp() -> None:
    resolver = cluster(endpoints=200)
    query = dns.message.make_query("db.default.svc.cluster.local", "A").to_wire()
    short = answer(resolver, query)
    whole = answer(resolver, query, over_tcp=True)
    assert short is not None
    assert whole is not None
    assert len(short) <= 512
    assert dns.message.from_wire(short, ignore_trailing=True).flags & dns.flags.TC
    assert len(addresses(dns.message.from_wire(whole))) == 200


def test_a_client_that_takes_longer_datagrams_gets_them() -> None:
    response = asked(cluster(endpoints=40), "db.default.svc.cluster.local", use_edns=0, payload=1232)
    assert not response.flags & dns.flags.TC
    assert len(addresses(response)) == 40


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\xff" * 40])
def test_what_is_no_query_gets_no_answer(noise: bytes) -> None:
    assert answer(NodeResolver(), noise) is None


def test_an_answer_gets_no_answer() -> None:
    response = dns.message.make_response(dns.message.make_query("a.example", "A"))
    assert answer(NodeResolver(), response.to_wire()) is None


def test_another_operation_is_not_implemented() -> None:
    query = dns.message.make_query("a.example", "A")
    query.set_opcode(dns.opcode.NOTIFY)
    wire = answer(NodeResolver(), query.to_wire())
    assert dns.message.from_wire(cast("bytes", wire)).rcode() == dns.rcode.NOTIMP


def test_the_files_are_those_of_a_real_node_and_pod() -> None:
    assert resolv_conf_for_node() == "nameserver 169.254.169.254\n"
    assert resolv_conf_for_pod("gatekeeper-system").splitlines() == [
        "search gatekeeper-system.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
    ]
