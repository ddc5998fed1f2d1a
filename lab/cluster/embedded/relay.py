"""A TCP relay: what stands in for kube-proxy behind a Service address, and for a port of the lab on the outside.

A relay takes a listening socket, not an address, because a socket stays in the network namespace in which it was
made: a listener of the host's loopback can be accepted from inside the lab, with the backend in the lab's own
namespace. It is written as a pair of asyncio protocols rather than stream loops: data is handed on as it comes,
without a task for each direction.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

Address = tuple[str, int]
"""An IP address and a port."""

BACKLOG = 512
"""Connections that may wait to be accepted; asyncio listens again with its own figure, 100, unless told."""
CONNECT_TIMEOUT_S = 5.0
_BUFFER_BYTES = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST instead of FIN."""

log = logging.getLogger(__name__)


class Relay:
    """Accepts connections and relays each to a backend of its own.

    Half-closed connections are kept half-closed, a slow reader slows its writer down, and a reset, or a backend that
    cannot be reached, resets the client.

    Args:
        listener: a bound and listening stream socket; the relay owns it from now on.
        pick_backend: asked at each connection for an IP address (never a name: resolving it would start a thread) and a
            port; None resets the client.
    """

    def __init__(self, listener: socket.socket, pick_backend: Callable[[], Address | None]) -> None:
        self._listener = listener
        self._pick_backend = pick_backend
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._live: set[_End] = set()

    @property
    def connections(self) -> int:
        """How many client connections are being relayed."""
        return sum(1 for end in self._live if end.is_client)

    async def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        loop = asyncio.get_running_loop()
        # Not started by the same call, which suspends once it listens: closing in that moment would close a descriptor
        # that the loop goes on to watch, and the next file with its number would never be read.
        self._server = await loop.create_server(
            lambda: _End(self, is_client=True), sock=self._listener, backlog=BACKLOG, start_serving=False
        )
        await self._server.start_serving()

    def close(self, *, drop_connections: bool = False) -> None:
        """Stop accepting; live connections stay unless they are to be dropped."""
        if self._server is None:
            self._listener.close()
        else:
            self._server.close()
        if drop_connections:
            for task in self._connecting:
                task.cancel()
            for end in tuple(self._live):
                end.reset()

    def joined(self, end: _End) -> None:
        """A connection was made: a client's one is given its backend."""
        self._live.add(end)
        if end.is_client:
            task = asyncio.get_running_loop().create_task(self._connect(end))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def left(self, end: _End) -> None:
        """A connection is gone."""
        self._live.discard(end)

    async def _connect(self, client: _End) -> None:
        paired = False
        try:
            backend = self._pick_backend()
            if backend is not None:
                server = _End(self, is_client=False)
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await asyncio.get_running_loop().create_connection(lambda: server, *backend)
                paired = client.pair_with(server)
        except OSError as error:
            log.info("relay to %s: %s", backend, error or "timed out")
        finally:
            if not paired:
                client.reset()


class _End(asyncio.Protocol):
    """One end of a relayed connection; what it receives, its peer sends."""

    def __init__(self, relay: Relay, *, is_client: bool) -> None:
        self.is_client = is_client
        self._relay = relay
        self._peer: _End | None = None
        self.transport: asyncio.Transport | None = None
        self.ended = False

    def pair_with(self, peer: _End) -> bool:
        """Begin to relay between the two, both of which waited with reading until now; False if either has left."""
        if self.transport is None or peer.transport is None:
            self.reset()
            peer.reset()
            return False
        self._peer, peer._peer = peer, self
        self.resume_writing()
        peer.resume_writing()
        return True

    def reset(self) -> None:
        """Drop the connection with RST, so that the other side sees an error and not an end."""
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            if sock.fileno() != -1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        # Not at once: asyncio begins to read right after this call, and in older releases of Python 3.11 (Debian 12 has
        # 3.11.2) it does so even when this call has paused it. What came before there is a peer would be lost.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)
        self._relay.joined(self)

    def data_received(self, data: bytes) -> None:
        if (peer := self._transport_of_peer()) is not None:
            peer.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if (peer := self._transport_of_peer()) is not None:
            peer.write_eof()
        if self._peer is not None and self._peer.ended:
            self._peer.close()
            self.close()
        return True  # keep the other direction open

    def close(self) -> None:
        """Close once everything is sent."""
        if self.transport is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        if (peer := self._transport_of_peer()) is not None:
            peer.pause_reading()

    def resume_writing(self) -> None:
        if (peer := self._transport_of_peer()) is not None:
            peer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._relay.left(self)
        if self._peer is not None:
            # An end in good order comes by eof_received first; anything else is a reset and is handed on as one.
            if exc is None and self.ended:
                self._peer.close()
            else:
                self._peer.reset()

    def _transport_of_peer(self) -> asyncio.Transport | None:
        return None if self._peer is None else self._peer.transport
