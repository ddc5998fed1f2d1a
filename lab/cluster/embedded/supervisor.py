"""The supervisor of one lab: PID 1 of its namespaces, and the parent of every process in it.

Started as ``python -m lab.cluster.embedded.supervisor LAB_DIRECTORY --listener FD``. It loads, waits for a line on its
standard input (by then the directory has been made), makes the namespaces, forks its real self into them, waits until
that listens to commands, prints one JSON line for whoever started it, and ends. When PID 1 of a PID namespace ends, by
whatever signal, the kernel ends everything in it: so nothing outlives it.

The listener is a socket of the machine's loopback. A socket stays in the network namespace in which it was made, so the
supervisor accepts the machine's connections from inside and relays them to the API server in the lab's own namespace.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from lab.cluster.embedded import namespaces, node_root
from lab.cluster.embedded.addresses import API_SERVER_PORT
from lab.cluster.embedded.children import Children
from lab.cluster.embedded.control_server import ControlServer, error_answer
from lab.cluster.embedded.exec_server import ExecServer
from lab.cluster.embedded.layout import INSIDE, LabLayout, LabSettings
from lab.cluster.embedded.node import Node
from lab.cluster.embedded.operations import WHOLE, Operations
from lab.cluster.embedded.processes import start_time
from lab.cluster.embedded.relay import Relay
from lab.errors import LabError

log = logging.getLogger("supervisor")

_API_SERVER = ("127.0.0.1", API_SERVER_PORT)


def main() -> None:
    """Start a supervisor; the calling process ends when it is there."""
    parser = argparse.ArgumentParser(prog="lab-supervisor")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--listener", type=int, required=True)
    arguments = parser.parse_args()
    layout = LabLayout(root=arguments.directory)
    if not sys.stdin.readline():  # whoever launched it has ended, or has changed its mind
        return
    try:
        namespaces.create()
    except LabError as error:
        _tell(sys.stdout.fileno(), error_answer(error))
        return
    reader, writer = os.pipe()
    held, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.close(release)
        if not os.read(held, 1):  # whoever would have remembered this process has ended: nobody could find it
            os._exit(1)
        os.close(held)
        _become_init(layout, arguments.listener, writer)
    # Before the child goes on: it shares this mount namespace, and once it has changed the root, these paths mean
    # something else.
    _remember(layout, pid)
    os.write(release, b".")
    os.close(held)
    os.close(release)
    os.close(writer)
    with os.fdopen(reader, "rb") as report:
        line = report.readline()
    if line:
        sys.stdout.buffer.write(line)
    else:
        lost = LabError(
            "supervisor-lost",
            "the lab's supervisor ended while it started",
            hint="see the end of its log (in the context) and report it",
            context={"log": _tail(layout.logs / "supervisor.log")},
        )
        sys.stdout.write(json.dumps(error_answer(lost)) + "\n")


def _become_init(layout: LabLayout, listener: int, report: int) -> None:
    """The forked child: PID 1 of the new PID namespace. Never returns."""
    code = 1
    try:
        os.setsid()
        output = os.open(layout.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        settings = LabSettings.load(layout.settings_file)
        os.set_inheritable(listener, False)  # noqa: FBT003 - the call takes no keyword
        socket.sethostname(settings.node_name)
        node_root.enter(layout, extra_mounts=settings.extra_mounts)
        asyncio.run(_supervise(settings, socket.socket(fileno=listener), report))
        code = 0
    except LabError as error:
        log.exception("the node could not be started")
        _tell(report, error_answer(error))
    except BaseException as error:  # PID 1 has nobody to raise to
        log.exception("the supervisor failed")
        failure = LabError("supervisor-defect", f"the supervisor failed: {error!r}", hint="please report it")
        _tell(report, error_answer(failure))
    finally:
        logging.shutdown()
        os._exit(code)


async def _supervise(settings: LabSettings, listener: socket.socket, report: int) -> None:
    layout = LabLayout(root=INSIDE)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    children = Children()
    children.install()
    node = Node(layout, settings, children)
    relay = Relay(listener, lambda: _API_SERVER)
    await relay.start()
    operations = Operations(node, children=children, settings=settings, stop=stopped.set)
    control = ControlServer(operations.table(), whole=WHOLE)
    await control.start(layout.control_socket)
    commands = ExecServer(children)
    commands.start(layout.exec_socket)
    await node.start()
    _tell(report, {"ready": True})
    os.close(report)
    await stopped.wait()
    await control.close()
    commands.close()
    relay.close(drop_connections=True)
    await node.freeze()


def _remember(layout: LabLayout, pid: int) -> None:
    """Write down who the supervisor is, as seen from outside."""
    document = {"pid": pid, "start_time": start_time(pid)}
    temporary = layout.supervisor_file.with_suffix(".tmp")
    temporary.write_text(json.dumps(document))
    temporary.replace(layout.supervisor_file)


def _tell(descriptor: int, message: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-2000:]
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    main()
