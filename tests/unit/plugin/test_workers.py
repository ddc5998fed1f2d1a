"""pytest-xdist, Ctrl-C and SIGTERM: a lab for each worker, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.plugin.conftest import Session

pytest.importorskip("xdist")

PATIENCE_S = 60.0

WAITS_FOR_EACH_OTHER = """
    import time
    from pathlib import Path

    import pytest

    @pytest.mark.parametrize("number", range(2))
    def test_it(lab_cluster, number, pytestconfig):
        (pytestconfig.rootpath / f"here-{number}").touch()
        deadline = time.monotonic() + 60
        while not all((pytestconfig.rootpath / f"here-{n}").exists() for n in range(2)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
"""


def test_each_worker_has_a_lab_of_its_own(session: Session) -> None:
    session.pytester.makepyfile(WAITS_FOR_EACH_OTHER)
    session.run_workers("-n", "2", "--lab-name", "mine").assert_outcomes(passed=2)
    assert sorted(session.lines) == [
        "mine-gw0 down",
        "mine-gw0 up enforced+bouncer",
        "mine-gw1 down",
        "mine-gw1 up enforced+bouncer",
    ]


def test_kept_labs_of_workers_are_told(session: Session) -> None:
    session.pytester.makepyfile(WAITS_FOR_EACH_OTHER)
    result = session.run_workers("-n", "2", "--lab-name", "mine", "--lab-keep")
    assert session.alive == ["mine-gw0", "mine-gw1"]
    result.stdout.fnmatch_lines([f"the lab mine-gw{number} was left running; *" for number in range(2)])


def test_the_lab_of_a_worker_that_dies_is_taken_down(session: Session) -> None:
    session.pytester.makepyfile("import os\ndef test_it(lab_cluster): os._exit(1)")
    result = session.run_workers("-n", "1", "--max-worker-restart", "0", "--lab-name", "mine")
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed*"])
    assert session.lines == ["mine-gw0 up enforced+bouncer", "mine-gw0 down"]
    assert session.alive == []


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "workers", [pytest.param((), id="alone"), pytest.param(("-n", "2"), id="workers", marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("moment", ["in a test", "in the start of the lab"])
@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM to pytest alone"])
def test_whatever_ends_a_session_leaves_no_lab(
    session: Session, workers: tuple[str, ...], moment: str, end: str
) -> None:
    path = session.pytester.path
    if moment == "in the start of the lab":
        (path / "slow").touch()
    session.pytester.makepyfile(
        """
        import time

        def test_it(lab_cluster, pytestconfig):
            (pytestconfig.rootpath / "here").touch()
            time.sleep(60)
        """
    )
    arguments = ["-m", "pytest", "-p", "fake_backend", "-W", "error", *workers]
    with (
        (path / "out.txt").open("wb") as out,
        subprocess.Popen(
            [sys.executable, *arguments], cwd=path, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            _wait_for(lambda: bool(session.alive) if moment != "in a test" else (path / "here").exists())
            if end == "Ctrl-C":
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            assert process.wait(PATIENCE_S) == pytest.ExitCode.INTERRUPTED, (path / "out.txt").read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [line.partition(" ")[2] for line in session.lines] == ["up enforced+bouncer", "down"]
    assert session.alive == []
