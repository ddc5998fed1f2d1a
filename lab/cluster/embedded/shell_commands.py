"""Runs ``lab`` for a person who types it in a node's shell: outside, as the user who opened that shell.

The process that opened the shell listens at a socket in the lab's directory for as long as the shell lasts. What is
typed inside (`lab_on_node`) comes with its descriptors, so it has the shell's own terminal; only paths in its arguments
are the machine's. A person inside can do nothing that the user outside cannot: the node is no security boundary.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab.cluster.embedded import lab_on_node
from lab.cluster.embedded.lab_on_node import INTERRUPT, LENGTH, SOCKET_VARIABLE
from lab.cluster.embedded.layout import INSIDE

if TYPE_CHECKING:
    from types import TracebackType

INSIDE_VARIABLE = "LAB_INSIDE"
"""Set for a command that was typed in a node's shell: there is a shell already."""

_DESCRIPTORS = 3


class ShellCommands:
    """Serves the shells of one process; a context manager.

    Args:
        run_directory: the lab's directory of sockets.
        environment: variables that the commands get beside those of this process, such as the lab's name.
        seen_as: that directory as the node sees it.
    """

    def __init__(self, run_directory: Path, *, environment: dict[str, str], seen_as: Path = INSIDE / "run") -> None:
        self._directory = run_directory
        self._seen_as = seen_as
        self._name = f"lab-{os.getpid()}.sock"
        self._environment = environment
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._running: set[subprocess.Popen[bytes]] = set()

    @property
    def shell_environment(self) -> dict[str, str]:
        """What a shell must have in its environment for ``lab`` to find the way here."""
        return {SOCKET_VARIABLE: str(self._seen_as / self._name)}

    def __enter__(self) -> Self:
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A socket's own path may be at most 107 bytes long.
            address = Path(f"/proc/self/fd/{directory}/{self._name}")
            address.unlink(missing_ok=True)  # left by a process of this number that was killed
            self._listener.bind(str(address))
            address.chmod(0o600)
        finally:
            os.close(directory)
        self._listener.listen()
        threading.Thread(target=self._accept, name="lab commands of a shell", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else the thread waits in accept for good
        self._listener.close()
        (self._directory / self._name).unlink(missing_ok=True)
        for command in tuple(self._running):
            if error is None:
                _interrupt(command)
            command.wait()  # a command that ended the lab, and the shell with it, has more to do

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            header, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, _DESCRIPTORS)
            try:
                if len(header) != LENGTH.size or len(descriptors) != _DESCRIPTORS:
                    return
                text = connection.recv(LENGTH.unpack(header)[0], socket.MSG_WAITALL)
                command = self._start(json.loads(text), descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            self._running.add(command)
            threading.Thread(target=_pass_interrupts, args=(connection, command), daemon=True).start()
            code = command.wait()
            self._running.discard(command)
            connection.sendall(LENGTH.pack(code if code >= 0 else 128 - code))

    def _start(self, argv: list[str], descriptors: list[int]) -> subprocess.Popen[bytes]:
        stdin, stdout, stderr = descriptors
        return subprocess.Popen(
            (sys.executable, "-P", "-m", "lab", *argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **self._environment, INSIDE_VARIABLE: "1"},
            start_new_session=True,
        )


def program() -> str:
    """The file that is the program ``lab`` on the node."""
    interpreter, script = shlex.quote(sys.executable), shlex.quote(str(lab_on_node.__file__))
    return f'#!/bin/sh\nexec {interpreter} -IS {script} "$@"\n'


def _pass_interrupts(connection: socket.socket, command: subprocess.Popen[bytes]) -> None:
    """Interrupt a command as often as its caller is; one whose caller is gone goes on, as ``lab down`` must."""
    with contextlib.suppress(OSError):
        while connection.recv(len(INTERRUPT)):
            _interrupt(command)


def _interrupt(command: subprocess.Popen[bytes]) -> None:
    command.send_signal(signal.SIGINT)  # does nothing to one that has ended
