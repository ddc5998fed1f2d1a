"""A command is timed to the prompt of the shell that it opens; none of these is part of the lab."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from lab.bench.terminal import timed_to_prompt
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


def test_the_clock_stops_at_the_prompt_and_the_command_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import os, pathlib, sys, time\n"
        f"pathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "assert sys.stdin.isatty() and sys.stdout.isatty()\n"
        "print('a line that is no prompt: root@node:~# ls')\n"
        "print('root@node:~# ', end='', flush=True)\n"
        "time.sleep(60)"
    )
    began_s = time.monotonic()

    elapsed_s = timed_to_prompt(python(program))

    assert 0 < elapsed_s <= time.monotonic() - began_s < 60
    assert not psutil.pid_exists(int(note.read_text()))


def test_a_command_that_ends_before_is_told_with_its_words() -> None:
    with pytest.raises(LabError, match="before it came to a prompt") as caught:
        timed_to_prompt(python("print('it broke')"))

    assert caught.value.code == "bench-command"
    assert "it broke" in caught.value.context["output"]


def test_a_prompt_that_does_not_come_is_not_waited_for_for_good() -> None:
    with pytest.raises(WaitError, match="to come to a prompt"):
        timed_to_prompt(python("import time; time.sleep(60)"), timeout_s=0.2)
