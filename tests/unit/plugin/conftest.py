"""Sessions of pytest inside a test, with the plugin as it is installed and a backend that only takes notes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

# Imported before any session, which forgets what it imported itself: libraries written in C bear only one import.
import lab.testing.probes
import lab.testing.scenarios
import lab.testing.session  # noqa: F401

FAKE = Path(__file__).with_name("fake_backend.py")
# The session around this one has imported the package, whose plugin would have its assertions rewritten.
WARNINGS = ("-W", "error", "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A directory in which pytest sessions run."""

    pytester: pytest.Pytester

    @property
    def log(self) -> list[str]:
        """What was asked of labs and of their API servers, in order, the labs' names left out."""
        return [line.partition(" ")[2] for line in self.lines]

    @property
    def lines(self) -> list[str]:
        """The same with the names."""
        file = self.pytester.path / "labs.log"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def alive(self) -> list[str]:
        """The labs that run."""
        directory = self.pytester.path / "labs"
        return sorted(entry.name for entry in directory.iterdir()) if directory.exists() else []

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self.pytester.runpytest_inprocess("-p", "fake_backend", *WARNINGS, *arguments)

    def run_workers(self, *arguments: str) -> pytest.RunResult:
        """Run pytest as a process, for what needs processes of its own."""
        return self.pytester.runpytest_subprocess("-p", "fake_backend", *WARNINGS, *arguments)


@pytest.fixture
def session(pytester: pytest.Pytester) -> Session:
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(fake_backend=FAKE.read_text())
    pytester.syspathinsert()
    return Session(pytester=pytester)
