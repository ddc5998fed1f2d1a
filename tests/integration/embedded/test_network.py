"""The lab's network in real namespaces: what answers, what refuses at once, and that nothing leads out."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded import network
from lab.cluster.embedded.addresses import NODE_IP, POD_CIDR, POD_GATEWAY_IP
from lab.cluster.embedded.network import PodAddress, PodNetwork
from lab.cluster.embedded.syscalls import CLONE_NEWNET, setns
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    Runner = Callable[[Callable[[], Coroutine[None, None, None]]], None]

pytestmark = pytest.mark.integration

AT_ONCE_S = 10.0
"""Far below the two minutes for which the kernel tries where nobody answers; on a busy machine the first SYN may go to
a bridge port that is not up yet, and is sent again after a second."""


@contextmanager
def inside(pod: PodAddress) -> Iterator[None]:
    """The test's own thread in the Pod's namespace; nothing may be awaited meanwhile."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    setns(pod.netns, CLONE_NEWNET)
    try:
        yield
    finally:
        setns(own, CLONE_NEWNET)
        os.close(own)


@asynccontextmanager
async def pods() -> AsyncIterator[PodNetwork]:
    await network.set_up_node()
    async with PodNetwork() as pod_network:
        yield pod_network


async def error_of(address: tuple[str, int], pod: PodAddress | None = None) -> int:
    """The errno of connecting to an address, which must come at once; 0 for a connection."""
    started = time.monotonic()
    with inside(pod) if pod else nullcontext():
        sock = socket.socket()
    with sock:
        sock.setblocking(False)  # noqa: FBT003
        try:
            async with asyncio.timeout(AT_ONCE_S):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except TimeoutError:
            pytest.fail(f"{address} gave no answer within {AT_ONCE_S} s")
        except OSError as error:
            assert time.monotonic() - started < AT_ONCE_S
            return error.errno or -1
    return 0


@asynccontextmanager
async def echoing(address: tuple[str, int], pod: PodAddress | None = None) -> AsyncIterator[None]:
    """A server that sends its client's address back, on the node or in a Pod."""

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        writer.close()
        await writer.wait_closed()

    with inside(pod) if pod else nullcontext():
        listener = socket.create_server(address)
    async with await asyncio.start_server(handle, sock=listener):
        yield


async def asked(address: tuple[str, int], pod: PodAddress) -> str:
    """What the server at an address answers to a Pod."""
    with inside(pod):
        sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003
    async with asyncio.timeout(AT_ONCE_S):
        await asyncio.get_running_loop().sock_connect(sock, address)
    reader, writer = await asyncio.open_connection(sock=sock)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def refuses_and_leads_nowhere() -> None:
    async with pods() as pod_network:
        pod = await pod_network.add("a")
        for origin in (None, pod):
            assert await error_of(("10.96.0.1", 443), origin) == errno.ECONNREFUSED
            assert await error_of(("10.96.255.254", 1), origin) == errno.ECONNREFUSED
            assert await error_of((NODE_IP, 6443), origin) == errno.ECONNREFUSED
            assert await error_of(("192.0.2.1", 443), origin) == errno.ENETUNREACH
            assert await error_of(("8.8.8.8", 53), origin) == errno.ENETUNREACH
            assert await error_of(("192.168.56.11", 22), origin) == errno.ENETUNREACH


async def pods_reach_each_other_the_node_and_services() -> None:
    async with pods() as pod_network:
        first, second = await pod_network.add("a"), await pod_network.add("b")
        assert (first.ip, second.ip) == ("10.244.0.2", "10.244.0.3")
        async with echoing((second.ip, 8080), second), echoing((NODE_IP, 6443)), echoing(("10.96.7.7", 443)):
            assert await asked((second.ip, 8080), first) == first.ip
            assert await asked((NODE_IP, 6443), first) == first.ip
            assert await asked(("10.96.7.7", 443), first) == first.ip
            assert await error_of((second.ip, 8080)) == 0, "the node reaches a Pod"
        async with echoing(("127.0.0.1", 8080), first):
            assert await asked(("127.0.0.1", 8080), first) == "127.0.0.1"
            assert await error_of(("127.0.0.1", 8080), second) == errno.ECONNREFUSED


async def addresses_are_reused_lowest_first() -> None:
    async with pods() as pod_network:
        first, second = await pod_network.add("a"), await pod_network.add("b")
        assert await pod_network.add("a") == first
        await pod_network.remove("a")
        await pod_network.remove("a")
        assert sorted(pod_network.pods) == ["b"]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(first.netns)
        third = await pod_network.add("c")
        assert third.ip == first.ip
        async with echoing((third.ip, 80), third):
            assert await asked((third.ip, 80), second) == second.ip


async def a_process_of_a_removed_pod_is_cut_off() -> None:
    async with pods() as pod_network:
        pod = await pod_network.add("a")
        with inside(pod):
            survivor = socket.socket()
        await pod_network.remove("a")
        with survivor:
            survivor.setblocking(False)  # noqa: FBT003
            with pytest.raises(OSError, match="unreachable"):
                await asyncio.get_running_loop().sock_connect(survivor, (POD_GATEWAY_IP, 1))


async def fails_typed_when_addresses_run_out_or_devices_clash() -> None:
    async with pods() as pod_network:
        with pytest.raises(LabError) as caught:
            await network.set_up_node()
        assert caught.value.code == "node-network"
        pod_network._taken.update(str(host) for host in POD_CIDR.hosts())
        with pytest.raises(LabError) as caught:
            await pod_network.add("one too many")
        assert caught.value.code == "pod-network"


@pytest.mark.parametrize(
    "function",
    [
        refuses_and_leads_nowhere,
        pods_reach_each_other_the_node_and_services,
        addresses_are_reused_lowest_first,
        a_process_of_a_removed_pod_is_cut_off,
        fails_typed_when_addresses_run_out_or_devices_clash,
    ],
    ids=lambda function: function.__name__,
)
def test_network(in_namespaces: Runner, function: Callable[[], Coroutine[None, None, None]]) -> None:
    in_namespaces(function)
