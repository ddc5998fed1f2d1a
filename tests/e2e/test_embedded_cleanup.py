"""Nothing of a lab outlives it: not when its supervisor is killed, not when it is taken down or interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from lab.cluster.embedded import control
from lab.cluster.protocol import DEFAULT_STATE
from lab.paths import LabPaths

if TYPE_CHECKING:
    from lab.cluster.protocol import Cluster
    from tests.e2e.conftest import Eventually, OwnCluster

pytestmark = [
    pytest.mark.about_embedded(
        "a lab is its processes, and a killed one is nothing; tests/kind/test_killed.py is about kind"
    ),
    pytest.mark.thorough,
]

GRACE_S = 3.0
"""After this time nothing may be left of a lab whose supervisor was killed."""
LONGEST_UP_S = 2.5
"""Ctrl-C comes at moments up to this one: about as long as ``lab up`` takes, or some would come after it."""
INTERRUPTIONS = 10
"""So often a reset is begun until one is caught in its middle, which may be short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """By what a lab is recognised after its end.

    Attributes:
        root: its directory.
        processes: its processes as they were: pid to start time.
        namespace: its PID namespace.
        address: where its API server answered outside.
    """

    root: Path
    processes: dict[int, str]
    namespace: str
    address: tuple[str, int]

    def left(self) -> list[str]:
        """What is left of it, for a person."""
        found = [f"process {pid}" for pid, started in self.processes.items() if _start_time(pid) == started]
        inside = [pid for pid in _pids() if _namespace(pid) == self.namespace and _start_time(pid)]
        found += [f"process {pid} in its namespace: {_command(pid)}" for pid in inside]
        found += _mentions(self.root)
        with socket.socket() as connection:
            if connection.connect_ex(self.address) == 0:
                found.append(f"somebody answers at {self.address}")
        return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _start_time(pid: int) -> str:
    """When a process started; empty when it has ended (a zombie has)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _mentions(root: Path) -> list[str]:
    """Processes that were started for a lab, and mounts of its directory in any namespace."""
    found = []
    for pid in _pids():
        if f"{root}/" in f"{_command(pid)} ".replace(f"{root} ", f"{root}/"):
            found.append(f"process {pid}: {_command(pid)}")
        try:
            mounts = Path(f"/proc/{pid}/mountinfo").read_text()
        except OSError:
            continue
        found += [f"mount seen by process {pid}: {line}" for line in mounts.splitlines() if f"{root}/" in line]
    return found


def _supervisor(root: Path) -> int:
    return int(json.loads((root / "run/supervisor.json").read_text())["pid"])


def _trace(cluster: Cluster) -> Trace:
    """Everything that belongs to a lab that runs: its namespace, and what shares the supervisor's session outside."""
    root = LabPaths.from_environment().labs / cluster.name
    supervisor = _supervisor(root)
    namespace, session = _namespace(supervisor), os.getsid(supervisor)
    status = cluster.status()
    # After the status, because a lab that has just come up goes on to start processes; and one may have ended since.
    members = [pid for pid in _pids() if _namespace(pid) == namespace or _session(pid) == session]
    assert {process.pid for process in status.processes if _start_time(process.pid)} <= set(members)
    assert namespace != _namespace(os.getpid())
    url = urlsplit(status.server)
    return Trace(
        root=root,
        processes={pid: _start_time(pid) for pid in members},
        namespace=namespace,
        address=(url.hostname or "", url.port or 0),
    )


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def _was_starting(output: str) -> bool:
    """Whether a traceback is of an interpreter that was still importing: the command had not begun."""
    return "<frozen importlib" in output and ", in main" not in output


