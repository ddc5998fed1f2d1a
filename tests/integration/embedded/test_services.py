"""The Service proxy and the name servers in a real node's network, fed by a small API server."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from aiohttp import web

from lab.cluster.embedded import network
from lab.cluster.embedded.addresses import CLUSTER_DNS_IP, NODE_IP, NODE_RESOLVER_IP
from lab.cluster.embedded.api_client import ApiClient
from lab.cluster.embedded.resolver import ClusterResolver, DnsServer, NodeResolver
from lab.cluster.embedded.services import SERVICES_PATH, SLICES_PATH, ServiceProxy
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    Runner = Callable[[Callable[[], Coroutine[None, None, None]]], None]

pytestmark = pytest.mark.integration

CLUSTER_IP = "10.96.4.4"
PATIENCE_S = 20.0
AT_ONCE_S = 10.0
"""Long on a busy machine, and shorter than the minutes after which an unanswered connection is given up."""


class FakeApiServer:
    """Services and EndpointSlices to list and watch."""

    def __init__(self) -> None:
        self.version = 1
        self.items: dict[str, dict[str, dict[str, Any]]] = {SERVICES_PATH: {}, SLICES_PATH: {}}
        self.queues: dict[str, set[asyncio.Queue[dict[str, Any]]]] = {SERVICES_PATH: set(), SLICES_PATH: set()}

    def put(self, path: str, item: dict[str, Any]) -> None:
        self.version += 1
        item["metadata"] |= {"namespace": "default", "resourceVersion": str(self.version)}
        self.items[path][item["metadata"]["name"]] = item
        self._send(path, "MODIFIED", item)

    def remove(self, path: str, name: str) -> None:
        self.version += 1
        item = self.items[path].pop(name)
        item["metadata"]["resourceVersion"] = str(self.version)
        self._send(path, "DELETED", item)

    def _send(self, path: str, kind: str, item: dict[str, Any]) -> None:
        for queue in self.queues[path]:
            queue.put_nowait({"type": kind, "object": json.loads(json.dumps(item))})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if "watch" not in request.query:
            metadata = {"resourceVersion": str(self.version)}
            return web.json_response({"metadata": metadata, "items": list(self.items[request.path].values())})
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.queues[request.path].add(queue)
        try:
            while True:
                await response.write(json.dumps(await queue.get()).encode() + b"\n")
        finally:
            self.queues[request.path].discard(queue)

    def service(self, **spec: Any) -> None:
        ports = [{"name": "web", "port": 80, "nodePort": 30080, "protocol": "TCP"}]
        spec = {"type": "NodePort", "clusterIP": CLUSTER_IP, "ports": ports, **spec}
        self.put(SERVICES_PATH, {"metadata": {"name": "web"}, "spec": spec})

    def endpoints(self, *backends: tuple[str, int], ready: bool = True) -> None:
        labels = {"kubernetes.io/service-name": "web"}
        for number, (address, port) in enumerate(backends):
            endpoint = {"addresses": [address], "conditions": {"ready": ready}}
            item = {
                "metadata": {"name": f"web-{number}", "labels": labels},
                "addressType": "IPv4",
                "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
                "endpoints": [endpoint],
            }
            self.put(SLICES_PATH, item)


@asynccontextmanager
async def node() -> AsyncIterator[tuple[FakeApiServer, ServiceProxy]]:
    """The node's network, an API server on it, and a proxy that follows it."""
    await network.set_up_node()
    server = FakeApiServer()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, NODE_IP, 6443).start()
    async with ApiClient(f"http://{NODE_IP}:6443", None) as client:
        proxy = ServiceProxy(client)
        task = asyncio.create_task(proxy.run())
        try:
            yield server, proxy
        finally:
            task.cancel()
            await asyncio.wait({task})
            await runner.cleanup()
            assert task.cancelled()


