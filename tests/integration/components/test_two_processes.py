"""Processes at the same store: one build for two, and nothing half-done after Ctrl-C or SIGKILL.

A go on PATH that stops before each build until it is let go makes "midway" a condition instead of a moment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from lab.components import Components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.paths import LabPaths
    from tests.integration.components.conftest import TinyModule

pytestmark = pytest.mark.integration

FETCH = """
import sys
from pathlib import Path
from lab.components import Components
from lab.components.pins import Component, GoModule
from lab.paths import LabPaths

pin, cache = map(Path, sys.argv[1:])
module = GoModule(
    name="tiny", directory=pin, path="tiny.test/tools", version="1.2.3", stamps={"main.version": "v1.2.3"}
)
pins = {"hello": Component(name="hello", module=module, package="tiny.test/tools/hello")}
components = Components(LabPaths(cache=cache, state=cache), pins=pins, progress=lambda line: print(line, flush=True))
print(components.ensure("hello")["hello"])
"""

GO = """#!/bin/sh
if [ "$1" = build ]; then
    echo $$ >> {log}
    sleep 1000 &
    echo $! >> {log}
    until [ -e {gate} ]; do read -r _ < {fifo}; done
    kill $!
fi
exec {real} "$@"
"""


@dataclass(slots=True, kw_only=True)
class Gate:
    """The go that waits.

    Attributes:
        log: the pids of each build: its shell and a child of it.
        gate: while this file is missing, builds wait.
        fifo: what they wait on.
    """

    log: Path
    gate: Path
    fifo: Path

    def pids(self) -> list[int]:
        return [int(line) for line in self.log.read_text(encoding="utf-8").split()] if self.log.exists() else []

    def builds(self) -> int:
        return len(self.pids()) // 2

    def open(self) -> None:
        self.gate.touch()
        try:
            descriptor = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return  # nobody waits
        os.write(descriptor, b"go\n")
        os.close(descriptor)


@dataclass(slots=True, kw_only=True)
class Fetches:
    """Starts processes that ensure the tiny program, and ends what is left of them."""

    tiny: TinyModule
    paths: LabPaths
    env: dict[str, str]
    directory: Path
    started: list[subprocess.Popen[bytes]]

    def start(self) -> tuple[subprocess.Popen[bytes], Path]:
        log = self.directory / f"output-{len(self.started)}"
        argv = [sys.executable, "-c", FETCH, str(self.tiny.module.directory), str(self.paths.cache)]
        with log.open("wb") as file:
            process = subprocess.Popen(argv, env=self.env, stdout=file, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process, log


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, f"waited 30 s for: {what}"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    directory = tmp_path / "bin"
    directory.mkdir()
    gate = Gate(log=tmp_path / "builds", gate=tmp_path / "gate", fifo=tmp_path / "fifo")
    os.mkfifo(gate.fifo)
    script = GO.format(log=gate.log, gate=gate.gate, fifo=gate.fifo, real=shutil.which("go"))
    (directory / "go").write_text(script, encoding="utf-8")
    (directory / "go").chmod(0o755)
    yield gate
    for pid in gate.pids():
        if runs(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def fetches(tiny: TinyModule, paths: LabPaths, gate: Gate, tmp_path: Path) -> Iterator[Fetches]:
    env = {**os.environ, "PATH": f"{gate.log.parent / 'bin'}:{os.environ['PATH']}"}
    fetches = Fetches(tiny=tiny, paths=paths, env=env, directory=tmp_path, started=[])
    yield fetches
    for process in fetches.started:
        process.kill()
        process.wait()


def entries(paths: LabPaths) -> list[str]:
    return sorted(path.name for path in paths.store.iterdir() if path.name not in {"locks", "tmp"})


def test_two_processes_that_want_the_same_program_build_it_once(fetches: Fetches, gate: Gate, paths: LabPaths) -> None:
    first, first_log = fetches.start()
    until(lambda: gate.builds() == 1, "the first build")
    second, second_log = fetches.start()
    until(lambda: b"waiting for process" in second_log.read_bytes(), "the second process to wait")
    gate.open()

    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert gate.builds() == 1
    assert f"hello: waiting for process {first.pid}, which is obtaining hello-1.2.3" in second_log.read_text()
    assert first_log.read_text().splitlines()[-1] == second_log.read_text().splitlines()[-1]
    assert len(entries(paths)) == 1


def test_ctrl_c_midway_ends_the_build_and_leaves_nothing_half_done(
    fetches: Fetches, gate: Gate, paths: LabPaths, tiny: TinyModule
) -> None:
    process, _ = fetches.start()
    until(lambda: gate.builds() == 1, "the build")

    process.send_signal(signal.SIGINT)

    assert process.wait(30) != 0
    until(lambda: not any(runs(pid) for pid in gate.pids()), "every process of the build to end")
    assert entries(paths) == []
    assert list((paths.store / "tmp").iterdir()) == []
    assert Components(paths, pins=tiny.pins(tiny.component("hello"))).ensure("hello")["hello"].is_file()


def test_after_a_process_was_killed_midway_the_next_one_builds_and_cleans_up(
    fetches: Fetches, gate: Gate, paths: LabPaths, tiny: TinyModule
) -> None:
    process, _ = fetches.start()
    until(lambda: gate.builds() == 1, "the build")
    process.kill()
    process.wait(30)
    assert list((paths.store / "tmp").iterdir()) != []

    program = Components(paths, pins=tiny.pins(tiny.component("hello"))).ensure("hello")["hello"]

    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "hello v1.2.3\n"
    assert list((paths.store / "tmp").iterdir()) == []
