"""What a killed command leaves running: found by the lab's network in its environment, and nothing else with it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from lab.cluster.kind import orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.cluster.kind.engine import Engine

    Start = Callable[[str, str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program of some name that sleeps, with a network in its environment."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    with contextlib.ExitStack() as stack:

        def begin(name: str, network: str) -> subprocess.Popen[bytes]:
            program = tmp_path / name
            if not program.exists():
                shutil.copy(sleep, program)
            process = subprocess.Popen([program, "300"], env={orphans.NETWORK_VARIABLE: network})
            stack.callback(process.wait)
            stack.callback(process.kill)
            # Until then it is still the test's own program.
            while Path(f"/proc/{process.pid}/comm").read_text().strip() != name:
                time.sleep(0.01)
            return process

        yield begin


def network() -> str:
    return f"lab-one-{secrets.token_hex(4)}"


def test_kind_and_the_docker_commands_of_a_network_are_ended_and_no_other_program(start: Start) -> None:
    mine, others = network(), network()
    kind, docker = start("kind", mine), start("docker", mine)
    shell, theirs = start("bash", mine), start("kind", others)
    assert set(orphans.end(mine)) == {kind.pid, docker.pid}
    assert (kind.wait(10), docker.wait(10)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert (shell.poll(), theirs.poll()) == (None, None)


def test_where_nothing_makes_a_cluster_nothing_is_ended() -> None:
    assert orphans.end(network()) == ()


class Docker:
    """What was asked of Docker, and whether kind still ran then."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.makers: list[tuple[int, ...]] = []

    def network_of(self, _cluster: str) -> str:
        return self.network

    def remove(self, _cluster: str) -> None:
        self.makers.append(tuple(orphans._makers(self.network)))


def test_docker_is_told_after_kind_has_ended_and_once_more(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_LAST_REQUEST_S", 0.0)
    docker = Docker(network())
    orphans.remove("one", cast("Engine", docker))
    assert docker.makers == [()]
    start("kind", docker.network)
    orphans.remove("one", cast("Engine", docker))
    assert docker.makers == [(), (), ()]