@asynccontextmanager
async def naming(name: str) -> AsyncIterator[tuple[str, int]]:
    """A backend that says its name, then echoes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode() + b"\n")
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


async def answers(address: tuple[str, int]) -> str:
    reader, writer = await asyncio.open_connection(*address)
    try:
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def refuses(address: tuple[str, int]) -> bool:
    started = time.monotonic()
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionRefusedError:
        assert time.monotonic() - started < AT_ONCE_S
        return True
    writer.close()
    return False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


async def listens_only_while_an_endpoint_is_ready() -> None:
    async with node() as (server, proxy), naming("one") as backend:
        addresses = [(CLUSTER_IP, 80), (NODE_IP, 30080), ("127.0.0.1", 30080), ("10.244.0.1", 30080)]
        server.service()
        server.endpoints(backend, ready=False)
        await until(lambda: len(proxy.slices.objects) == 1)
        for address in addresses:
            assert await refuses(address)
        server.endpoints(backend)
        await until(lambda: len(proxy.listening) == 4)
        for address in addresses:
            assert await answers(address) == "one"
        assert await refuses((CLUSTER_IP, 30080)), "a NodePort is not served on Service addresses"
        assert await refuses((CLUSTER_IP, 81))
        server.endpoints(backend, ready=False)
        await until(lambda: not proxy.listening)
        for address in addresses:
            assert await refuses(address)


async def spreads_over_endpoints_and_keeps_open_connections() -> None:
    async with node() as (server, proxy), naming("one") as one, naming("two") as two:
        server.service()
        server.endpoints(one, two)
        await until(lambda: len(proxy.listening.get((CLUSTER_IP, 80), ())) == 2)
        assert {await answers((CLUSTER_IP, 80)) for _ in range(4)} == {"one", "two"}
        reader, writer = await asyncio.open_connection(CLUSTER_IP, 80)
        await reader.readline()
        server.remove(SLICES_PATH, "web-0")
        await until(lambda: len(proxy.listening[CLUSTER_IP, 80]) == 1)
        assert {await answers((CLUSTER_IP, 80)) for _ in range(4)} == {"two"}
        server.remove(SERVICES_PATH, "web")
        await until(lambda: not proxy.listening)
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()


async def tells_a_taken_port_and_takes_it_when_it_is_free() -> None:
    async with node() as (server, proxy), naming("one") as backend:
        squatter = socket.create_server((CLUSTER_IP, 80))
        server.service()
        server.endpoints(backend)
        await until(lambda: proxy.problems)
        assert list(proxy.problems) == [(CLUSTER_IP, 80)]
        squatter.close()
        await until(lambda: (CLUSTER_IP, 80) in proxy.listening)
        assert await answers((CLUSTER_IP, 80)) == "one"
        assert proxy.problems == {}


async def follows_a_state_from_the_past() -> None:
    async with node() as (server, proxy), naming("one") as backend:
        server.service()
        server.endpoints(backend)
        await until(lambda: proxy.listening)
        server.items[SERVICES_PATH].clear()
        server.version = 1
        proxy.relist()
        await until(lambda: not proxy.listening)
        assert await refuses((CLUSTER_IP, 80))


async def names_are_answered_at_once() -> None:
    async with node() as (server, proxy):
        server.service()
        await until(lambda: proxy.services.objects)
        cluster = DnsServer(ClusterResolver(proxy.services, proxy.slices), (CLUSTER_DNS_IP, 53))
        nobody = DnsServer(NodeResolver(), (NODE_RESOLVER_IP, 53))
        await cluster.start()
        await nobody.start()
        for transport in (dns.asyncquery.udp, dns.asyncquery.tcp):
            query = dns.message.make_query("web.default.svc.cluster.local", "A")
            response = await transport(query, CLUSTER_DNS_IP, timeout=AT_ONCE_S)
            assert [record.to_text() for record in response.answer[0]] == [CLUSTER_IP]
            query = dns.message.make_query("external-service", "AAAA")
            response = await transport(query, NODE_RESOLVER_IP, timeout=AT_ONCE_S)
            assert response.rcode() == dns.rcode.NXDOMAIN
        with pytest.raises(LabError) as caught:
            await DnsServer(NodeResolver(), (NODE_RESOLVER_IP, 53)).start()
        assert caught.value.code == "dns-listen"
        cluster.close()
        nobody.close()


@pytest.mark.parametrize(
    "function",
    [
        listens_only_while_an_endpoint_is_ready,
        spreads_over_endpoints_and_keeps_open_connections,
        tells_a_taken_port_and_takes_it_when_it_is_free,
        follows_a_state_from_the_past,
        names_are_answered_at_once,
    ],
    ids=lambda function: function.__name__,
)
def test_services(in_namespaces: Runner, function: Callable[[], Coroutine[None, None, None]]) -> None:
    in_namespaces(function)
