"""Copies a node's logs to this machine: what the containers wrote, the audit log, the journal, the manifests."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.kind.engine import Engine

_TREES = {"pods": "/var/log/pods", "audit": "/var/log/kubernetes/audit", "manifests": "/etc/kubernetes/manifests"}
_UNITS = ("kubelet", "containerd", "lab-resolver", "lab-registry", "lab-private-registry")


def copy(engine: Engine, node: str, destination: Path) -> None:
    """Copy the logs below a directory.

    Raises:
        LabError: the node cannot be entered.
    """
    for name, tree in _TREES.items():
        archive = engine.archive(node, tree)
        if archive is None:
            continue
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            # The first part of each name is the tree's own directory.
            for member in opened.getmembers():
                member.name = "/".join((name, *member.name.split("/")[1:]))
                if member.isfile() or member.isdir():
                    opened.extract(member, destination, filter="data")
    (destination / "lab").mkdir(exist_ok=True)
    for unit in _UNITS:
        result = engine.run(node, ("journalctl", "-u", unit, "--no-pager", "-o", "short-iso"))
        (destination / "lab" / f"{unit}.log").write_text(result.stdout)
    (destination / "lab" / "node.log").write_text(engine.output(node))
