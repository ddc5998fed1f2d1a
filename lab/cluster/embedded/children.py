"""The supervisor's children: it is PID 1 of its namespace, so it starts them itself and reaps every orphan too.

``subprocess`` and ``asyncio`` would wait for their own children only, and would race with a reaper for their exit
codes; so every process of a lab is started and waited for here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.cluster.embedded.sandbox import SandboxSpec, exec_in_sandbox
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, kw_only=True)
class Child:
    """A process that the supervisor started.

    Attributes:
        name: for messages and ``lab status``.
        pid: in the lab's PID namespace.
        exited: its exit code once it ended; minus N when signal N ended it.
    """

    name: str
    pid: int
    exited: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.exited.done()

    def signal(self, number: int) -> None:
        """Send a signal to its process group; nothing happens when it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, *, grace_s: float) -> int:
        """End it: SIGTERM, then SIGKILL after the grace time. Returns its exit code."""
        if grace_s > 0:
            self.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self.exited), grace_s)
        self.signal(signal.SIGKILL)
        return await asyncio.shield(self.exited)


class Children:
    """Starts processes and reaps them, and whatever else ends up as a child of PID 1."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}

    def install(self) -> None:
        """Reap from now on; needs the running event loop of the main thread."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def all(self) -> tuple[Child, ...]:
        """The children that run, oldest first."""
        return tuple(self._children.values())

    def reap(self) -> None:
        """Collect every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None and not child.exited.done():
                child.exited.set_result(os.waitstatus_to_exitcode(status))

    def spawn(self, name: str, spec: SandboxSpec) -> Child:
        """Start a process in its sandbox; returns once the program itself runs.

        Raises:
            LabError: ``sandbox-failed``: a mount or the program could not be had; the message is the kernel's.
        """
        return self.fork(name, lambda: exec_in_sandbox(spec))

    def fork(self, name: str, become: Callable[[], None]) -> Child:
        """Fork a child that calls ``become``, which must end in an ``exec``.

        Raises:
            LabError: ``sandbox-failed`` with the exception that ``become`` ended in.
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _run_child(become, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as report:
            problem = report.read().decode(errors="replace")  # ends with the exec, which closes the other side
        child = Child(name=name, pid=pid)
        self._children[pid] = child
        if problem:
            raise LabError("sandbox-failed", f"{name}: {problem}", hint="see the Pod's manifest, and lab logs")
        return child


def _run_child(become: Callable[[], None], report: int) -> None:
    """Run in the forked child: never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        become()
    except BaseException as error:  # noqa: BLE001 - nothing may return into the parent's code
        os.write(report, str(error).encode())
    finally:
        os._exit(127)
