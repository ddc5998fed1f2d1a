"""Checkpoints of a running cluster, and the way back to them without stopping it.

A reset that puts etcd's files back has to restart everything that watches, because resource versions go backwards: some
five seconds of processor time, twice that with Gatekeeper. A rewind goes forwards instead: it reads what etcd holds,
compares it with what it held at the checkpoint, and writes the difference as new revisions. Whoever watches sees
objects change back, as if somebody had undone them one by one. The node's files are put back too.

The way back is sure only while the programs of the control plane are those of the checkpoint. An API server that was
started again, or one that remembers verdicts which another webhook gave, is not; then a rewind says so, and the caller
resets in the other way. (A rewind that restarts the API server is no gain: its clients come back only after a back-off
that grows with every restart, up to half a minute, so they would have to be restarted too.)
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded import api_server
from lab.cluster.embedded.admission_barrier import wait_until_in_force
from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.controllers import are_at_rest
from lab.cluster.embedded.etcd_client import EtcdClient, EtcdUnavailable
from lab.cluster.embedded.node_files import NodeFiles
from lab.cluster.embedded.stored_objects import (
    ROOT,
    changes,
    follows_its_owner,
    is_event,
    leaving,
    owners,
    renamed,
    successors,
    took_a_service_account,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.cluster.embedded.etcd_client import Stored
    from lab.cluster.embedded.node import Node

FILES = (Path("/etc/kubernetes"), Path("/etc/hosts"), Path("/var/lib/kubelet/pki"))
"""What belongs to a state besides etcd's data; the cluster definition's extraMounts come to it."""
HOME = Path("/root")
"""Where a scenario puts the files of its task, and a person works."""
_MANIFESTS = Path("/etc/kubernetes/manifests")
_LOGS = Path("/var/log")
_KEPT = 8
_PATIENCE_S = 20.0
_POLL_S = 0.02
_UNDO_S = 8.0
_UNDO_POLL_S = 0.05
_QUIET_S = 0.08
_QUIET_AFTER_OWNERS_S = 0.3
_HOPS = 4
"""It has to be quiet for as many times what it takes to read etcd, too: on a busy machine controllers are late. Between
a change in etcd and a controller's answer to it are the API server, the controller and the API server again."""
_OWNERS_GO_S = 1.5

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Checkpoint:
    """The cluster at one moment.

    Attributes:
        stored: what etcd held; uids that have gone since are replaced by those of their successors.
        files: the node's files.
        processes: processes of the static pods by component.
        remembers: whether the API server keeps verdicts of image reviews for a while.
        ready: uids of the workload Pods that were ready.
        listening: addresses of Services that had an endpoint.
        kept: what whoever took it wants to have back.
    """

    stored: Mapping[str, Stored]
    files: NodeFiles
    processes: Mapping[str, frozenset[int]]
    remembers: bool
    ready: frozenset[str]
    listening: frozenset[tuple[str, int]]
    kept: Any

    def rename(self, uids: Mapping[str, str]) -> None:
        """Have objects of some uids succeeded by others."""
        self.stored = renamed(self.stored, uids)
        self.ready = frozenset(uids.get(uid, uid) for uid in self.ready)


