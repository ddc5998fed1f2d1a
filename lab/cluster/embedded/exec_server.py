"""Runs commands on the node for callers outside, who hand over their own descriptors.

The supervisor is in the lab's namespaces already, so a command costs a fork: no interpreter is started to enter them. A
caller connects, sends a length, descriptors for stdin, stdout and stderr, and a JSON request
``{"argv": [...], "environment": {...}, "terminal": BOOL}``; it gets ``{"exit_code": N}`` or ``{"error": TEXT}``. A
caller who hangs up ends the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import termios
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.control import LENGTH
from lab.cluster.embedded.node_process import exec_on_node
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.embedded.children import Child, Children

_DESCRIPTORS = 3


class ExecServer:
    """Serves one node.

    Args:
        children: starts and reaps the commands.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, path: Path) -> None:
        """Listen at ``path``, replacing a socket that a dead supervisor left."""
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        self._listener.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self._begin(self._accept())

    def close(self) -> None:
        """Stop listening; commands that run end with the supervisor."""
        for task in self._tasks:
            task.cancel()
        self._listener.close()

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            self._begin(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            try:
                answer = await self._perform(connection)
                await asyncio.get_running_loop().sock_sendall(connection, json.dumps(answer).encode())
            except (ConnectionError, ValueError, struct.error):
                return  # the caller has gone, or is none of ours

    async def _perform(self, connection: socket.socket) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        header, descriptors = await _receive_descriptors(connection)
        try:
            (length,) = LENGTH.unpack(header)
            text = b""
            while len(text) < length:
                piece = await loop.sock_recv(connection, length - len(text))
                if not piece:
                    raise ConnectionResetError("the request ended early")
                text += piece
            child = self._start(json.loads(text), descriptors)
        except LabError as error:
            return {"error": error.message}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        watch = asyncio.create_task(_end_with_caller(connection, child))
        code = await child.exited
        watch.cancel()
        # Until it has ended the loop may still take the reader of this descriptor away, which by then could be another
        # file's number: the pipe of a container's log, for example, whose process would block when the pipe is full.
        await asyncio.wait({watch})
        return {"exit_code": code if code >= 0 else 128 - code}

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> Child:
        stdin, stdout, stderr = descriptors

        def become() -> None:
            if request["terminal"]:
                fcntl.ioctl(stdin, termios.TIOCSCTTY, 0)
            exec_on_node(
                tuple(request["argv"]),
                environment=request["environment"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )

        return self._children.fork(" ".join(request["argv"][:1]), become)


async def _end_with_caller(connection: socket.socket, child: Child) -> None:
    """Kill a command whose caller hangs up."""
    with contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().sock_recv(connection, 1)
    child.signal(signal.SIGKILL)


async def _receive_descriptors(connection: socket.socket) -> tuple[bytes, list[int]]:
    """The first bytes of a request, and the descriptors that came with them."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    header, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, _DESCRIPTORS)
    if len(descriptors) != _DESCRIPTORS:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ConnectionResetError("no descriptors")
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the call takes no keyword
    return header, descriptors
