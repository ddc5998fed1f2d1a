"""The lab's network: one network namespace for the node, one for each Pod, and no way out of either.

What a node of a real cluster has, as far as anything in the lab can see it: an ``eth0`` with the node's address, a
bridge ``cni0`` with a veth pair for each Pod, and Service addresses that answer or refuse. Two things differ, so that
nothing waits for what cannot come:

- No default route, on the node or in a Pod: an address outside the lab fails at once with ENETUNREACH.
- Every address of the Service range is local to the node (an AnyIP route). Where `services` listens, a Service
  answers; where it does not, the kernel refuses the connection, as kube-proxy's REJECT rule has it. A program of the
  node that listens on every address is therefore reachable under every Service address too, on its own port.

Everything is done over netlink from the supervisor's one thread. A Pod's namespace needs no process and no mount: its
open descriptor keeps it alive.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Self

from pyroute2.iproute import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lab.cluster.embedded.addresses import NODE_IP, NODE_RESOLVER_IP, POD_CIDR, POD_GATEWAY_IP, SERVICE_CIDR
from lab.cluster.embedded.syscalls import CLONE_NEWNET, setns, unshare
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BRIDGE = "cni0"
_POD_INTERFACE = "eth0"
_LOCAL_TABLE = 255
_SCOPE_HOST = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAddress:
    """Where a Pod lives.

    Attributes:
        ip: its address.
        netns: open descriptor of its network namespace, for ``setns``; `PodNetwork.remove` closes it.
    """

    ip: str
    netns: int


async def set_up_node() -> None:
    """Make the node's network in the supervisor's fresh network namespace.

    Raises:
        LabError: ``node-network``: the kernel refused.
    """
    try:
        async with AsyncIPRoute() as netlink:
            await _bring_up(netlink, "lo")
            await netlink.addr("add", index=await _index(netlink, "lo"), address=NODE_RESOLVER_IP, prefixlen=32)
            # A veth pair whose other end leads nowhere: not every kernel has dummy devices, and Pods need veth anyway.
            await netlink.link("add", ifname="eth0", kind="veth", peer={"ifname": "nowhere0"})
            await _bring_up(netlink, "nowhere0")
            # A /32, because nothing else is on that wire: with a wider prefix its other addresses would time out.
            await netlink.addr("add", index=await _index(netlink, "eth0"), address=NODE_IP, prefixlen=32)
            await _bring_up(netlink, "eth0")
            await netlink.link("add", ifname=_BRIDGE, kind="bridge", address=_mac(POD_GATEWAY_IP))
            await netlink.addr(
                "add", index=await _index(netlink, _BRIDGE), address=POD_GATEWAY_IP, prefixlen=POD_CIDR.prefixlen
            )
            await _bring_up(netlink, _BRIDGE)
            await netlink.route(
                "add",
                type="local",
                dst=str(SERVICE_CIDR),
                oif=await _index(netlink, "lo"),
                table=_LOCAL_TABLE,
                scope=_SCOPE_HOST,
                prefsrc=NODE_IP,
            )
    except (NetlinkError, OSError) as error:
        raise LabError(
            "node-network",
            f"the node's network could not be made: {error}",
            hint="see whether the kernel has bridge and veth devices (modprobe bridge veth)",
        ) from error


class PodNetwork:
    """Makes and removes the network namespaces of Pods; made inside a running event loop, and closed."""

    def __init__(self) -> None:
        self._netlink = AsyncIPRoute()
        self._pods: dict[str, PodAddress] = {}
        self._taken: set[str] = {POD_GATEWAY_IP}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every namespace; one without processes ends, its veth pair with it."""
        for pod in self._pods.values():
            os.close(pod.netns)
        self._pods.clear()
        self._netlink.close()

    @property
    def pods(self) -> dict[str, PodAddress]:
        """The Pods that have a network, by uid."""
        return dict(self._pods)

    async def add(self, pod_uid: str, *, preferred: str | None = None) -> PodAddress:
        """Make a Pod's namespace, with the lowest free address; a Pod that has one keeps it.

        Args:
            pod_uid: the Pod.
            preferred: the address that it gets if it is free: after a restart of the lab a Pod is to be found where
                the EndpointSlices say that it is.

        Raises:
            LabError: ``pod-network``: no address is free, or the kernel refused.
        """
        if known := self._pods.get(pod_uid):
            return known
        ip = preferred if preferred and self._is_free(preferred) else self._lowest_free()
        self._taken.add(ip)
        netns, inside = _new_namespace()
        try:
            await self._connect(ip, netns, inside)
        except (NetlinkError, OSError) as error:
            os.close(netns)
            self._taken.discard(ip)
            raise LabError(
                "pod-network",
                f"the network of a Pod could not be made: {error}",
                hint="see the supervisor's log; `lab reset` starts over",
                context={"pod uid": pod_uid, "address": ip},
            ) from error
        self._pods[pod_uid] = pod = PodAddress(ip=ip, netns=netns)
        return pod

    async def remove(self, pod_uid: str) -> None:
        """Take a Pod's network away; an unknown Pod is no error."""
        pod = self._pods.pop(pod_uid, None)
        if pod is None:
            return
        os.close(pod.netns)
        try:
            # Deleted by hand, because the kernel ends a namespace some time after its last user, and the address may
            # be given away again before.
            await self._netlink.link("del", index=await _index(self._netlink, _veth(pod.ip)))
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise LabError(
                    "pod-network",
                    f"the network of a Pod could not be removed: {error}",
                    hint="see the supervisor's log; `lab reset` starts over",
                    context={"pod uid": pod_uid, "address": pod.ip},
                ) from error
        finally:
            self._taken.discard(pod.ip)

    def _is_free(self, ip: str) -> bool:
        return IPv4Address(ip) in POD_CIDR and ip not in self._taken

    def _lowest_free(self) -> str:
        for host in POD_CIDR.hosts():
            if str(host) not in self._taken:
                return str(host)
        raise LabError(
            "pod-network",
            f"every address of {POD_CIDR} is taken",
            hint="delete Pods that run as workloads: the lab's node has room for 253",
        )

    async def _connect(self, ip: str, netns: int, inside: AsyncIPRoute) -> None:
        async with inside:
            await self._netlink.link(
                "add",
                ifname=_veth(ip),
                kind="veth",
                state="up",
                master=await _index(self._netlink, _BRIDGE),
                # The hardware address follows the address, so that what others remember of it (ARP) stays true when
                # another Pod gets the same one.
                peer={"ifname": _POD_INTERFACE, "net_ns_fd": netns, "address": _mac(ip)},
            )
            await _bring_up(inside, "lo")
            index = await _index(inside, _POD_INTERFACE)
            await inside.addr("add", index=index, address=ip, prefixlen=POD_CIDR.prefixlen)
            await inside.link("set", index=index, state="up")
            for destination in (str(SERVICE_CIDR), f"{NODE_IP}/32"):
                await inside.route("add", dst=destination, gateway=POD_GATEWAY_IP)


