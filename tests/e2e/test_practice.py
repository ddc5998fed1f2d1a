"""A person practises: types into a terminal what the pages say, and gets the points that the work deserves."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import secrets
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.scenario.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

ROOT = Path(__file__).parents[2]
SHORT = ("pin-deployment-digest", "imagepolicy-fail-closed")
"""Scenarios that are practised: one that works with objects, one that edits the node's files."""
PAGE = ROOT / "docs" / "how-to" / "write-a-scenario.md"
FILE = re.compile(r"^<!-- file: (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)

PROMPT = re.compile(rb"root@[\w.-]+:[^\n]*# $")
CONTINUED = re.compile(rb"(?:^|[\r\n])(?:\x1b\[\?2004h)?> $")
ESCAPES = re.compile(rb"\x1b\[\?2004[hl]")
PATIENCE_S = 180.0
COMMAND_S = 240.0


@dataclass
class Terminal:
    """A pseudo-terminal with somebody who reads and types at it."""

    process: subprocess.Popen[bytes]
    descriptor: int
    screen: bytearray = field(default_factory=bytearray)

    def wait_for(self, *patterns: re.Pattern[bytes]) -> bytes:
        """Read until the end of what is shown fits a pattern; what was shown since the last time."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(pattern.search(ESCAPES.sub(b"", bytes(self.screen))) for pattern in patterns):
            left_s = deadline - time.monotonic()
            ready, _, _ = select.select([self.descriptor], [], [], max(left_s, 0.0))
            assert ready, f"nothing like a prompt came:\n{self.screen.decode(errors='replace')}"
            try:
                self.screen += os.read(self.descriptor, 65536)
            except OSError:  # the other side is gone
                pytest.fail(f"it ended early:\n{self.screen.decode(errors='replace')}")
        shown = bytes(self.screen)
        self.screen.clear()
        return shown

    def type(self, line: str) -> str:
        """Type a line and wait until the shell wants the next; what it showed."""
        os.write(self.descriptor, line.encode() + b"\n")
        return self.wait_for(PROMPT, CONTINUED).decode(errors="replace")

    def leave(self) -> int:
        """Leave the shell; the exit code of the command that opened it."""
        os.write(self.descriptor, b"exit\n")
        with contextlib.suppress(OSError):
            while os.read(self.descriptor, 65536):
                pass
        return self.process.wait(timeout=PATIENCE_S)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody with a lab of their own."""

    environment: dict[str, str]
    directory: Path

    def run(self, *arguments: str) -> CompletedProcess[str]:
        """Run a command where there is no terminal."""
        return subprocess.run(
            (sys.executable, "-m", "lab", *arguments),
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_S,
            check=False,
        )

    @contextlib.contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """Run a command in a terminal."""
        master, slave = pty.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        process = subprocess.Popen(
            (sys.executable, "-m", "lab", *arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self.environment,
            cwd=self.directory,
            start_new_session=True,
        )
        os.close(slave)
        try:
            yield Terminal(process=process, descriptor=master)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=PATIENCE_S)
            os.close(master)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    environment = {**os.environ, "LAB_NAME": f"practice-{secrets.token_hex(4)}", "TERM": "xterm"}
    environment.pop("LAB_SCENARIOS", None)
    person = Person(environment=environment, directory=tmp_path)
    yield person
    down = person.run("down")
    assert down.returncode == 0, down.stderr


def script_of(name: str) -> list[str]:
    """The lines of a scenario's solution."""
    (directory,) = (ROOT / "scenarios").glob(f"*/{name}")
    scenario = load(directory)
    return scenario.text(scenario.document.solution.script).splitlines()


@pytest.mark.parametrize("name", SHORT)
def test_who_does_nothing_gets_no_point_and_who_types_the_solution_gets_all(person: Person, name: str) -> None:
    with person.terminal("start", name) as terminal:
        terminal.wait_for(PROMPT)
        idle = json.loads(person.run("check", "--json").stdout)
        assert (idle["points"]["earned"], idle["exitCode"]) == (0, 1), idle

        for line in script_of(name):
            terminal.type(line)
        inside = terminal.type("lab check --wait 30; echo ended with $?")
        assert terminal.leave() == 0

    assert re.search(r"(\d+) of \1 points", inside), inside
    assert "ended with 0" in inside
    outside = person.run("check")
    assert outside.returncode == 0, outside.stdout
    assert ", solved; hints: 0 of" in outside.stdout


def test_the_shell_of_a_practice_has_what_an_exam_has(person: Person) -> None:
    with person.terminal("start", SHORT[0]) as terminal:
        shown = terminal.wait_for(PROMPT).decode()
        assert "Pin an image" in shown
        assert "time: 0 s of 5 min" in shown
        assert "crazy-deployment" in terminal.type("k get deployments")
        assert "hint 1 of 3" in terminal.type("lab hint")
        assert "hints: 1 of 3" in terminal.type("lab task")
        terminal.type("kubectl delete deployment crazy-deployment")
        assert "is back after" in terminal.type("lab reset")
        assert "crazy-deployment" in terminal.type("k get deployments")
        assert "hints: 1 of 3" in terminal.type("lab check")
        assert terminal.leave() == 0


def test_the_page_on_writing_a_scenario_leads_to_a_pass(person: Person) -> None:
    made = person.run("scenarios", "new", "no-latest", "--topic", "policies")
    assert made.returncode == 0, made.stderr
    unwritten = person.run("run", "no-latest")
    assert unwritten.returncode == 1, unwritten.stdout
    assert unwritten.stdout.startswith("FAIL  no-latest  TODO: what a person is to achieve")

    directory = person.directory / "scenarios" / "policies" / "no-latest"
    (directory / "mistakes" / "nothing-done.sh").unlink()
    for file in FILE.finditer(PAGE.read_text()):
        (directory / file["name"]).write_text(file["text"])
    written = person.run("run", "no-latest")

    assert written.returncode == 0, written.stdout
    assert written.stdout.startswith("PASS  no-latest  Deny Pods whose image has the tag latest")
    assert "PASS  mistake/audit-only: must be found" in written.stdout
