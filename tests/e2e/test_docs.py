"""Every command in the documentation does what the page says.

A ``console`` block below the comment ``run`` is run, all blocks of a page in order, in a lab of the page's own. A line
after ``$ `` is a command, one after ``# `` is typed into the node shell that the command before opened; the lines below
are its output. There, ``...`` stands for anything within a line, and for any number of lines when it is alone. Seconds,
megabytes and ports may differ. What only looks is repeated until it shows what the page shows.

The walkthroughs have no such blocks: their commands are the solutions of scenarios, which test_scenarios.py runs, and
their verdicts are compared there.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.about_embedded("the pages show a lab on the embedded backend"), pytest.mark.thorough]

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^<!-- run -->\n```console\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
PAGES = [path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if BLOCK.search(path.read_text())]

NODE_SHELL = "lab node shell"
LOOKS = re.compile(r"lab (?:status|kubectl get|node exec -- sh -c \"grep)|.* --dry-run=server")
"""Commands that change nothing, so that they can be repeated."""
FAILS = re.compile(r"^(?:error|Error from server|FAIL)\b", flags=re.MULTILINE)
VARIES = (
    (re.compile(r"\b\d+(?:\.\d+)? (s|MB)\b"), r"N \1"),
    (re.compile(r"\b127\.0\.0\.1:\d+\b"), "127.0.0.1:PORT"),
)
PATIENCE_S = 60.0
COMMAND_TIMEOUT_S = 240.0


@dataclass(slots=True)
class Step:
    """A command, what is typed into the node shell that it opens, and what the page says it prints."""

    command: str
    typed: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)


def steps_of(text: str) -> list[Step]:
    """The steps of a page."""
    steps: list[Step] = []
    for block in BLOCK.finditer(text):
        fresh = True
        for line in block["text"].splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
                fresh = False
            elif fresh:
                pytest.fail(f"the block begins with output: {line}", pytrace=False)
            elif steps[-1].command == NODE_SHELL and line.startswith("# "):
                steps[-1].typed.append(line[2:])
            else:
                steps[-1].output.append(line)
    return steps


def shows(printed: str, documented: list[str]) -> bool:
    """Whether a command printed what the page says."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, _normal(line).split("..."))) + r"\n"
        for line in documented
    )
    lines = "".join(f"{line.rstrip()}\n" for line in _normal(printed).splitlines())
    return re.fullmatch(pattern, lines) is not None


def _normal(text: str) -> str:
    for pattern, replacement in VARIES:
        text = pattern.sub(replacement, text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody who types what the page says, in a lab of their own."""

    lab: str
    environment: dict[str, str]

    def follow(self, step: Step) -> None:
        """Type a command; fail unless it prints what the page says, and fails exactly when the page shows an error."""
        deadline = time.monotonic() + (PATIENCE_S if LOOKS.match(step.command) else 0.0)
        while True:
            code, printed = self.run(step.command, typed=step.typed)
            is_right = shows(printed, step.output)
            if is_right or time.monotonic() > deadline:
                break
        documented = "\n".join(step.output)
        assert is_right, f"$ {step.command}\nthe page says:\n{documented}\nit printed:\n{printed}"
        if not step.command.startswith("lab status"):  # its exit code tells the phase
            assert (code != 0) is bool(FAILS.search(documented)), f"$ {step.command}\nended with {code}"

    def run(self, command: str, *, typed: list[str]) -> tuple[int, str]:
        """Run a command; its exit code and what it printed, standard error too when it failed."""
        ended = subprocess.run(
            ("bash", "-c", command),
            input="".join(f"{line}\n" for line in ("set -e", *typed)) if typed else "",
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self.environment,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        printed = ended.stdout + (ended.stderr if ended.returncode else "")
        return ended.returncode, printed.replace(self.lab, "lab")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    command = tmp_path / "bin" / "lab"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lab "$@"\n')
    command.chmod(0o755)
    name = f"docs-{secrets.token_hex(4)}"
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    person = Reader(lab=name, environment={**os.environ, "PATH": path, "LAB_NAME": name, "COLUMNS": "160"})
    yield person
    code, printed = person.run("lab down", typed=[])
    assert code == 0, printed


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_the_commands_of_a_page_do_what_it_says(page: Path, reader: Reader) -> None:
    for step in steps_of(page.read_text()):
        reader.follow(step)


@pytest.mark.parametrize(
    ("printed", "documented", "expected"),
    [
        ("lab is up after 3.1 s\n", ["lab is up after 2.9 s"], True),
        ("lab is up after 3.1 s\n", ["lab is down after 2.9 s"], False),
        ("a\nb\nc\n", ["a", "...", "c"], True),
        ("a\nb\nc\n", ["a", "c"], False),
        ("a\nb\nc\n", ["a", "..."], True),
        ("pod/a created\n", ["pod/... created"], True),
        ("pod/a\ncreated\n", ["pod/... created"], False),
        ("something\n", [], False),
    ],
)
def test_output_is_compared_line_by_line(*, printed: str, documented: list[str], expected: bool) -> None:
    assert shows(printed, documented) is expected
