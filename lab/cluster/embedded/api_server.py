"""What the API server's manifest asks for, what runs, and why it does not run when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.cluster.component_log import error_in
from lab.cluster.protocol import ApiServerStatus

if TYPE_CHECKING:
    from lab.cluster.embedded.static_pod_host import StaticPodHost

COMPONENT = "kube-apiserver"
_TAIL_BYTES = 64 * 1024


def describe(host: StaticPodHost, *, answers: bool) -> ApiServerStatus:
    """The API server as it is now.

    Args:
        host: the node's static pods.
        answers: whether it answers requests at this moment.
    """
    pod, runner = host.pod(COMPONENT), host.runner(COMPONENT)
    if pod is None or runner is None:
        return ApiServerStatus(state="absent")
    container = pod.pod["spec"]["containers"][0]
    state = runner.states.get(container["name"])
    pid = runner.processes.get(container["name"])
    restarts = state.restart_count if state else 0
    if pid is not None:
        flags = running_flags(pid)
        if answers and host.settled:
            return ApiServerStatus(state="running", flags=flags, restarts=restarts)
        # A program that ends again and again is shown with what it ended of, also while it tries once more.
        before = runner.log_path(container["name"], previous=True)
        error = last_error(before) if before is not None else ""
        return ApiServerStatus(state="starting", flags=flags, error=error, restarts=restarts)
    if state is None or state.current is None:
        waiting = state.waiting.message if state and state.waiting else ""
        return ApiServerStatus(state="failed" if waiting else "starting", error=waiting)
    log = runner.log_path(container["name"])
    error = last_error(log) if log is not None else ""
    return ApiServerStatus(state="failed", error=error or state.current.message, restarts=restarts)


def running_flags(pid: int) -> tuple[str, ...]:
    """The flags of a running process; none when it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ()
    return tuple(words[1:-1])


def last_error(log: Path) -> str:
    """The error that a control-plane program ended with, from the tail of its log; empty when it cannot be read."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return error_in(stream.read().decode(errors="replace"))
    except OSError:
        return ""
