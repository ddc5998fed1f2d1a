"""Only what was started here is stopped; and Docker's runtime goes on as runc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import engine, runtime_wrapper
from tests.sandbox.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine, "DIRECTORY", tmp_path)
    return tmp_path


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its end."""
    with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
                          stdout=subprocess.PIPE) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def record(directory: Path, pid: int, ticks: int) -> None:
    (directory / "started.json").write_text(json.dumps({"pid": pid, "ticks": ticks}))


def test_without_a_record_nothing_runs_and_nothing_is_stopped() -> None:
    heard: list[str] = []

    assert engine.running() is None
    engine.down(heard.append)
    assert heard == ["no Docker of this set-up runs"]


def test_a_later_process_with_the_same_id_is_not_ours(directory: Path, child: subprocess.Popen[bytes]) -> None:
    record(directory, child.pid, engine._start_ticks(child.pid) - 1)

    engine.down(lambda _: None)

    assert engine.running() is None
    assert child.poll() is None


def test_what_was_started_here_is_stopped(directory: Path, child: subprocess.Popen[bytes]) -> None:
    record(directory, child.pid, engine._start_ticks(child.pid))
    assert engine.running() == engine.Started(pid=child.pid, ticks=engine._start_ticks(child.pid))

    engine.down(lambda _: None)

    assert child.wait(timeout=10) < 0
    assert engine.running() is None
    assert not (directory / "started.json").exists()


def test_docker_is_configured_for_what_the_machine_lacks_only(directory: Path) -> None:
    def configured(*missing: str) -> dict[str, object]:
        machine = Machine(
            missing_capabilities=frozenset(missing), cgroup_v1=True, open_files=1, processes=1, core_size=1
        )
        settings: dict[str, object] = json.loads(engine._configure(machine).read_text())
        return settings

    assert configured() == {}
    assert configured("CAP_SYS_RESOURCE") == {
        "runtimes": {"sandbox": {"path": str(directory / "runtime")}},
        "default-runtime": "sandbox",
        "oom-score-adjust": 0,
    }
    assert os.access(directory / "runtime", os.X_OK)
    assert "oom-score-adjust" not in configured("CAP_SYS_MODULE")


def test_docker_runs_it_as_a_program_of_its_own_that_goes_on_as_runc(tmp_path: Path) -> None:
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n')
    runc.chmod(0o755)
    program = tmp_path / "runtime"
    program.write_bytes(Path(runtime_wrapper.__file__).read_bytes())
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    said = subprocess.run(
        [sys.executable, "-I", "-S", program, "state", "0123"], env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    assert said.stdout == "state 0123\n"
    assert program.read_text().startswith("#!")
