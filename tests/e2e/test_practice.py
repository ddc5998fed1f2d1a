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

from lab.paths import LabPaths
from lab.practice.record import RecordFile
from lab.scenario.load import by_state, discover, load_all
from lab.scenario.plan import Mode
from lab.scenario.run import plan_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from lab.cluster.protocol import Cluster
    from lab.scenario.load import Scenario

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
SCENARIOS = by_state(load_all(discover(ROOT / "scenarios")))
PAGE = ROOT / "docs" / "how-to" / "write-a-scenario.md"
FILE = re.compile(r"^<!-- file: (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)

PROMPT = re.compile(rb"root@[\w.-]+:[^\n]*# $")
CONTINUED = re.compile(rb"(?:^|[\r\n])(?:\x1b\[\?2004h)?> $")
ESCAPES = re.compile(rb"\x1b\[\?2004[hl]")
POINTS = re.compile(r"(?P<earned>\d+) of (?P<possible>\d+) points.*^ended with (?P<code>\d+)", re.MULTILINE | re.DOTALL)
GRADE = "lab check --wait {wait_s}; echo ended with $?"
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
        # Ctrl-V before a tab, which would be taken for a question about what one could go on with.
        os.write(self.descriptor, line.replace("\t", "\x16\t").encode() + b"\n")
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
def person(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Person]:
    """Somebody whose lab is not there yet."""
    backend = pytestconfig.getoption("--lab-backend")
    person = _person(f"practice-{secrets.token_hex(4)}", tmp_path, LAB_BACKEND=backend)
    yield person
    down = person.run("down")
    assert down.returncode == 0, down.stderr
    _forget(person)


@pytest.fixture
def candidate(lab_cluster: Cluster, tmp_path: Path) -> Iterator[Person]:
    """Somebody who goes from scenario to scenario in the session's lab, which costs no more than a reset."""
    candidate = _person(lab_cluster.name, tmp_path, LAB_BACKEND=lab_cluster.backend)
    yield candidate
    _forget(candidate)


def _person(lab: str, directory: Path, **environment: str) -> Person:
    environment = {**os.environ, "LAB_NAME": lab, "TERM": "xterm"} | environment
    environment.pop("LAB_SCENARIOS", None)
    return Person(environment=environment, directory=directory)


def _forget(person: Person) -> None:
    """Remove the record of a person's practice, which outlives the lab."""
    RecordFile.of(person.environment["LAB_NAME"], LabPaths.from_environment()).path.unlink(missing_ok=True)


def _points(shown: str) -> tuple[int, int, int]:
    """Points earned, points that there are, and the exit code, as a grading typed as `GRADE` shows them."""
    found = POINTS.search(shown)
    assert found, shown
    return int(found["earned"]), int(found["possible"]), int(found["code"])


@pytest.mark.in_turns
@pytest.mark.lab_changes
@pytest.mark.lab_state("any")
@pytest.mark.parametrize(
    "scenario",
    # Where the scenario itself is replayed: to go from one start state to another costs more than to put one back.
    [pytest.param(scenario, id=scenario.name, marks=pytest.mark.xdist_group(scenario.name)) for scenario in SCENARIOS],
)
def test_who_does_nothing_gets_no_point_and_who_types_the_solution_gets_all(
    candidate: Person, lab_cluster: Cluster, scenario: Scenario
) -> None:
    cannot = plan_for(scenario, lab_cluster, mode=Mode.CHECK).skip
    if cannot:
        pytest.skip(cannot)

    with candidate.terminal("start", "--yes", scenario.name) as terminal:
        terminal.wait_for(PROMPT)
        untouched = terminal.type(GRADE.format(wait_s=0))
        typed = [terminal.type(line) for line in scenario.text(scenario.document.solution.script).splitlines()]
        solved = terminal.type(GRADE.format(wait_s=30))
        assert terminal.leave() == 0

    earned, possible, code = _points(untouched)
    assert (earned, code) == (0, 1), untouched
    earned, _, code = _points(solved)
    assert (earned, code) == (possible, 0), "".join([*typed, solved])


def test_the_shell_of_a_practice_has_what_an_exam_has(person: Person) -> None:
    with person.terminal("start", "pin-deployment-digest") as terminal:
        shown = terminal.wait_for(PROMPT).decode()
        assert "Pin an image" in shown
        assert re.search(r"time: \d+ s of 5 min", shown)
        assert "crazy-deployment" in terminal.type("k get deployments")
        assert "hint 1 of 3" in terminal.type("lab hint")
        assert "hints: 1 of 3" in terminal.type("lab task")
        terminal.type("kubectl delete deployment crazy-deployment")
        assert "is back after" in terminal.type("lab reset")
        assert "crazy-deployment" in terminal.type("k get deployments")
        inside = _points(terminal.type(GRADE.format(wait_s=0)))
        assert r"$'a\tb'" in terminal.type("printf '%q' 'a\tb'")
        assert terminal.leave() == 0

    outside = person.run("check", "--wait", "0", "--json")
    grade = json.loads(outside.stdout)
    assert (grade["points"]["earned"], grade["points"]["possible"], outside.returncode) == inside
    assert grade["hintsTaken"] == 1


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
