"""Ends what goes on making a cluster for a command that was killed: kind, and the docker commands that it runs.

kind is a program of its own: it outlives a lab command that gets SIGKILL, and would make the container that
``lab down`` has just removed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import WaitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster.kind.engine import Engine

NETWORK_VARIABLE = "KIND_EXPERIMENTAL_DOCKER_NETWORK"
"""Tells kind which network to use. Its children inherit it; as the network is one lab's, it tells whose they are."""
_MAKERS = (b"kind", b"docker")
_GONE_S = 10.0
_POLL_S = 0.05
_LAST_REQUEST_S = 2.0
"""What Docker was asked for by a process that is gone is there after so long, however busy the machine."""


def remove(cluster: str, engine: Engine) -> None:
    """Remove a cluster, also one that is being made for a command that was killed.

    Raises:
        WaitError: what makes it does not end.
        LabError: Docker does not remove something.
    """
    ended = end(engine.network_of(cluster))
    engine.remove(cluster)
    if ended:
        time.sleep(_LAST_REQUEST_S)
        engine.remove(cluster)


def end(network: str) -> tuple[int, ...]:
    """Kill every process that makes the cluster of a network, and wait until they have gone; which they were.

    Raises:
        WaitError: a process does not go.
    """
    ended: set[int] = set()
    began_s = time.monotonic()
    # Again and again: one may have begun another that was not there yet at the first look.
    while left := tuple(_makers(network)):
        if time.monotonic() - began_s > _GONE_S:
            raise WaitError(
                what="kind of a killed command to end",
                timeout_s=_GONE_S,
                last_seen=f"processes {', '.join(map(str, left))}",
                hint="end them, and run lab down again",
            )
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended.update(left)
        time.sleep(_POLL_S)
    return tuple(sorted(ended))


def _makers(network: str) -> Iterator[int]:
    wanted = f"{NETWORK_VARIABLE}={network}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        # One that went meanwhile, or somebody else's.
        with contextlib.suppress(OSError):
            name, variables = (process / "comm").read_bytes().strip(), (process / "environ").read_bytes().split(b"\0")
            if name in _MAKERS and wanted in variables:
                yield int(process.name)
