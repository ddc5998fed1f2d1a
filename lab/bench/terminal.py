"""Times a command until the shell that it opens shows its prompt, in a pseudo-terminal as a person has one."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from typing import TYPE_CHECKING

from lab.bench.timing import end, failed
from lab.errors import WaitError
from lab.interrupts import undisturbed

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROMPT = re.compile(rb"\S+@\S+:\S+[#$] $")
_BUFFER = 65536
_TAIL = 2000


def timed_to_prompt(argv: Sequence[str], *, timeout_s: float = 300.0) -> float:
    """Run a command until a prompt is the last thing that it shows; then it is ended.

    Args:
        argv: the command.
        timeout_s: longest time.

    Returns:
        Seconds from before it was started until the prompt stood there.

    Raises:
        LabError: ``bench-command``: it ended without a prompt.
        WaitError: no prompt came in time.
    """
    master, slave = pty.openpty()
    try:
        began_s = time.monotonic()
        try:
            # A dumb terminal, so that no escape sequence stands around the prompt.
            child = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "dumb"}, process_group=0
            )
        finally:
            os.close(slave)
        try:
            _wait_for_prompt(master, argv, timeout_s=timeout_s)
            return time.monotonic() - began_s
        finally:
            with undisturbed():
                end(child)
    finally:
        os.close(master)


def _wait_for_prompt(terminal: int, argv: Sequence[str], *, timeout_s: float) -> None:
    shown = b""
    deadline_s = time.monotonic() + timeout_s
    while not _PROMPT.search(shown):
        ready, _, _ = select.select([terminal], [], [], max(deadline_s - time.monotonic(), 0.0))
        if not ready:
            raise WaitError(
                what=f"{argv[-1]} to come to a prompt",
                timeout_s=timeout_s,
                last_seen=shown.decode(errors="replace") or "nothing printed",
                hint="try again when the machine is less busy",
            )
        try:
            shown = (shown + os.read(terminal, _BUFFER))[-_TAIL:]
        except OSError as error:  # the other side is gone
            raise failed(argv, "ended before it came to a prompt", output=shown.decode(errors="replace")) from error
