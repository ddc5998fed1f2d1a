"""Runs one long child (go, pip) so that it can be watched while it runs and never outlives its caller.

The child leads a process group of its own: Ctrl-C in the terminal reaches the lab alone, which then ends the whole
group, the compilers that go started included, before anything is cleaned up below them.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_GRACE_S = 3.0
_POLL_S = 0.5
_KEPT_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a child ended.

    Attributes:
        exit_code: its exit code; negative when a signal ended it.
        stdout: everything it printed to standard output.
        lines: the last lines of its standard error, at most 200.
    """

    exit_code: int
    stdout: str
    lines: tuple[str, ...]

    def tail(self, count: int = 20) -> str:
        """The last lines of standard error, for an error's context."""
        return "\n".join(self.lines[-count:])


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    scratch: Path,
    on_line: Callable[[str], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Finished:
    """Run a child to its end.

    Args:
        argv: the program and its arguments.
        cwd: its working directory.
        env: its whole environment.
        scratch: an existing directory for its standard output.
        on_line: called with each line of its standard error.
        on_wait: called about twice a second while it runs.

    Raises:
        LabError: ``component-program``: it cannot be started.
    """
    with (scratch / "stdout").open("w+b") as stdout:
        try:
            child = subprocess.Popen(
                argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                process_group=0,
            )  # fmt: skip
        except OSError as error:
            raise LabError(
                "component-program",
                f"cannot start {argv[0]}: {error.strerror}",
                hint="check that the program is whole and may be executed",
                context={"command": " ".join(argv)},
            ) from error
        try:
            lines = _follow(child, on_line=on_line, on_wait=on_wait)
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        finally:
            # After a normal end as after an exception (Ctrl-C included) nothing of the group may run on.
            _end_group(child)
        stdout.seek(0)
        return Finished(exit_code=child.returncode, stdout=stdout.read().decode(errors="replace"), lines=tuple(lines))


def _follow(
    child: subprocess.Popen[bytes],
    *,
    on_line: Callable[[str], None] | None,
    on_wait: Callable[[], None] | None,
) -> deque[str]:
    assert child.stderr is not None  # noqa: S101 - it was opened with PIPE
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    pending = b""

    def take(raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        kept.append(line)
        if on_line is not None:
            on_line(line)

    with selectors.DefaultSelector() as selector, child.stderr as stderr:
        selector.register(stderr, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=_POLL_S):
                if _has_ended(child):
                    break  # something that it started holds the pipe open
            else:
                chunk = os.read(stderr.fileno(), 65536)
                if not chunk:
                    break
                *complete, pending = (pending + chunk).split(b"\n")
                for raw in complete:
                    take(raw)
            if on_wait is not None:
                on_wait()
    if pending:
        take(pending)
    return kept


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended, without reaping it: until then its process group's id cannot become another's."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end_group(child: subprocess.Popen[bytes]) -> None:
    if not _has_ended(child):
        os.killpg(child.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + _GRACE_S
        while not _has_ended(child) and time.monotonic() < deadline_s:
            time.sleep(0.02)
    # The leader may be gone while its compilers run on.
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
