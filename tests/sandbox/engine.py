"""Installs, starts and stops Docker on a test machine.

Docker that answers already is left alone, whoever started it. One that is started here gets a configuration file of
its own (nothing in ``/etc/docker`` is touched), leads a session of its own, so that it outlives the command that
started it, and is recorded by process id and start time, so that nothing else is ever stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import DockerException

from lab import docker_host
from lab.errors import LabError, WaitError
from tests.sandbox import runtime_wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.machine import Machine

DIRECTORY = Path("/var/lib/k8s-supply-chain-lab-sandbox")
PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "mmdebstrap": "mmdebstrap"}
"""Program to Debian package; mmdebstrap makes the node image."""

_START_S = 60.0
_STOP_S = 60.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A dockerd that `up` started.

    Attributes:
        pid: its process id.
        ticks: when it started, in the kernel's clock ticks since boot; tells it from a later process of the same id.
    """

    pid: int
    ticks: int


def server_version() -> str | None:
    """The version of the Docker that answers; None when none does."""
    try:
        client = docker_host.connect(timeout_s=10, otherwise="see tests/sandbox")
    except LabError:
        return None
    try:
        return str(client.version()["Version"])
    except (DockerException, OSError):
        return None
    finally:
        client.close()


def install(say: Callable[[str], None]) -> None:
    """Install what is missing of `PACKAGES`.

    Raises:
        LabError: ``sandbox-install``, ``sandbox-root``.
    """
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not missing:
        return
    as_root = () if os.geteuid() == 0 else ("sudo", "--non-interactive")
    if as_root and shutil.which("sudo") is None:
        raise LabError(
            "sandbox-root",
            f"only root can install {', '.join(missing)}",
            hint="run it as root, on a test machine; or install them yourself",
        )
    say(f"installing {', '.join(missing)}")
    apt_get = (*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get")
    for arguments in (("update", "-q"), ("install", "-q", "-y", "--no-install-recommends", *missing)):
        done = subprocess.run(
            (*apt_get, *arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise LabError(
                "sandbox-install",
                f"apt-get {arguments[0]} failed",
                hint="this set-up is for Debian and Ubuntu, as root, with a mirror that answers",
                context={"apt-get": (done.stderr or done.stdout).strip()[-2000:]},
            )


def up(machine: Machine, say: Callable[[str], None]) -> None:
    """Have a Docker that answers, and the other programs that kind's tests need.

    Args:
        machine: what to work round.
        say: hears of each step.

    Raises:
        LabError: ``sandbox-install``, ``sandbox-root``, ``sandbox-docker``.
        WaitError: Docker does not answer in time.
    """
    install(say)
    version = server_version()  # installed a moment ago, it may have been started by the machine's own init
    if version is not None:
        say(f"Docker {version} answers")
        return
    if os.geteuid() != 0:
        raise LabError("sandbox-root", "only root can start Docker", hint="run it as root, on a test machine")
    DIRECTORY.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = DIRECTORY / "dockerd.log"
    say(f"starting dockerd; its log is {log}")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["dockerd", "--config-file", str(_configure(machine)), "--pidfile", str(DIRECTORY / "docker.pid")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/",
        )  # fmt: skip
    started = Started(pid=process.pid, ticks=_start_ticks(process.pid))
    _record().write_text(json.dumps({"pid": started.pid, "ticks": started.ticks}), encoding="utf-8")
    deadline_s = time.monotonic() + _START_S
    while (version := server_version()) is None:
        if process.poll() is not None:
            raise LabError(
                "sandbox-docker",
                f"dockerd ended with exit code {process.returncode}",
                hint=f"read {log}",
                context={"last lines": _tail(log)},
            )
        if time.monotonic() > deadline_s:
            raise WaitError(what="Docker's answer", timeout_s=_START_S, last_seen=_tail(log), hint=f"read {log}")
        time.sleep(_POLL_S)
    say(f"Docker {version} answers, process {started.pid}")


def running() -> Started | None:
    """The dockerd that `up` started, if it still runs."""
    try:
        record = json.loads(_record().read_text(encoding="utf-8"))
        started = Started(pid=record["pid"], ticks=record["ticks"])
        return started if _start_ticks(started.pid) == started.ticks else None
    except FileNotFoundError:
        return None


def down(say: Callable[[str], None]) -> None:
    """Stop the dockerd that `up` started, with its containers, and no other process.

    Raises:
        WaitError: it does not end.
    """
    started = running()
    if started is None:
        say("no Docker of this set-up runs")
        return
    say(f"stopping dockerd, process {started.pid}")
    os.kill(started.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + _STOP_S
    while running() is not None:
        if time.monotonic() > deadline_s:
            raise WaitError(
                what=f"the end of dockerd, process {started.pid}",
                timeout_s=_STOP_S,
                last_seen=_tail(DIRECTORY / "dockerd.log"),
                hint="end its containers first: docker ps",
            )
        time.sleep(_POLL_S)
    _record().unlink()


def _configure(machine: Machine) -> Path:
    """Write dockerd's configuration; one that asks for nothing where the machine lacks nothing."""
    settings: dict[str, object] = {}
    if machine.missing_capabilities:
        program = DIRECTORY / "runtime"
        shutil.copyfile(runtime_wrapper.__file__, program)
        program.chmod(0o755)
        settings |= {"runtimes": {"sandbox": {"path": str(program)}}, "default-runtime": "sandbox"}
    if machine.limits_are_fixed:
        settings["oom-score-adjust"] = 0
    file = DIRECTORY / "daemon.json"
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return file


def _record() -> Path:
    return DIRECTORY / "started.json"


def _start_ticks(pid: int) -> int:
    """When a process started; the name before it may hold blanks and brackets, so it is read from the right.

    Raises:
        FileNotFoundError: there is no such process, or it has ended and only waits for its parent to take notice.
    """
    state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    if state == "Z":
        raise FileNotFoundError(pid)
    return int(fields[18])


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
