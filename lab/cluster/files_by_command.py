"""Reads and writes files of a node by commands that run on it: any node has a shell and coreutils."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from lab.cluster.protocol import Cluster

_READ = 'test ! -e "$1" || base64 "$1"'
_WRITE = """
mkdir -p "$(dirname "$1")" && temporary=$(mktemp "$(dirname "$1")/.lab-XXXXXX") && cat > "$temporary" \\
  && chmod "$2" "$temporary" && mv -fT "$temporary" "$1"
"""


def read_file(cluster: Cluster, path: str) -> bytes | None:
    """A file of the node; None when there is none.

    Raises:
        LabError: ``node-file``.
    """
    result = cluster.node_exec(("sh", "-c", _READ, "sh", path))
    if result.exit_code != 0:
        raise LabError("node-file", f"{path} cannot be read: {result.stderr.strip()}", hint="see lab node shell")
    if not result.stdout:
        exists = cluster.node_exec(("test", "-e", path)).exit_code == 0
        return b"" if exists else None
    return base64.b64decode(result.stdout)


def write_file(cluster: Cluster, path: str, content: bytes, *, mode: int) -> None:
    """Write a file of the node in one step.

    Raises:
        LabError: ``node-file``.
    """
    result = cluster.node_exec(("sh", "-c", _WRITE, "sh", path, f"{mode:o}"), stdin=content)
    if result.exit_code != 0:
        raise LabError("node-file", f"{path} cannot be written: {result.stderr.strip()}", hint="see lab node shell")
