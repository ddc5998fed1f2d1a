"""The command ``lab`` as a person finds it on the node: it hands itself to where the lab is managed.

Inside the namespaces a lab cannot be managed: its processes have other numbers there, its API server another address,
and a reset or an end would take the ground away from under the command. So this program sends its arguments and its
descriptors to the process outside that entered the node (`shell_commands`), and ends as the command there ends.

It is run as a file, without the package: it needs the standard library only, and starts in a few milliseconds.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys

SOCKET_VARIABLE = "LAB_COMMANDS"
INTERRUPT = b"i"
LENGTH = struct.Struct("!I")
NOT_IN_A_SHELL = (
    "error: on the node, lab works only where 'lab node shell' or 'lab node exec' led\n"
    "  what to do: run it on the machine itself, or open such a shell\n"
)
GONE = (
    "error: the other end of this shell is gone, so lab cannot be run here\n"
    "  what to do: leave the shell and open another one: lab node shell\n"
)
_FAILED = 2


def main(argv: list[str]) -> int:
    """Have ``lab`` run with these arguments; returns its exit code."""
    path = os.environ.get(SOCKET_VARIABLE)
    if path is None:
        sys.stderr.write(NOT_IN_A_SHELL)
        return _FAILED
    request = json.dumps(argv).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [LENGTH.pack(len(request))], [0, 1, 2])
            connection.sendall(request)
            answer = _answer(connection)
        except OSError:
            answer = b""
    if len(answer) != LENGTH.size:
        sys.stderr.write(GONE)
        return _FAILED
    exit_code: int = LENGTH.unpack(answer)[0]
    return exit_code


def _answer(connection: socket.socket) -> bytes:
    """Wait for the command's end; Ctrl-C goes on to the command, which ends in its own way."""
    while True:
        try:
            return connection.recv(LENGTH.size, socket.MSG_WAITALL)
        except KeyboardInterrupt:
            connection.sendall(INTERRUPT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
