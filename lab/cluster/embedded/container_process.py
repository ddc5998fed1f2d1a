"""One run of one container: its process, its log, its probes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.pod_logs import LogWriter
from lab.cluster.embedded.probes import Prober
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lab.cluster.embedded.children import Child, Children
    from lab.cluster.embedded.probes import ProbeEvents
    from lab.cluster.embedded.sandbox import SandboxSpec


class ContainerProcess:
    """Starts a container's process and watches it until it has ended.

    Args:
        name: for messages and ``lab status``.
        children: starts and reaps it.
        log_path: the log file of this run.

    Raises:
        LabError: ``sandbox-failed``; the log then holds why.
    """

    def __init__(
        self, name: str, *, children: Children, sandbox: Callable[[int, int], SandboxSpec], log_path: Path
    ) -> None:
        self._log = LogWriter(log_path)
        self._prober: Prober | None = None
        out, err = os.pipe(), os.pipe()
        try:
            self.child: Child = children.spawn(name, sandbox(out[1], err[1]))
        except LabError as error:
            self._log.write("stderr", error.message.encode() + b"\n")
            self._log.close()
            os.close(out[0])
            os.close(err[0])
            raise
        finally:
            os.close(out[1])
            os.close(err[1])
        self._log.attach(out[0], "stdout")
        self._log.attach(err[0], "stderr")

    def probe(self, container: Mapping[str, Any], *, address: str, events: ProbeEvents) -> None:
        """Begin to probe it."""
        self._prober = Prober(container, address=address, events=events, run_in_container=self._run_in_container)
        self._prober.start()

    async def ended(self) -> int:
        """Wait until it has ended and its log is complete; returns its exit code, 128 + N for signal N."""
        code = await asyncio.shield(self.child.exited)
        if self._prober is not None:
            await self._prober.stop()
        with contextlib.suppress(TimeoutError):  # a grandchild may hold the pipe open
            await asyncio.wait_for(self._log.wait_drained(), 0.2)
        self._log.close()
        return code if code >= 0 else 128 - code

    async def stop(self, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after the grace time; no further probe is sent."""
        if self._prober is not None:
            await self._prober.stop()
        await self.child.stop(grace_s=grace_s)

    def kill(self) -> None:
        """End it at once."""
        self.child.signal(signal.SIGKILL)

    async def _run_in_container(self, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        del argv, timeout_s
        return 1, "exec probes are not run by the embedded backend: use httpGet or tcpSocket, or the kind backend"
