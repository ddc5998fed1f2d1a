"""The files of a node that belong to a start state: remembered when it stands, put back by a reset.

A file is written only where it differs, so that the kubelet restarts no static pod whose manifest is as it was. Where
the API server's manifest differs, or no API server runs, the kubelet is stopped for as long as files are written. It
would start an API server with half of them, or none at all: `api_server.is_forgotten`.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.cluster.protocol import Cluster

API_SERVER_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ADMISSION = "/etc/kubernetes/admission"
_IN_PLACE = "/etc/hosts"
"""Docker mounts it, so it cannot be replaced by another file."""
_READ = r"""
tar -C / --exclude=etc/kubernetes/audit --hard-dereference -cf - etc/kubernetes etc/hosts | base64 -w0
[ "${PIPESTATUS[0]}" -le 1 ]
"""
"""tar ends with 1 when a file changed or went meanwhile, with 2 when one could not be read."""
_IS_GONE = ("sh", "-c", "! pgrep -x kube-apiserver > /dev/null")
_HALT = ("sh", "-c", "systemctl stop kubelet && { pkill -KILL -x kube-apiserver || true; }")
_GO_ON = ("systemctl", "start", "kubelet")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFile:
    """A file of the node."""

    content: bytes
    mode: int


def read(cluster: Cluster) -> dict[str, NodeFile]:
    """Every file of the node that belongs to a state, by its path.

    Raises:
        LabError: ``node-file``.
    """
    result = cluster.node_exec(("bash", "-c", _READ))
    if result.exit_code != 0:
        raise LabError("node-file", f"the node's files cannot be read: {result.stderr.strip()}", hint="lab node shell")
    files: dict[str, NodeFile] = {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(result.stdout))) as archive:
        for member in archive:
            if member.isfile() and (content := archive.extractfile(member)) is not None:
                files[f"/{member.name}"] = NodeFile(content=content.read(), mode=member.mode)
    return files


def save(files: dict[str, NodeFile], path: Path) -> None:
    """Keep files for `load`; private keys are among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    document = {name: [file.mode, base64.b64encode(file.content).decode()] for name, file in files.items()}
    path.write_text(json.dumps(document))


def load(path: Path) -> dict[str, NodeFile]:
    """What `save` kept."""
    document = json.loads(path.read_text())
    return {name: NodeFile(mode=mode, content=base64.b64decode(content)) for name, (mode, content) in document.items()}


def put_back(cluster: Cluster, wanted: dict[str, NodeFile]) -> set[str]:
    """Make the node's files the same as those; the paths that had to be changed.

    When no API server runs, its manifest is written in any case: what was logged before that is past.

    Raises:
        LabError: ``node-file``; ``kubelet``: it cannot be stopped or started.
    """
    present = read(cluster)
    extra = [path for path in present if path not in wanted]
    changed = [path for path, file in wanted.items() if present.get(path) != file]
    if API_SERVER_MANIFEST not in changed and cluster.node_exec(_IS_GONE).exit_code == 0:
        changed.append(API_SERVER_MANIFEST)
    if API_SERVER_MANIFEST not in changed:
        _write(cluster, wanted, extra=extra, changed=changed)
    else:
        _systemctl(cluster, _HALT)
        try:
            _write(cluster, wanted, extra=extra, changed=changed)
        finally:
            _systemctl(cluster, _GO_ON)
    return {*extra, *changed}


def _write(cluster: Cluster, wanted: dict[str, NodeFile], *, extra: Sequence[str], changed: Sequence[str]) -> None:
    if extra:
        cluster.node_exec(("rm", "-f", "--", *extra))
    for path in changed:
        file = wanted[path]
        if path == _IN_PLACE:
            cluster.node_exec(("sh", "-c", 'cat > "$1"', "sh", path), stdin=file.content)
        else:
            cluster.write_node_file(path, file.content, mode=file.mode)


def _systemctl(cluster: Cluster, argv: Sequence[str]) -> None:
    done = cluster.node_exec(argv)
    if done.exit_code != 0:
        raise LabError(
            "kubelet",
            f"the node's kubelet can be neither stopped nor started: {done.stderr.strip()}",
            hint="see lab logs; lab down and lab up make the lab afresh",
        )