def _new_namespace() -> tuple[int, AsyncIPRoute]:
    """A new network namespace: its descriptor, and netlink inside it.

    The supervisor itself steps into it and back, without awaiting in between. That is sound because it has one thread,
    and quicker than a child process; sockets stay in the namespace in which they were made.
    """
    with _own_namespace_kept():
        unshare(CLONE_NEWNET)
        netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)
    return netns, AsyncIPRoute(fileno=inside.detach())


@contextmanager
def _own_namespace_kept() -> Iterator[None]:
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            yield
        finally:
            setns(own, CLONE_NEWNET)
    finally:
        os.close(own)


async def _index(netlink: AsyncIPRoute, name: str) -> int:
    found: int = (await netlink.link("get", ifname=name))[0]["index"]
    return found


async def _bring_up(netlink: AsyncIPRoute, name: str) -> None:
    await netlink.link("set", index=await _index(netlink, name), state="up")


def _veth(ip: str) -> str:
    """The node's end of a Pod's veth pair: ``veth5`` for 10.244.0.5."""
    return f"veth{int(IPv4Address(ip)) - int(POD_CIDR.network_address)}"


def _mac(ip: str) -> str:
    """A locally administered hardware address that says the address, as the CNI bridge plugin makes them."""
    return "0a:58:" + IPv4Address(ip).packed.hex(":")
