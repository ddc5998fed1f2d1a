"""Times a whole process from outside, as a person with a stopwatch would; ends it when nobody waits any more."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from lab.errors import LabError, WaitError
from lab.interrupts import undisturbed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GRACE_S = 15.0
"""`lab up` that is told to end first removes what it has started."""
_TAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A process that ended well.

    Attributes:
        elapsed_s: from before it was started until it had ended.
        stdout: what it printed.
        stderr: what it printed to standard error.
    """

    elapsed_s: float
    stdout: str
    stderr: str


def timed(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 300.0) -> Timed:
    """Run a program to its end and time it.

    Args:
        argv: the program and its arguments.
        env: its whole environment; None for this process's own.
        timeout_s: longest time.

    Raises:
        LabError: ``bench-command``: it cannot be started, or did not end with exit code 0.
        WaitError: it did not end in time; it has been ended.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began_s = time.monotonic()
        try:
            # Ctrl-C in the terminal must reach this process alone: it ends the group and then cleans up.
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env, process_group=0
            )
        except OSError as error:
            raise failed(argv, f"cannot be started: {error.strerror}", output="") from error
        try:
            in_time = _wait(child.pid, timeout_s)
            elapsed_s = time.monotonic() - began_s
        finally:
            with undisturbed():
                end(child)
        said = _read(stdout), _read(stderr)
    if not in_time:
        raise WaitError(
            what=f"{shlex.join(argv)} to end",
            timeout_s=timeout_s,
            last_seen=_tail("\n".join(said)),
            hint="try again when the machine is less busy",
        )
    if child.returncode != 0:
        raise failed(argv, f"ended with exit code {child.returncode}", output="\n".join(said))
    return Timed(elapsed_s=elapsed_s, stdout=said[0], stderr=said[1])


def _wait(pid: int, timeout_s: float) -> bool:
    """Whether a child ends in time; `subprocess` would look only every 50 ms."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)


def end(child: subprocess.Popen[bytes]) -> None:
    """Make sure that a child and its group, of which it is the leader, have ended."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
        if not _wait(child.pid, _GRACE_S):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _tail(text: str) -> str:
    return text[-_TAIL:].strip() or "nothing printed"


def failed(argv: Sequence[str], how: str, *, output: str) -> LabError:
    """The error of a command that was to be measured and went wrong."""
    return LabError(
        "bench-command",
        f"a command that was to be measured {how}",
        hint="run it by itself and mend what it says",
        context={"command": shlex.join(argv), "output": _tail(output)},
    )
