"""Serves what a command asks of a lab's supervisor; see `control` for what is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from pathlib import Path

    Operation = Callable[[Mapping[str, Any], Callable[[str], None]], Awaitable[Any]]

_LINE_LIMIT = 1 << 20

log = logging.getLogger(__name__)


class ControlServer:
    """Serves operations on a UNIX socket.

    Args:
        operations: name to coroutine function of (arguments, progress); what it returns must be JSON.
        whole: names of those that are finished although their caller hangs up.
    """

    def __init__(self, operations: Mapping[str, Operation], *, whole: Collection[str] = ()) -> None:
        self._operations = operations
        self._whole = whole
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
            given_up = not work.done() and request.get("operation") not in self._whole
            if given_up:
                work.cancel()
            await asyncio.wait({work})
            if not given_up:
                send(_answer(work))
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


def _answer(work: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
    """What an operation that has ended says, whichever way it ended: the supervisor outlives a defect of one."""
    error = asyncio.CancelledError("nobody asked for it") if work.cancelled() else work.exception()
    if error is None:
        return work.result()
    log.error("an operation failed", exc_info=error)
    defect = LabError(
        "supervisor-defect",
        f"the supervisor failed: {type(error).__name__}: {error}",
        hint="this is a defect of the lab; please report it with supervisor.log (lab logs supervisor)",
    )
    return error_answer(defect)


def error_answer(error: LabError) -> dict[str, Any]:
    """A `LabError` taken apart, as an answer; `control.call` puts it together again."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint, "context": error.context}}
