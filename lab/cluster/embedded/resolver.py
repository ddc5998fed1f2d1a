"""The lab's name servers: one for the node, which knows no name at all, and one for Pods, which knows the Services.

On a real node an unknown name goes to whatever resolvers the machine has; the course's ``external-service`` fails
there as it should only by luck, and the query leaves the machine. Here the node's resolver answers NXDOMAIN at once
(what the node does know stands in its ``/etc/hosts``). Pods ask the cluster's DNS address, which answers from the
Services and EndpointSlices that `services` follows anyway; what CoreDNS would forward does not exist.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

from lab.cluster.embedded.addresses import CLUSTER_DOMAIN
from lab.cluster.embedded.services import SERVICE_NAME_LABEL, cluster_ip, ready_endpoints
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster.embedded.informer import Informer
    from lab.cluster.embedded.relay import Address

_TTL_S = 5
"""CoreDNS's own default for cluster names."""
_UDP_BYTES = 512
_TCP_BYTES = 65535
_LENGTH = struct.Struct("!H")
_CLUSTER_ZONE = dns.name.from_text(CLUSTER_DOMAIN)
_IDLE_S = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What is known of a name that exists.

    Attributes:
        addresses: its IPv4 addresses; empty for a name without any.
        alias: the name that it stands for, or None.
    """

    addresses: tuple[str, ...] = ()
    alias: str | None = None


class Resolver(Protocol):
    """Knows names."""

    def resolve(self, name: str) -> Records | None:
        """The records of a lower-case name without the final dot; None when it does not exist."""


class NodeResolver:
    """The node's resolver: no name exists."""

    def resolve(self, name: str) -> Records | None:  # noqa: ARG002 - the protocol's signature
        """Always None."""
        return None


class ClusterResolver:
    """The cluster's resolver: Services, and the named endpoints of headless ones.

    Args:
        services: the Services by namespace and name, kept up to date by their owner.
        slices: the EndpointSlices, likewise.
    """

    def __init__(self, services: Informer, slices: Informer) -> None:
        self._services = services
        self._slices = slices

    def resolve(self, name: str) -> Records | None:
        """``<service>.<namespace>.svc.cluster.local``, or ``<hostname>.`` before that for a headless Service."""
        suffix = f".svc.{CLUSTER_DOMAIN}"
        if not name.endswith(suffix):
            return None
        match name.removesuffix(suffix).split("."):
            case [service_name, namespace]:
                return self._of_service(namespace, service_name)
            case [hostname, service_name, namespace]:
                addresses = tuple(self._endpoints(namespace, service_name, hostname))
                return Records(addresses=addresses) if addresses else None
        return None

    def _of_service(self, namespace: str, name: str) -> Records | None:
        service = self._services.get(namespace, name)
        if service is None:
            return None
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return Records(alias=spec["externalName"])
        address = cluster_ip(service)
        if address is not None:
            return Records(addresses=() if ":" in address else (address,))
        return Records(addresses=tuple(self._endpoints(namespace, name, None)))

    def _endpoints(self, namespace: str, service_name: str, hostname: str | None) -> Iterator[str]:
        for (item_namespace, _), item in self._slices.objects.items():
            labels = item["metadata"].get("labels") or {}
            if item_namespace == namespace and labels.get(SERVICE_NAME_LABEL) == service_name:
                for endpoint in ready_endpoints(item):
                    if hostname is None or endpoint.get("hostname") == hostname:
                        yield endpoint["addresses"][0]


def answer(resolver: Resolver, query: bytes, *, over_tcp: bool = False) -> bytes | None:
    """The answer to one query, in wire format, cut short with the TC flag where UDP has no room for it.

    Returns:
        None for what is no query, and so gets no answer.
    """
    try:
        message = dns.message.from_wire(query)
    except dns.exception.DNSException:
        return None
    if message.flags & dns.flags.QR:
        return None
    response = dns.message.make_response(message)
    response.flags |= dns.flags.AA
    if message.opcode() != dns.opcode.QUERY or len(message.question) != 1:
        response.set_rcode(dns.rcode.NOTIMP)
    else:
        _fill(response, resolver)
    room = _TCP_BYTES if over_tcp else max(_UDP_BYTES, message.payload)
    return response.to_wire(max_size=room, prefer_truncation=True)


def _fill(response: dns.message.Message, resolver: Resolver) -> None:
    question = response.question[0]
    records = resolver.resolve(question.name.to_text(omit_final_dot=True).lower())
    if records is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif records.alias is not None:
        target = dns.name.from_text(records.alias).to_text()
        response.answer.append(dns.rrset.from_text(question.name, _TTL_S, "IN", "CNAME", target))
    elif records.addresses and question.rdtype in {dns.rdatatype.A, dns.rdatatype.ANY}:
        response.answer.append(dns.rrset.from_text(question.name, _TTL_S, "IN", "A", *records.addresses))
    if not response.answer:
        # Clients keep a "no" for as long as the SOA record's last figure says; the lab's names come and go.
        soa = f"ns.{CLUSTER_DOMAIN}. hostmaster.{CLUSTER_DOMAIN}. 1 7200 1800 86400 {_TTL_S}"
        zone = _CLUSTER_ZONE if question.name.is_subdomain(_CLUSTER_ZONE) else dns.name.root
        response.authority.append(dns.rrset.from_text(zone, _TTL_S, "IN", "SOA", soa))


class DnsServer:
    """Answers on one address, over UDP and TCP.

    Args:
        resolver: knows the names.
        address: where to listen.
    """

    def __init__(self, resolver: Resolver, address: Address) -> None:
        self._resolver = resolver
        self._address = address
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            LabError: ``dns-listen``: the address is taken, or not this node's.
        """
        loop = asyncio.get_running_loop()
        host, port = self._address
        try:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._resolver), local_addr=self._address
            )
            self._tcp = await loop.create_server(lambda: _Stream(self._resolver), host, port, start_serving=False)
            await self._tcp.start_serving()  # a call of its own, so that `close` knows the server if this is cancelled
        except OSError as error:
            self.close()
            raise LabError(
                "dns-listen",
                f"the name server cannot listen: {error}",
                hint="stop the program that has the port inside the lab, or start the lab again",
                context={"address": f"{host}:{port}"},
            ) from error

    def close(self) -> None:
        """Stop answering."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        response = answer(self._resolver, data)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)

    def error_received(self, exc: Exception) -> None:
        log.info("name server: %s", exc)  # a client that closed its port before the answer came


class _Stream(asyncio.Protocol):
    """One TCP connection: messages with their length in two bytes before each."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._pending = bytearray()
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            end = _LENGTH.size + length
            if len(self._pending) < end:
                return
            query = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            self._reply(answer(self._resolver, query, over_tcp=True))

    def _reply(self, response: bytes | None) -> None:
        if self._transport is None:
            return
        if response is None:
            self._transport.close()
        else:
            self._transport.write(_LENGTH.pack(len(response)) + response)
