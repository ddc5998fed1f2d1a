"""What kube-proxy does on a real node: Service addresses and NodePorts lead to the ready endpoints.

The real controllers compute the EndpointSlices; this module only listens where a Service with at least one ready
endpoint asks for it, and relays. Where nothing is ready nothing listens, so that the kernel refuses the connection at
once. Left out, because no scenario needs it: UDP (cluster DNS is answered by `resolver` itself), session affinity,
load balancer and external addresses, IPv6.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from typing import TYPE_CHECKING

from lab.cluster.embedded.addresses import CLUSTER_DNS_IP, NODE_ADDRESSES
from lab.cluster.embedded.informer import Informer
from lab.cluster.embedded.relay import BACKLOG, Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.api_errors import JsonObject
    from lab.cluster.embedded.memory import Memory
    from lab.cluster.embedded.relay import Address

SERVICES_PATH = "/api/v1/services"
SLICES_PATH = "/apis/discovery.k8s.io/v1/endpointslices"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"

_RETRY_S = 1.0

log = logging.getLogger(__name__)


def wanted_listeners(
    services: Iterable[JsonObject],
    slices: Iterable[JsonObject],
    *,
    usable: Callable[[JsonObject], bool] = lambda _: True,
) -> dict[Address, tuple[Address, ...]]:
    """Where to listen, and the backends behind each, sorted; an address without a ready backend is left out.

    Args:
        services: Service objects.
        slices: EndpointSlice objects.
        usable: whether an endpoint that is said to be ready is to be used.
    """
    of_service: dict[tuple[str, str], list[JsonObject]] = {}
    for item in slices:
        metadata = item["metadata"]
        name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL, "")
        of_service.setdefault((metadata["namespace"], name), []).append(item)
    wanted: dict[Address, tuple[Address, ...]] = {}
    for service in services:
        metadata = service["metadata"]
        own = of_service.get((metadata["namespace"], metadata["name"]), [])
        for port in _tcp_ports(service):
            backends = tuple(sorted(set(_backends(own, port.get("name") or "", usable))))
            if backends:
                wanted.update(dict.fromkeys(_addresses(service, port), backends))
    return wanted


def ready_endpoints(item: JsonObject) -> Iterator[JsonObject]:
    """The endpoints of an IPv4 EndpointSlice that take traffic; an unset condition means ready."""
    if item.get("addressType") == "IPv4":
        for endpoint in item.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                yield endpoint


def cluster_ip(service: JsonObject) -> str | None:
    """A Service's own address; None for headless and ExternalName Services."""
    spec = service["spec"]
    address: str = spec.get("clusterIP") or ""
    return None if spec.get("type") == "ExternalName" or address in {"", "None"} else address


def _tcp_ports(service: JsonObject) -> Iterator[JsonObject]:
    address = cluster_ip(service)
    if address is not None and ":" not in address:
        for port in service["spec"].get("ports") or []:
            if port.get("protocol", "TCP") == "TCP" and (address, port["port"]) != (CLUSTER_DNS_IP, 53):
                yield port


def _addresses(service: JsonObject, port: JsonObject) -> Iterator[Address]:
    address = cluster_ip(service)
    if address is not None:
        yield address, port["port"]
    if node_port := port.get("nodePort"):
        for node_address in NODE_ADDRESSES:
            yield node_address, node_port


def _backends(slices: Iterable[JsonObject], port_name: str, usable: Callable[[JsonObject], bool]) -> Iterator[Address]:
    """A Service's port finds its endpoint port by name: named targetPorts are already resolved there."""
    for item in slices:
        for port in item.get("ports") or []:
            matches = (port.get("name") or "") == port_name and port.get("protocol", "TCP") == "TCP"
            if matches and port.get("port"):
                for endpoint in filter(usable, ready_endpoints(item)):
                    yield endpoint["addresses"][0], port["port"]


class ServiceProxy:
    """Keeps the listeners of the node in step with the Services and their endpoints.

    Args:
        client: may list and watch Services and EndpointSlices.
        usable: whether an endpoint that is said to be ready is to be used. After a reset the EndpointSlices tell of
            Pods that have not started again; a request that went there would fail, and a webhook fail open.
        memory: Services and EndpointSlices to begin with.

    Attributes:
        services: the Services as they are (the cluster's resolver reads them too).
        slices: the EndpointSlices as they are.
        problems: addresses that could not be listened on, with the reason; tried again every second.
    """

    def __init__(
        self, client: ApiClient, *, usable: Callable[[JsonObject], bool] = lambda _: True, memory: Memory | None = None
    ) -> None:
        self._usable = usable
        self.services = Informer(client, SERVICES_PATH, on_change=self._on_change, memory=memory)
        self.slices = Informer(client, SLICES_PATH, on_change=self._on_change, memory=memory)
        self.problems: dict[Address, str] = {}
        self._changed = asyncio.Event()
        self._listeners: dict[Address, _Listener] = {}
        self._draining: list[_Listener] = []

    @property
    def listening(self) -> dict[Address, tuple[Address, ...]]:
        """The addresses that answer, each with its backends."""
        return {address: listener.backends for address, listener in self._listeners.items()}

    def refresh(self) -> None:
        """Look again at which endpoints are usable."""
        self._changed.set()

    def relist(self) -> None:
        """Read everything again, after etcd was put back."""
        self.services.relist()
        self.slices.relist()
        self._changed.set()

    async def run(self) -> None:
        """Follow the API server until cancelled; then every listener and connection is closed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.services.run())
                group.create_task(self.slices.run())
                group.create_task(self._keep_in_step())
        finally:
            for listener in (*self._listeners.values(), *self._draining):
                listener.relay.close(drop_connections=True)
            self._listeners.clear()
            self._draining.clear()

    def _on_change(self, _old: JsonObject | None, _new: JsonObject | None) -> None:
        self._changed.set()

    async def _keep_in_step(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            # Half a picture (one list is new, the other old or empty) would close listeners that are in use.
            await self.services.synced.wait()
            await self.slices.synced.wait()
            self._changed.clear()
            await self._compare()
            if self.problems:
                loop.call_later(_RETRY_S, self._changed.set)

    async def _compare(self) -> None:
        wanted = wanted_listeners(self.services.objects.values(), self.slices.objects.values(), usable=self._usable)
        self._draining = [listener for listener in self._draining if listener.relay.connections]
        for address in self._listeners.keys() - wanted.keys():
            listener = self._listeners.pop(address)
            listener.relay.close()
            self._draining.append(listener)
        self.problems.clear()
        for address, backends in wanted.items():
            known = self._listeners.get(address)
            if known is None:
                await self._open(address, backends)
            else:
                known.backends = backends

    async def _open(self, address: Address, backends: tuple[Address, ...]) -> None:
        try:
            listener = _Listener(address, backends)
        except OSError as error:
            self.problems[address] = str(error)
            log.warning("service address %s:%d cannot be listened on: %s", *address, error)
        else:
            self._listeners[address] = listener
            await listener.relay.start()


class _Listener:
    """One address that answers; its backends may change while it does."""

    def __init__(self, address: Address, backends: tuple[Address, ...]) -> None:
        self.backends = backends
        self._turns = itertools.count()
        self.relay = Relay(_listen(address), self._next_backend)

    def _next_backend(self) -> Address:
        return self.backends[next(self._turns) % len(self.backends)]


def _listen(address: Address) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
