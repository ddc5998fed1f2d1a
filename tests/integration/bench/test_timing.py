"""Real processes are timed, told and ended; none of them is part of the lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from lab.bench.timing import timed
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


def wait_for(condition: object, *, timeout_s: float = 30.0) -> None:
    assert callable(condition)
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come about"
        time.sleep(0.01)


def test_a_process_is_timed_to_its_end_and_its_output_kept() -> None:
    before_s = time.monotonic()
    done = timed(python("import sys; print('out'); print('err', file=sys.stderr)"))

    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert 0 < done.elapsed_s <= time.monotonic() - before_s


def test_a_failure_keeps_the_command_and_its_words() -> None:
    with pytest.raises(LabError) as caught:
        timed(python("import sys; sys.exit('it broke')"))

    assert caught.value.code == "bench-command"
    assert "exit code 1" in caught.value.message
    assert caught.value.context["output"] == "it broke"


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(LabError, match="cannot be started: No such file"):
        timed(("/nowhere/program",))


def test_a_process_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    # A shell, because it starts in a moment on a busy machine too.
    program = ("sh", "-c", 'sleep 60 & echo $! >"$0"; wait', str(note))

    with pytest.raises(WaitError):
        timed(program, timeout_s=1.0)

    wait_for(lambda: not psutil.pid_exists(int(note.read_text())))


def test_an_interrupt_ends_the_process_before_it_goes_on(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)"

    def interrupt() -> None:
        wait_for(lambda: note.exists() and note.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        timed(python(program))
    thread.join()

    assert not psutil.pid_exists(int(note.read_text()))


def test_what_an_enclosed_program_starts_ends_with_it_and_reaches_no_network(tmp_path: Path) -> None:
    note = tmp_path / "seen"
    program = (
        "import pathlib, socket, subprocess\n"
        "subprocess.Popen(['sleep', '987654'])\n"
        "server = socket.create_server(('0.0.0.0', 0))\n"
        "socket.create_connection(('127.0.0.1', server.getsockname()[1])).close()\n"
        "names = sorted(name for _, name in socket.if_nameindex())\n"
        f"pathlib.Path({str(note)!r}).write_text(' '.join(names))\n"
    )

    done = timed((sys.executable, "-P", "-m", "lab.bench.enclosure", *python(program)))

    answer = json.loads(done.stdout)
    assert answer["exit_code"] == 0
    assert 0 < answer["elapsed_s"] < done.elapsed_s
    assert {"eth0", "lo", "nowhere0"} <= set(note.read_text().split())
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "987654"]]


def test_nothing_enclosed_outlives_the_enclosure(tmp_path: Path) -> None:
    note = tmp_path / "up"
    program = f"import pathlib, time; pathlib.Path({str(note)!r}).touch(); time.sleep(987.5)"
    enclosure = subprocess.Popen((sys.executable, "-P", "-m", "lab.bench.enclosure", *python(program)))
    wait_for(note.exists)
    enclosure.kill()
    enclosure.wait()

    def gone() -> bool:
        return not [each for each in psutil.process_iter(["cmdline"]) if program in (each.info["cmdline"] or [])]

    wait_for(gone)
