"""How a command talks to a lab's supervisor: one JSON line in, progress lines and one answer out.

A request is ``{"operation": NAME, "arguments": {...}}``. The answer is any number of ``{"progress": TEXT}`` lines and
then ``{"result": VALUE}`` or ``{"error": {...}}``, a `LabError` taken apart. A caller that hangs up cancels its
operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    Operation = Callable[[Mapping[str, Any], Callable[[str], None]], Awaitable[Any]]

_LINE_LIMIT = 1 << 20


class ControlServer:
    """Serves operations on a UNIX socket.

    Args:
        operations: name to coroutine function of (arguments, progress); what it returns must be JSON.
    """

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen at ``path``, replacing a socket that a dead supervisor left."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_LINE_LIMIT)
        path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(message: dict[str, Any]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

        try:
            request = json.loads(await reader.readline())
            work = asyncio.ensure_future(self._perform(request, lambda text: send({"progress": text})))
            hang_up = asyncio.ensure_future(reader.read())
            await asyncio.wait({work, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            hang_up.cancel()
            if not work.done():
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                send(await work)
            await writer.drain()
        except (ConnectionError, json.JSONDecodeError):
            pass  # whoever asked has gone, or was no lab command
        finally:
            writer.close()

    async def _perform(self, request: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
        try:
            operation = self._operations[request["operation"]]
            return {"result": await operation(request.get("arguments", {}), progress)}
        except LabError as error:
            return error_answer(error)
        except Exception as error:  # noqa: BLE001 - the supervisor must outlive a defect of one operation
            return {
                "error": {
                    "code": "supervisor-defect",
                    "message": f"the supervisor failed: {type(error).__name__}: {error}",
                    "hint": "this is a defect of the lab; please report it with supervisor.log (lab logs supervisor)",
                    "context": {},
                }
            }


def error_answer(error: LabError) -> dict[str, Any]:
    """A `LabError` taken apart, as an answer; `call` puts it together again."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint, "context": error.context}}


def call(
    run_directory: Path,
    operation: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    timeout_s: float,
    progress: Callable[[str], None] = lambda _: None,
) -> Any:
    """Ask a supervisor for something and wait for the answer.

    Args:
        run_directory: the lab's directory of sockets.
        operation: name of the operation.
        arguments: what it takes.
        timeout_s: longest silence to bear, in seconds.
        progress: called with each line of progress.

    Raises:
        LabError: what the supervisor answered, or ``lab-gone`` when it does not answer.
    """
    try:
        connection = connect(run_directory, "control.sock", timeout_s=timeout_s)
        with connection, connection.makefile("rwb") as stream:
            stream.write(json.dumps({"operation": operation, "arguments": dict(arguments or {})}).encode() + b"\n")
            stream.flush()
            for line in stream:
                message = json.loads(line)
                if "progress" in message:
                    progress(message["progress"])
                elif "error" in message:
                    raise LabError(**_error_arguments(message["error"]))
                else:
                    return message["result"]
    except OSError as error:
        raise _gone(operation, str(error)) from error
    raise _gone(operation, "it ended while it was at work")


def _error_arguments(error: dict[str, Any]) -> dict[str, Any]:
    return {"code": error["code"], "message": error["message"], "hint": error["hint"], "context": error["context"]}


def _gone(operation: str, reason: str) -> LabError:
    return LabError(
        "lab-gone",
        f"the lab's supervisor does not answer ({operation}: {reason})",
        hint="see lab status and lab logs supervisor; lab down removes what is left, lab up starts again",
    )


def connect(run_directory: Path, name: str, *, timeout_s: float | None = None) -> socket.socket:
    """Connect to one of a lab's sockets, through a descriptor of its directory.

    A socket's own path may be at most 107 bytes long.

    Raises:
        OSError: nobody listens there.
    """
    directory = os.open(run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(f"/proc/self/fd/{directory}/{name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection
