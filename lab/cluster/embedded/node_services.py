"""The lab's own programs on the node that are no Pods: kwok and the image registry; started again when they end."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from lab.cluster.embedded.node_process import exec_on_node

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.embedded.children import Child, Children

_RESTART_S = 0.5


class NodeService:
    """Keeps one program running.

    Args:
        name: for ``lab status``.
        argv: its command.
        environment: what it sees beside the node's environment.
        log: the file that its output is appended to.
        children: starts and reaps it.
    """

    def __init__(
        self, name: str, argv: tuple[str, ...], *, environment: dict[str, str], log: Path, children: Children
    ) -> None:
        self.name = name
        self._argv = argv
        self._environment = environment
        self._log = log
        self._children = children
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it now, and again whenever it ends."""
        self._child = self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it until it is started again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        if self._child is not None:
            await self._child.stop(grace_s=0)
            self._child = None

    async def _keep(self) -> None:
        while self._child is not None:
            await asyncio.shield(self._child.exited)
            await asyncio.sleep(_RESTART_S)
            self._child = self._spawn()

    def _spawn(self) -> Child:
        return _spawn(self.name, self._argv, environment=self._environment, log=self._log, children=self._children)


async def run_to_end(
    name: str, argv: tuple[str, ...], *, children: Children, log: Path, timeout_s: float
) -> tuple[int, str]:
    """Run a program on the node and wait for it; when the time is up it is killed.

    Returns:
        Its exit code and what it printed, which is appended to the log file too.
    """
    start = log.stat().st_size if log.exists() else 0
    child = _spawn(name, argv, environment={}, log=log, children=children)
    try:
        code = await asyncio.wait_for(asyncio.shield(child.exited), timeout_s)
    except TimeoutError:
        code = await child.stop(grace_s=0)
    with log.open("rb") as stream:
        stream.seek(start)
        return code, stream.read().decode(errors="replace")


def _spawn(name: str, argv: tuple[str, ...], *, environment: dict[str, str], log: Path, children: Children) -> Child:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return children.fork(
            name, lambda: exec_on_node(argv, environment=environment, stdin=null, stdout=output, stderr=output)
        )
    finally:
        os.close(output)
        os.close(null)
