"""What ``kill -9`` leaves of a lab on kind goes with ``lab down --all``: containers, networks, volumes, processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import NotFound

from lab import docker_host
from lab.cluster.kind.engine import CLUSTER_LABEL, LAB_LABEL, Engine
from lab.cluster.kind.layout import cluster_name
from lab.cluster.kind.orphans import NETWORK_VARIABLE
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("kind_machine")]

PATIENCE_S = 240.0
DOWN_S = 120.0
REAPPEARS_S = 5.0
"""What a killed command has begun would be in Docker again after so long."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A state directory of a test's own, so that ``--all`` means no other labs; and what Docker holds of it."""

    environment: dict[str, str]
    directory: Path
    api: docker.APIClient
    lab: str

    @property
    def cluster(self) -> str:
        """The lab's cluster."""
        return cluster_name(self.lab, self.paths.labs)

    @property
    def paths(self) -> LabPaths:
        """Its directories."""
        return LabPaths(cache=self.directory / "cache", state=self.directory / "state")

    @contextlib.contextmanager
    def begin(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Begin a command, which is dead in the end."""
        log = (self.directory / "command.log").open("wb")
        with log:
            command = subprocess.Popen(
                (sys.executable, "-m", "lab", *arguments), env=self.environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            yield command
        finally:
            command.kill()
            command.wait()

    def said(self) -> str:
        """What the command has printed so far."""
        return (self.directory / "command.log").read_text(errors="replace")

    def containers(self) -> list[dict[str, Any]]:
        """The lab's containers, running or not."""
        found = []
        for container in self.api.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={self.cluster}"}):
            with contextlib.suppress(NotFound):  # one that went meanwhile
                found.append(self.api.inspect_container(container["Id"]))
        return found

    def networks(self) -> list[str]:
        """The lab's networks."""
        return [found["Name"] for found in self.api.networks(filters={"label": f"{LAB_LABEL}={self.cluster}"})]

    def processes(self) -> list[str]:
        """What still makes the lab's cluster."""
        wanted = f"{NETWORK_VARIABLE}=lab-{self.cluster}".encode()
        return [process.name for process in Path("/proc").glob("[0-9]*") if wanted in _environment(process)]

    def down(self) -> str:
        """Take everything down."""
        done = subprocess.run(
            (sys.executable, "-m", "lab", "down", "--all"),
            env=self.environment, capture_output=True, text=True, timeout=DOWN_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def home(tmp_path: Path, docker_engine: Engine) -> Iterator[Home]:
    del docker_engine
    (tmp_path / "cache").symlink_to(LabPaths.from_environment().cache)
    environment = {**os.environ, "LAB_HOME": str(tmp_path), "LAB_BACKEND": "kind"}
    environment.pop("LAB_NAME", None)
    client = docker_host.connect(timeout_s=60, otherwise="")
    home = Home(environment=environment, directory=tmp_path, api=client.api, lab=f"killed-{secrets.token_hex(3)}")
    try:
        yield home
    finally:
        home.down()
        client.close()


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _wait(home: Home, command: subprocess.Popen[bytes], moment: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not moment():
        assert command.poll() is None, home.said()
        assert time.monotonic() < deadline, home.said()
        time.sleep(0.05)


def _nothing_is_left(home: Home, volumes: set[str]) -> None:
    assert home.processes() == []
    time.sleep(REAPPEARS_S)
    assert (home.containers(), home.networks(), home.processes()) == ([], [], [])
    assert not volumes & {volume["Name"] for volume in home.api.volumes()["Volumes"] or ()}
    assert [entry.name for entry in home.paths.labs.glob("*")] == []


def _volumes(home: Home) -> set[str]:
    return {
        mount["Name"] for container in home.containers() for mount in container["Mounts"] if mount["Type"] == "volume"
    }


def _kind_has_begun(home: Home) -> bool:
    return bool(home.processes())


def _node_is_there(home: Home) -> bool:
    return bool(home.containers())


def _control_plane_starts(home: Home) -> bool:
    return "Starting control-plane" in home.said()


@pytest.mark.parametrize("moment", [_kind_has_begun, _node_is_there, _control_plane_starts])
def test_nothing_is_left_of_a_killed_up(home: Home, moment: Callable[[Home], bool]) -> None:
    with home.begin("up", "--name", home.lab) as up:
        _wait(home, up, lambda: moment(home))
    assert up.returncode == -signal.SIGKILL
    volumes = _volumes(home)
    home.down()
    _nothing_is_left(home, volumes)


def test_nothing_is_left_of_a_run_that_is_killed_midway(home: Home) -> None:
    with home.begin("run", "cel-trusted-registry", "--name", home.lab, "--no-mistakes") as run:
        _wait(home, run, lambda: "PASS  cel-trusted-registry untouched" in home.said())
    assert run.returncode == -signal.SIGKILL
    volumes = _volumes(home)
    assert volumes
    assert home.networks()
    home.down()
    _nothing_is_left(home, volumes)
