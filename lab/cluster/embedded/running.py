"""Starts, finds and ends the supervisor of a lab, from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from lab.cluster.embedded.processes import in_namespace_of, is_running, start_time
from lab.errors import LabError

if TYPE_CHECKING:
    import socket

    from lab.cluster.embedded.layout import LabLayout

_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 5.0
_POLL_S = 0.005
_BEGIN = b"begin\n"


class Supervisor:
    """The supervisor of one lab.

    Args:
        layout: the lab's directory.
    """

    def __init__(self, layout: LabLayout) -> None:
        self._layout = layout
        self._starter: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        try:
            known = json.loads(self._layout.supervisor_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        pid = int(known["pid"])
        return pid if is_running(pid, started=known["start_time"]) else None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.pid is not None

    def require(self) -> int:
        """Its process id.

        Raises:
            LabError: ``lab-not-running``.
        """
        pid = self.pid
        if pid is None:
            name = self._layout.root.name
            raise LabError(
                "lab-not-running", f"lab {name} does not run", hint=f"start it: lab up --name {name}; see lab list"
            )
        return pid

    def launch(self, listener: socket.socket) -> None:
        """Have it load while the lab's directory is still being made; it begins with `start`.

        Args:
            listener: a listening socket of the machine's loopback, on which the API server is to answer; closed here.
        """
        self._layout.logs.mkdir(parents=True, exist_ok=True)
        argv = (sys.executable, "-P", "-m", "lab.cluster.embedded.supervisor", str(self._layout.root))
        with listener, (self._layout.logs / "supervisor.log").open("ab") as log:
            self._starter = subprocess.Popen(
                (*argv, "--listener", str(listener.fileno())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
                env=_environment(),
            )

    def start(self) -> None:
        """Let it begin, and wait until it listens to commands; it must have been launched.

        Raises:
            LabError: what it could not do, such as ``namespaces-forbidden``.
        """
        if self._starter is None:
            raise AssertionError("start without launch")
        with self._starter as starter:
            try:
                output, _ = starter.communicate(_BEGIN, timeout=_START_TIMEOUT_S)
            except BaseException:
                self.kill()
                raise
            finally:
                self._starter = None
        try:
            answer = json.loads(output)
        except json.JSONDecodeError as error:
            raise LabError(
                "supervisor-lost",
                "the lab's supervisor could not be started",
                hint="see the context and report it",
                context={"log": (self._layout.logs / "supervisor.log").read_text(errors="replace")[-2000:]},
            ) from error
        if "error" in answer:
            raise LabError(**answer["error"])

    def kill(self) -> None:
        """End it at once, launched or started, and everything in the lab with it; returns when all of it is gone.

        Raises:
            LabError: ``lab-still-there``: the kernel did not end it in time.
        """
        if self._starter is not None:
            self._starter.kill()
            self._starter.communicate()
            self._starter = None
        pid = self.pid
        if pid is None:
            return
        members = {member: started for member in in_namespace_of(pid).values() if (started := _started(member))}
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _END_TIMEOUT_S
        # Zombies have ended, and only their number is left: an orphan's waits for the machine's init, which may take
        # seconds to look.
        while self.running or any(is_running(member, started=started) for member, started in members.items()):
            if time.monotonic() > deadline:
                raise LabError(
                    "lab-still-there",
                    f"the supervisor (pid {pid}) was killed but has not ended after {_END_TIMEOUT_S:g} s",
                    hint="see whether its processes hang in the kernel: ps -o pid,state,wchan",
                )
            time.sleep(_POLL_S)


def _started(pid: int) -> int | None:
    try:
        return start_time(pid)
    except OSError:  # it has ended
        return None


def _environment() -> dict[str, str]:
    """The caller's environment without what could change what the lab does."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}