@pytest.fixture(autouse=True)
def _embedded(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--lab-backend") != "embedded":
        pytest.skip("about the embedded backend")


def _nobody(_text: str) -> None:
    """Progress that nobody watches."""


@pytest.mark.in_turns
def test_a_killed_supervisor_takes_everything_with_it(
    own_cluster: OwnCluster, eventually: Eventually, attempt: int
) -> None:
    cluster = own_cluster()
    cluster.up(DEFAULT_STATE, progress=_nobody)
    trace = _trace(cluster)
    assert len(trace.processes) >= 6, trace
    assert trace.left(), "a lab that runs leaves traces, or this test would see nothing"
    os.kill(_supervisor(trace.root), signal.SIGKILL)

    def gone() -> None:
        assert trace.left() == [], f"round {attempt}"

    eventually(gone, within_s=GRACE_S)
    assert cluster.status().phase == "stopped"
    cluster.down()
    assert not trace.root.exists()


def test_a_lab_whose_supervisor_was_killed_comes_up_again_and_down_leaves_no_file_and_no_process(
    own_cluster: OwnCluster, eventually: Eventually
) -> None:
    cluster = own_cluster()
    cluster.up(DEFAULT_STATE, progress=_nobody)
    os.kill(_supervisor(LabPaths.from_environment().labs / cluster.name), signal.SIGKILL)
    eventually(lambda: cluster.status().phase == "stopped")
    cluster.up(DEFAULT_STATE, progress=_nobody)
    assert cluster.status().phase == "running"
    trace = _trace(cluster)
    cluster.down()
    assert trace.left() == []
    assert [entry.name for entry in trace.root.parent.iterdir() if cluster.name in entry.name] == []


@pytest.mark.in_turns
def test_ctrl_c_at_any_moment_of_up_leaves_nothing(
    own_cluster: OwnCluster, pytestconfig: pytest.Config, attempt: int
) -> None:
    cluster = own_cluster()
    root = LabPaths.from_environment().labs / cluster.name
    # The same moments each time, so that a failure can be repeated; the first is before anything exists.
    moment_s = random.Random(attempt).uniform(0.0, LONGEST_UP_S) if attempt > 1 else 0.0  # noqa: S311 - no secret
    argv = [sys.executable, "-P", "-m", "lab", "up", "--name", cluster.name]
    bin_dir = pytestconfig.getoption("--lab-bin-dir")
    if bin_dir is not None:
        argv += ["--bin-dir", str(bin_dir.absolute())]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=moment_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    told = f"after {moment_s:.2f} s (exit code {process.returncode}): {output}"
    # It was up before the signal came; one that comes while the interpreter shuts down ends it as the system does.
    if process.returncode == 0 or "what now" in output:
        assert cluster.status().phase == "running", told
        cluster.down()
    else:
        # Before Python has its own handler, the signal ends it as the system does.
        assert process.returncode in (130, -signal.SIGINT), told
        assert "Traceback" not in output or _was_starting(output), told
    assert _mentions(root) == [], told
    assert not root.exists(), told
    assert cluster.status().phase == "stopped"


def test_a_lab_that_is_interrupted_while_it_resets_can_be_reset_again(own_cluster: OwnCluster) -> None:
    """The reset that stops the cluster, because its API server is not the one that was there."""
    cluster = own_cluster()
    cluster.up(DEFAULT_STATE, progress=_nobody)
    argv = [sys.executable, "-P", "-m", "lab", "reset", "--name", cluster.name]
    codes: list[int] = []
    while 130 not in codes:
        assert len(codes) < INTERRUPTIONS, f"no reset was caught in its middle: {codes}"
        cluster.node_exec(("pkill", "-9", "-x", "kube-apiserver"))
        cluster.wait_api_server(timeout_s=60)
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        while cluster.status().phase == "running" and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT), output.decode()
        codes.append(process.returncode)
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"after {time.monotonic() - began:.1f} s: {done.stderr}"
    assert cluster.status().phase == "running"


def test_a_stop_whose_caller_hangs_up_is_finished_and_the_cluster_starts_again(own_cluster: OwnCluster) -> None:
    cluster = own_cluster()
    cluster.up(DEFAULT_STATE, progress=_nobody)
    run = LabPaths.from_environment().labs / cluster.name / "run"
    for after_s in (0.0, 0.02, 0.04, 0.06, 0.1):
        with control.connect(run, "control.sock", timeout_s=30.0) as caller:
            caller.sendall(b'{"operation": "freeze"}\n')
            time.sleep(after_s)
        control.call(run, "freeze", timeout_s=30.0)
        status = control.call(run, "status", timeout_s=30.0)
        assert status["frozen"], f"after {after_s} s: {status}"
        assert "kube-apiserver" not in status["processes"].values(), f"after {after_s} s: {status}"
        control.call(run, "thaw", timeout_s=30.0)
        cluster.wait_api_server(timeout_s=60)


@pytest.mark.lab_changes
@pytest.mark.parametrize("after_s", [0.15, 0.25, 0.35, 0.5])
def test_a_rewind_may_be_interrupted_at_any_moment(lab_cluster: Cluster, after_s: float) -> None:
    run = ("kubectl", "create", "deployment", "web", "--image=docker.io/library/nginx", "--replicas=3")
    lab_cluster.node_exec(run)
    argv = [sys.executable, "-P", "-m", "lab", "reset", "--name", lab_cluster.name]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGINT), output.decode()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    left = lab_cluster.node_exec(("kubectl", "get", "deployments,pods", "-o", "name", "-l", "app=web"))
    assert (left.exit_code, left.stdout) == (0, ""), left