class Checkpoints:
    """The checkpoints of one node.

    Args:
        node: the node.
        mounts: directories of the cluster definition's extraMounts, as the node sees them.
    """

    def __init__(self, node: Node, mounts: Iterable[str]) -> None:
        self._node = node
        self._roots = (*FILES, *(path for path in map(Path, mounts) if not _is_covered(path)))
        self._taken: dict[str, _Checkpoint] = {}

    async def take(self, label: str, kept: Any, *, patience_s: float) -> None:
        """Remember the cluster once it is at rest, and something with it.

        One that does not come to rest is not remembered: there would be no way back to it.

        Args:
            label: its name.
            kept: what `rewind` gives back; not None.
            patience_s: how long the cluster may take to come to rest; with none it is looked at once.
        """
        self._taken.pop(label, None)
        try:
            async with EtcdClient() as etcd:
                stored = await self._at_rest(etcd, patience_s)
        except (EtcdUnavailable, ApiError, ApiUnavailable, TimeoutError) as error:
            log.info("no checkpoint %s: %s", label, error or "the cluster does not come to rest")
            return
        while len(self._taken) >= _KEPT:
            del self._taken[next(iter(self._taken))]
        self._taken[label] = _Checkpoint(
            stored=stored,
            files=NodeFiles.read(self._roots, homes=(HOME,)),
            processes=self._processes(),
            remembers=self._remembers(),
            ready=frozenset(uid for uid, runner in self._node.link.agent.runners.items() if runner.ready),
            listening=frozenset(self._node.link.services.listening),
            kept=kept,
        )

    def forget(self) -> None:
        """Forget every checkpoint: the cluster is stopped, and no way leads back."""
        self._taken.clear()

    async def rewind(self, label: str) -> Any:
        """Go back to a checkpoint.

        Returns:
            What was to be kept when it was taken; None when there is no such checkpoint or the way back is not sure to
            lead there. Then the cluster is in no state that can be relied on.
        """
        checkpoint = self._taken.get(label)
        if checkpoint is None or self._processes() != checkpoint.processes:
            return None
        if any(path.is_relative_to(_MANIFESTS) for path in checkpoint.files.differences()):
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                sure = await self._go_back(checkpoint)
        except (EtcdUnavailable, ApiError, ApiUnavailable, OSError, TimeoutError) as error:
            log.warning("no way back to %s: %s", label, error or type(error).__name__)
            return None
        return checkpoint.kept if sure else None

    async def _at_rest(self, etcd: EtcdClient, patience_s: float) -> dict[str, Stored]:
        """What etcd holds once the controllers have nothing to do, and nobody has decided anything for a moment."""
        deadline = asyncio.get_running_loop().time() + patience_s
        before: dict[str, Stored] | None = None
        while True:
            if await are_at_rest(self._node.link.admin):
                stored = await etcd.read()
                if not patience_s or (before is not None and not any(changes(before, stored))):
                    return stored
                before = stored
            if asyncio.get_running_loop().time() >= deadline:
                raise TimeoutError
            await asyncio.sleep(_UNDO_POLL_S)

    async def _go_back(self, checkpoint: _Checkpoint) -> bool:
        async with EtcdClient() as etcd:
            found = await etcd.read()
            if took_a_service_account(checkpoint.stored, found):
                return False
            if checkpoint.remembers and any(changes(checkpoint.stored, found)[0]):
                return False  # what a webhook decided while it was another one may be remembered
            self._node.worlds.forget_failures()
            checkpoint.files.put_back()
            while True:
                async with asyncio.timeout(_UNDO_S):
                    undone = await self._undo(checkpoint, etcd)
                await wait_until_in_force(self._node.link.admin, undone)
                await self._workloads(checkpoint, undone)
                # A controller may have been later still.
                if not _matters(*changes(checkpoint.stored, await etcd.read())):
                    return self._processes() == checkpoint.processes

    async def _undo(self, checkpoint: _Checkpoint, etcd: EtcdClient) -> set[str]:
        """Write what has to be written until nothing has; controllers that have not yet seen it may write once more.

        A kind that was made because of another object (a ConstraintTemplate) is left to the garbage collector for a
        while.

        Returns:
            The keys that were written or deleted.
        """
        clock = asyncio.get_running_loop().time
        undone: set[str] = set()
        began = quiet_since = clock()
        waits = False
        slowest_s = 0.0
        while True:
            asked = clock()
            found = await etcd.read()
            slowest_s = max(slowest_s, clock() - asked)
            if gone := successors(checkpoint.stored, found):
                for taken in self._taken.values():
                    taken.rename(gone)
            put, delete = changes(checkpoint.stored, found)
            late = follows_its_owner(delete, found)
            waits = waits or bool(late)
            at_once = owners(delete) or [key for key in delete if key not in late]
            if clock() - began > _OWNERS_GO_S:
                at_once = delete
            if put or at_once:
                await etcd.write(put=put, delete=(*at_once, *leaving(put, found)))
            undone.update(put, delete)
            if _matters(put, delete):
                quiet_since = clock()
            elif clock() - quiet_since > max(_QUIET_AFTER_OWNERS_S if waits else _QUIET_S, _HOPS * slowest_s):
                return undone
            await asyncio.sleep(_UNDO_POLL_S)

    async def _workloads(self, checkpoint: _Checkpoint, undone: set[str]) -> None:
        """Have the workload Pods run that ran, configured as they were, and their Services lead to them."""
        agent = self._node.link.agent
        for uid in checkpoint.ready & set(agent.runners):
            if any(agent.is_configured_by(uid, key.removeprefix(ROOT)) for key in undone):
                await agent.begin_anew(uid)
        stored = {key for key in checkpoint.stored if key.startswith(ROOT + "pods/")}
        while True:
            ready = {uid for uid, runner in agent.runners.items() if runner.ready}
            strangers = [runner for runner in agent.runners.values() if _key_of(runner.pod) not in stored]
            listening = frozenset(self._node.link.services.listening)
            if ready >= checkpoint.ready and not strangers and listening >= checkpoint.listening:
                return
            await asyncio.sleep(_POLL_S)

    def _processes(self) -> dict[str, frozenset[int]]:
        return {pod.component: frozenset(runner.processes.values()) for pod, runner in self._node.static_pods.runners}

    def _remembers(self) -> bool:
        pids = self._processes().get(api_server.COMPONENT, frozenset())
        return any("ImagePolicyWebhook" in flag for pid in pids for flag in api_server.running_flags(pid))


def _matters(put: Mapping[str, bytes], delete: Iterable[str]) -> bool:
    """Whether there is more to undo than events."""
    return bool(put) or any(not is_event(key) for key in delete)


def _is_covered(path: Path) -> bool:
    return path.is_relative_to(_LOGS) or any(path.is_relative_to(root) for root in FILES)


def _key_of(pod: Mapping[str, Any]) -> str:
    return f"{ROOT}pods/{pod['metadata']['namespace']}/{pod['metadata']['name']}"
