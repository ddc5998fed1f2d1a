"""How a command talks to a lab's supervisor: one JSON line in, progress lines and one answer out.

A request is ``{"operation": NAME, "arguments": {...}}``. The answer is any number of ``{"progress": TEXT}`` lines and
then ``{"result": VALUE}`` or ``{"error": {...}}``, a `LabError` taken apart. A caller that hangs up cancels its
operation, unless that is one that must not end halfway. `control_server` is the other side, in the lab.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LENGTH = struct.Struct("!I")
"""What a request of `exec_server` begins with: the length of the rest, in bytes."""


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
