"""Has kind make a cluster, and finds out why when it does not: at once where the API server says so itself.

kind is told to keep the node of a failed creation. An API server that ends again and again with the same words is not
waited for: kubeadm would, for four minutes, and then say only that it did not come up.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.cluster.component_log import fatal_error_in
from lab.cluster.kind import api_server, diagnosis
from lab.cluster.kind.orphans import NETWORK_VARIABLE
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lab.cluster.kind.engine import Engine

CREATION_S = 420.0
"""kubeadm itself gives up after four minutes; before that the node boots."""
_LOOK_EVERY_S = 3.0
"""Each look has Docker list the processes of a node that needs the whole machine to boot."""
_ABSENT_S = 8.0
"""So long an API server may take to appear before it is asked why: entering a node costs what kubeadm needs."""
_POLL_S = 0.2
_STOP_S = 5.0
_RESTARTS_WITH_CAUSE = 1
_RESTARTS_WITHOUT = 4
"""So often an API server may be started again: while etcd starts it may fail for a moment."""
_COMPONENT_LOGS = r"""
for log in $(ls -1t /var/log/pods/kube-system_$1-*/$1/*.log 2>/dev/null | head -2); do tail -c 20000 "$log"; done
"""
_KUBEADM_HAS_ENDED = " ✓ Starting control-plane"
_JOURNAL = "journalctl -u kubelet --no-pager -o cat | grep -F -e kube-apiserver -e 'command failed' | tail -200"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What kind is asked for.

    Attributes:
        program: kind's.
        cluster: the cluster's name.
        config: its configuration; kind runs in that file's directory, against which relative paths are taken.
        kubeconfig: where kind writes the administrator's kubeconfig.
        network: the Docker network that its nodes join.
        image: the node image.
        log: where kind's own words go.
    """

    program: Path
    cluster: str
    config: Path
    kubeconfig: Path
    network: str
    image: str
    log: Path

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line."""
        return (
            str(self.program), "create", "cluster", "--retain",
            "--name", self.cluster, "--config", str(self.config), "--kubeconfig", str(self.kubeconfig),
            "--image", self.image,
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """Its environment: the user's, without kind's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KIND_")}
        return kept | {NETWORK_VARIABLE: self.network}


def create(
    order: Order, engine: Engine, *, progress: Callable[[str], None], kubeadm_ended: Callable[[], None] = lambda: None
) -> None:
    """Make the cluster.

    Args:
        order: what kind is asked for.
        engine: Docker.
        progress: told each of kind's steps.
        kubeadm_ended: called when kubeadm has ended its work and kind goes on with its own.

    Raises:
        LabError: it could not be made: the cause, and what to do about it. The node is still there.
    """
    order.log.parent.mkdir(parents=True, exist_ok=True)
    with order.log.open("wb") as log:
        kind = subprocess.Popen(
            order.argv, cwd=order.config.parent, env=order.environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
        )  # fmt: skip
    following = _Following(kind, order, engine, progress)
    try:
        following.follow(until=following.kubeadm_has_ended)
        _raise_if_failed(kind, order, engine)
        kubeadm_ended()
        following.follow(until=lambda: False)
    finally:
        _stop(kind)
    _raise_if_failed(kind, order, engine)


def _raise_if_failed(kind: subprocess.Popen[bytes], order: Order, engine: Engine) -> None:
    if kind.poll() not in (None, 0):
        raise diagnosis.explain(sources(order, engine))


def sources(order: Order, engine: Engine) -> Sequence[tuple[str, str]]:
    """What has been logged, the log that is nearest to the cause first."""
    found: list[tuple[str, str]] = []
    node = engine.node_id(order.cluster)
    if node is not None:
        for component in ("kube-apiserver", "etcd"):
            text = engine.run(node, ("sh", "-c", _COMPONENT_LOGS, "sh", component)).stdout
            # The last words of each run come first: what a program ended with is the fatal line.
            found.append((component, "\n".join(filter(None, (fatal_error_in(text), text)))))
        found.append(("kubelet", engine.run(node, ("sh", "-c", _JOURNAL)).stdout))
    found.append(("kind", order.log.read_text(errors="replace")))
    if node is not None:
        found.append(("node", engine.output(node)))
    return found


class _Following:
    """Tells kind's steps, and looks at the API server, while kind is at work."""

    def __init__(
        self, kind: subprocess.Popen[bytes], order: Order, engine: Engine, progress: Callable[[str], None]
    ) -> None:
        self._kind = kind
        self._order = order
        self._engine = engine
        self._progress = progress
        self._began_s = self._looked_s = time.monotonic()
        self._told = 0
        self._watch = ApiServerWatch()

    def follow(self, *, until: Callable[[], bool]) -> None:
        """Follow kind until something holds, or kind ends."""
        while not self._has_ended() and not until():
            self._told = _tell(self._order.log, self._told, self._progress)
            now_s = time.monotonic()
            if now_s - self._looked_s > _LOOK_EVERY_S and not self.kubeadm_has_ended():
                self._looked_s = now_s
                _raise_if_hopeless(self._order, self._engine, self._watch)
            if now_s - self._began_s > CREATION_S:
                raise WaitError(
                    what="kind to make the cluster",
                    timeout_s=CREATION_S,
                    last_seen=self._order.log.read_text(errors="replace")[-500:].strip(),
                    hint="see the logs that were kept; the machine may be overloaded",
                )
        self._told = _tell(self._order.log, self._told, self._progress)

    def _has_ended(self) -> bool:
        """Whether kind has ended, after a moment of waiting for it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._kind.wait(_POLL_S)
        return self._kind.returncode is not None

    def kubeadm_has_ended(self) -> bool:
        """Whether kind says so: the API server has answered, and from then on kind only makes objects."""
        return _KUBEADM_HAS_ENDED in self._order.log.read_text(errors="replace")


class ApiServerWatch:
    """Watches from outside of the node whether its API server ends, or does not come."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._absent_since_s: float | None = None

    def is_suspect(self, processes: Mapping[int, str], now_s: float) -> bool:
        """Whether the node has to be entered to find out more.

        Args:
            processes: the node's, number to name.
            now_s: the time.
        """
        running = {pid for pid, name in processes.items() if name == "kube-apiserver"}
        kubelet_runs = "kubelet" in processes.values()
        has_ended = bool(self._seen - running)
        self._seen |= running
        if running or not kubelet_runs:
            self._absent_since_s = None
        elif self._absent_since_s is None:
            self._absent_since_s = now_s
        is_missing = self._absent_since_s is not None and now_s - self._absent_since_s > _ABSENT_S
        return has_ended or is_missing


def _raise_if_hopeless(order: Order, engine: Engine, watch: ApiServerWatch) -> None:
    node = engine.node_id(order.cluster)
    if node is None:
        return
    try:
        if not watch.is_suspect(engine.processes(node), time.monotonic()):
            return
        sight = api_server.look(engine, node)
    except LabError:
        return  # the node has just begun to boot, or ends: kind says more about that
    error = api_server.logged_error(sight)
    if not error or sight.api_servers:
        return
    enough = _RESTARTS_WITH_CAUSE if diagnosis.find(error) else _RESTARTS_WITHOUT
    if sight.restarts >= enough:
        raise diagnosis.explain([("kube-apiserver", error), ("kind", order.log.read_text(errors="replace"))])


def _tell(log: Path, told: int, progress: Callable[[str], None]) -> int:
    """Tell the steps that kind has begun since; returns how many were told."""
    begun = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(" • ")]
    for line in begun[told:]:
        words = "".join(letter for letter in line[3:] if letter.isascii()).replace("...", "")
        progress(f"kind: {' '.join(words.split())}")
    return len(begun)


def _stop(kind: subprocess.Popen[bytes]) -> None:
    if kind.poll() is not None:
        return
    kind.terminate()
    try:
        kind.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        kind.kill()
        kind.wait()
