"""Accepts connections, so that each one gets the newest certificate and a failed handshake is told.

asyncio's own server binds one TLS context for its lifetime and keeps handshake failures to itself. Yet "the client's
certificate was refused, and why" is just what a person needs to read who sets up mutual TLS. So the loop is our own;
sockets, handshakes and protocols stay asyncio's and aiohttp's.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from typing import TYPE_CHECKING

from lab.bouncer.logs import event
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.bouncer.certificates import ReloadingContext

BACKLOG = 128
HANDSHAKE_TIMEOUT_S = 10.0
"""The API server's whole call has 30 s at most, 10 s by default."""
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_log = logging.getLogger(__name__)


def listen(address: str, port: int) -> socket.socket:
    """Bind and listen.

    Args:
        address: an IPv4 or IPv6 address or a name; empty for all interfaces, IPv6 included where there is any.
        port: 0 lets the system choose.

    Raises:
        LabError: ``port-in-use`` or ``listen-failed``.
        InputError: ``address-invalid``.
    """
    try:
        bound = _bind(address, port)
    except socket.gaierror as error:
        raise InputError(
            "address-invalid", f"cannot listen on {address}: {error.strerror}", hint="give an address of this machine"
        ) from error
    except OSError as error:
        where = f"{address or 'all interfaces'}, port {port}"
        if error.errno == errno.EADDRINUSE:
            raise LabError(
                "port-in-use",
                f"cannot listen on {where}: another program uses this port",
                hint=f"stop it (`ss -ltnp 'sport = :{port}'` names it), or choose another port with --port",
            ) from error
        raise LabError(
            "listen-failed",
            f"cannot listen on {where}: {error.strerror}",
            hint="choose an address of this machine with --address, and a port above 1023 unless you are root",
        ) from error
    bound.settimeout(0)
    return bound


def _bind(address: str, port: int) -> socket.socket:
    if address:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, resolved = found[0]
        return socket.create_server(resolved[:2], family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise
    return socket.create_server(("", port), backlog=BACKLOG)


class Listener:
    """Takes connections from a socket and hands them to a protocol.

    Args:
        listening: the socket; closed by `close`.
        protocol: makes the protocol of a connection (aiohttp's server).
        tls: the context for each new connection; None for plain HTTP.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        protocol: Callable[[], asyncio.BaseProtocol],
        tls: ReloadingContext | None,
    ) -> None:
        self._listening = listening
        self._protocol = protocol
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._listening)
            except OSError as error:
                event(_log, logging.ERROR, "accept-failed", reason=str(error))
                # Out of files is a state that lasts: trying at once would spin. Anything else was that one client.
                await asyncio.sleep(1.0 if error.errno in _OUT_OF_FILES else 0.0)
                continue
            task = loop.create_task(self._open(connection, str(peer[0])))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def close(self) -> None:
        """Stop listening, and let handshakes that have begun end."""
        self._listening.close()
        if self._opening:
            await asyncio.wait(self._opening, timeout=HANDSHAKE_TIMEOUT_S)

    async def _open(self, connection: socket.socket, peer: str) -> None:
        context = None if self._tls is None else self._tls.current
        timeout_s = None if context is None else HANDSHAKE_TIMEOUT_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=context, ssl_handshake_timeout=timeout_s
            )
        except OSError as error:
            # A TCP probe, or a load balancer's: it connects and goes, and said nothing that could be wrong.
            silent = isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError))
            level = logging.DEBUG if silent else logging.WARNING
            event(_log, level, "handshake-failed", peer=peer, reason=_handshake_reason(error))


def _handshake_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"client certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return str(error) or type(error).__name__
