"""Enters a lab's node from outside: to run a command, or to give a person a shell.

See `exec_server` for the other side.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import selectors
import signal
import socket
import struct
import sys
import tempfile
import termios
import tty
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.control import LENGTH, connect
from lab.cluster.protocol import ExecResult
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHELL = ("bash",)
_TERMINAL_VARIABLES = ("TERM", "COLORTERM")
_BUFFER = 65536
_ANSWER_LIMIT = 65536


def run(
    run_directory: Path, argv: tuple[str, ...], *, stdin: bytes, environment: dict[str, str], timeout_s: float
) -> ExecResult:
    """Run a command on the node and collect what it prints.

    Args:
        run_directory: the lab's directory of sockets.
        argv: the command.
        stdin: its standard input.
        environment: variables beside the node's own.
        timeout_s: longest time, in seconds.

    Raises:
        LabError: ``node-exec-timeout``, ``node-command`` or ``node-gone``.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        descriptors = (given.fileno(), out.fileno(), err.fileno())
        with _connect(run_directory) as connection:
            connection.settimeout(timeout_s)
            _send(connection, argv, environment=environment, descriptors=descriptors, terminal=False)
            try:
                exit_code = _exit_code(connection, argv)
            except TimeoutError as error:
                raise LabError(
                    "node-exec-timeout",
                    f"the command did not end within {timeout_s:g} s and was killed: {' '.join(argv)}",
                    hint="give it more time, or see why it hangs: lab node shell",
                    context={"stdout": _content(out)[-2000:], "stderr": _content(err)[-2000:]},
                ) from error
        return ExecResult(argv=argv, exit_code=exit_code, stdout=_content(out), stderr=_content(err))


def interact(run_directory: Path, argv: tuple[str, ...], *, environment: dict[str, str]) -> int:
    """Run a command on the node with the caller's terminal, or with its plain descriptors where there is none.

    Args:
        run_directory: the lab's directory of sockets.
        argv: the command; a shell when it is empty.
        environment: variables beside the node's own and the terminal's.

    Returns:
        Its exit code.

    Raises:
        LabError: ``node-command`` or ``node-gone``.
    """
    environment = {name: os.environ[name] for name in _TERMINAL_VARIABLES if name in os.environ} | environment
    command = argv or SHELL
    with _connect(run_directory) as connection:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            _send(connection, command, environment=environment, descriptors=(0, 1, 2), terminal=False)
            return _exit_code(connection, command)
        master, slave = pty.openpty()
        try:
            _copy_size(sys.stdin.fileno(), master)
            _send(connection, command, environment=environment, descriptors=(slave,) * 3, terminal=True)
            os.close(slave)
            with _raw_terminal(master):
                _relay(master, connection)
        finally:
            os.close(master)
        return _exit_code(connection, command)


def _connect(run_directory: Path) -> socket.socket:
    try:
        return connect(run_directory, "exec.sock")
    except OSError as error:
        raise _gone(str(error)) from error


def _send(
    connection: socket.socket,
    argv: tuple[str, ...],
    *,
    environment: dict[str, str],
    descriptors: tuple[int, ...],
    terminal: bool,
) -> None:
    request = json.dumps({"argv": argv, "environment": environment, "terminal": terminal}).encode()
    try:
        socket.send_fds(connection, [LENGTH.pack(len(request))], descriptors)
        connection.sendall(request)
    except OSError as error:
        raise _gone(str(error)) from error


def _exit_code(connection: socket.socket, argv: tuple[str, ...]) -> int:
    try:
        text = connection.recv(_ANSWER_LIMIT)
    except ConnectionError as error:
        raise _gone(str(error)) from error
    if not text:
        raise LabError(
            "node-gone",
            "the lab has ended, and what ran on its node with it",
            hint="bring it up again: lab up",
        )
    answer: dict[str, Any] = json.loads(text)
    if "error" in answer:
        raise LabError(
            "node-command",
            f"the node cannot run {argv[0]}: {answer['error']}",
            hint="see what is there: lab node shell",
        )
    return int(answer["exit_code"])


def _gone(reason: str) -> LabError:
    return LabError(
        "node-gone",
        f"the lab's node cannot be entered: {reason}",
        hint="see whether it runs: lab status; labs can only be entered by the user who started them",
    )


def _content(stream: Any) -> str:
    stream.seek(0)
    content: bytes = stream.read()
    return content.decode(errors="replace")


@contextlib.contextmanager
def _raw_terminal(master: int) -> Iterator[None]:
    """Hand every key on as it is, and the terminal's size as it changes."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    previous = signal.signal(signal.SIGWINCH, lambda *_: _copy_size(terminal, master))
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        signal.signal(signal.SIGWINCH, previous)


def _copy_size(source: int, target: int) -> None:
    size = fcntl.ioctl(source, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def _relay(master: int, connection: socket.socket) -> None:
    """Copy between the caller's terminal and the command's until the command has ended."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(master, selectors.EVENT_READ)
        selector.register(stdin, selectors.EVENT_READ)
        selector.register(connection, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if master in ready and not _pass_on(master, stdout):
                return
            if stdin in ready and not _pass_on(stdin, master):
                selector.unregister(stdin)
            if ready == {connection.fileno()}:
                return


def _pass_on(source: int, target: int) -> bool:
    """Copy what is there; False at the end (a pseudo-terminal whose other side is gone answers EIO)."""
    try:
        data = os.read(source, _BUFFER)
    except OSError:
        return False
    while data:
        written = os.write(target, data)
        data = data[written:]
        if not data:
            return True
    return False
