"""The relay between real sockets: half-close, back-pressure, resets, and what closing does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

pytestmark = pytest.mark.integration

PATIENCE_S = 20.0
MEGABYTES_10 = 10 * 1024 * 1024


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


@asynccontextmanager
async def backend(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=512)
    async with server:
        yield server.sockets[0].getsockname()


@asynccontextmanager
async def relaying(pick: Callable[[], tuple[str, int] | None]) -> AsyncIterator[tuple[Relay, tuple[str, int]]]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    address = listener.getsockname()
    relay = Relay(listener, pick)
    await relay.start()
    try:
        yield relay, address
    finally:
        relay.close(drop_connections=True)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_ten_megabytes_pass_both_ways_and_half_close_is_kept() -> None:
    request, response = os.urandom(MEGABYTES_10), os.urandom(MEGABYTES_10)
    seen: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(digest(await reader.read()))  # returns only at the client's end of file
        writer.write(response)
        await writer.drain()
        await closed(writer)

    async def scenario() -> None:
        async with backend(handler) as target, relaying(lambda: target) as (relay, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(request)
            writer.write_eof()
            assert digest(await reader.read()) == digest(response)
            await closed(writer)
            await until(lambda: relay.connections == 0)
        assert seen == [digest(request)]

    run(scenario())


def test_a_server_that_ends_first_still_receives() -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        await received.put(await reader.read())
        await closed(writer)

    async def scenario() -> None:
        async with backend(handler) as target, relaying(lambda: target) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.write(b"late")
            await closed(writer)
            assert await received.get() == b"late"

    run(scenario())


def test_a_reader_that_stops_stops_its_writer() -> None:
    sent = 0

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        chunk = bytes(64 * 1024)
        for _ in range(1024):
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)
        await closed(writer)

    async def scenario() -> None:
        async with backend(handler) as target, relaying(lambda: target) as (_, address):
            reader, writer = await asyncio.open_connection(*address, limit=64 * 1024)
            before = -1
            while before != sent:  # grows until every buffer on the way is full
                before = sent
                await asyncio.sleep(0.2)
            assert 0 < sent < 40 * 1024 * 1024
            received = 0
            while chunk := await reader.read(1 << 20):
                received += len(chunk)
            assert received == 64 * 1024 * 1024
            await closed(writer)

    run(scenario())


@pytest.mark.parametrize("pick", [lambda: None, lambda: ("127.0.0.1", 1)])
def test_without_a_reachable_backend_the_client_is_reset(pick: Callable[[], tuple[str, int] | None]) -> None:
    async def scenario() -> None:
        async with relaying(pick) as (relay, address):
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await until(lambda: relay.connections == 0)

    run(scenario())


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_reset_is_handed_on_as_a_reset(side: str) -> None:
    outcome: asyncio.Queue[str] = asyncio.Queue()

    def reset(writer: asyncio.StreamWriter) -> None:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def await_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
            await outcome.put("end of file")
        except ConnectionResetError:
            await outcome.put("reset")
        writer.close()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        if side == "backend":
            reset(writer)
        else:
            writer.write(b"ok")
            await await_reset(reader, writer)

    async def scenario() -> None:
        async with backend(handler) as target, relaying(lambda: target) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"hi")
            if side == "client":
                await reader.readexactly(2)
                reset(writer)
            else:
                await await_reset(reader, writer)
            assert await outcome.get() == "reset"

    run(scenario())


def test_closing_refuses_new_connections_and_keeps_or_drops_the_live_ones() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        await closed(writer)

    async def scenario() -> None:
        async with backend(echo) as target, relaying(lambda: target) as (relay, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"one")
            assert await reader.readexactly(3) == b"one"
            relay.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            writer.write(b"two")
            assert await reader.readexactly(3) == b"two"
            assert relay.connections == 1
            relay.close(drop_connections=True)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await until(lambda: relay.connections == 0)

    run(scenario())


def test_many_clients_at_once_each_get_their_own_answer() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await closed(writer)

    async def ask(address: tuple[str, int], number: int) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"%d" % number)
        writer.write_eof()
        assert await reader.read() == b"%d" % number
        await closed(writer)

    async def scenario() -> None:
        async with backend(echo) as target, relaying(lambda: target) as (_, address):
            await asyncio.gather(*(ask(address, number) for number in range(200)))

    run(scenario())


@pytest.mark.parametrize("steps", range(4))
def test_closing_while_it_starts_leaves_no_watch_on_a_number_that_the_next_file_gets(steps: int) -> None:
    async def scenario() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        number = listener.fileno()
        relay = Relay(listener, lambda: None)
        starting = asyncio.create_task(relay.start())
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        relay.close()
        reader, writer = os.pipe()
        if reader != number:
            os.dup2(reader, number)
            os.close(reader)
        read = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(number, read.set)
        os.write(writer, b".")
        await asyncio.wait_for(read.wait(), 1)
        loop.remove_reader(number)
        os.close(number)
        os.close(writer)

    run(scenario())


def test_what_a_client_has_sent_before_it_is_accepted_is_not_lost() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await closed(writer)

    async def scenario() -> None:
        async with backend(handler) as target:
            listener = socket.create_server(("127.0.0.1", 0))
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"hello")
                client.setblocking(False)  # noqa: FBT003 - the socket module's own signature
                relay = Relay(listener, lambda: target)
                await relay.start()
                try:
                    assert await asyncio.get_running_loop().sock_recv(client, 100) == b"hello"
                finally:
                    relay.close(drop_connections=True)

    run(scenario())
