"""How the files of a state are put back: which are written, and what the kubelet does meanwhile."""

from __future__ import annotations

import base64
import io
import tarfile
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.kind.node_state import API_SERVER_MANIFEST, NodeFile, put_back
from lab.cluster.protocol import ExecResult
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.cluster.protocol import Cluster

CONFIGURATION = "/etc/kubernetes/admission/admission_config.yaml"
MANIFEST = NodeFile(content=b"kind: Pod\n", mode=0o600)
OPEN = NodeFile(content=b"defaultAllow: true\n", mode=0o644)
WANTED = {CONFIGURATION: OPEN, API_SERVER_MANIFEST: MANIFEST}


class FakeNode:
    """A node with files, and a list of what was done to it."""

    def __init__(self, files: dict[str, NodeFile], *, runs: bool = True, refuses: str = "") -> None:
        self.files = files
        self.runs = runs
        self.refuses = refuses
        self.done: list[str] = []

    def node_exec(self, argv: Sequence[str], **_: Any) -> ExecResult:
        command = " ".join(argv)
        stdout, failed = "", self.refuses != "" and self.refuses in command
        if "tar -C /" in command:
            stdout = _archive(self.files)
        elif "! pgrep" in command:
            failed = self.runs
        else:
            self.done.append("stop" if "stop" in command else command)
        return ExecResult(argv=tuple(argv), exit_code=1 if failed else 0, stdout=stdout, stderr="")

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        self.done.append(path)
        if path == self.refuses:
            raise LabError("node-file", "full", hint="")
        self.files[path] = NodeFile(content=content, mode=mode)


def _archive(files: dict[str, NodeFile]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, file in files.items():
            member = tarfile.TarInfo(path.removeprefix("/"))
            member.size, member.mode = len(file.content), file.mode
            archive.addfile(member, io.BytesIO(file.content))
    return base64.b64encode(buffer.getvalue()).decode()


def restore(node: FakeNode) -> set[str]:
    return put_back(cast("Cluster", node), WANTED)


def test_what_is_as_it_was_is_left_alone() -> None:
    node = FakeNode(dict(WANTED))
    assert restore(node) == set()
    assert node.done == []


def test_a_file_beside_the_manifest_is_written_while_the_kubelet_works() -> None:
    node = FakeNode({**WANTED, CONFIGURATION: MANIFEST, "/etc/kubernetes/new": OPEN})
    assert restore(node) == {CONFIGURATION, "/etc/kubernetes/new"}
    assert node.done == ["rm -f -- /etc/kubernetes/new", CONFIGURATION]


def test_no_api_server_is_started_with_the_new_manifest_and_an_old_file() -> None:
    node = FakeNode({CONFIGURATION: MANIFEST, API_SERVER_MANIFEST: OPEN})
    assert restore(node) == {CONFIGURATION, API_SERVER_MANIFEST}
    assert node.done == ["stop", CONFIGURATION, API_SERVER_MANIFEST, "systemctl start kubelet"]


def test_where_none_runs_the_manifest_is_written_whatever_it_says() -> None:
    node = FakeNode(dict(WANTED), runs=False)
    assert restore(node) == {API_SERVER_MANIFEST}
    assert node.done == ["stop", API_SERVER_MANIFEST, "systemctl start kubelet"]


def test_the_kubelet_works_on_when_a_file_cannot_be_written() -> None:
    node = FakeNode({}, refuses=CONFIGURATION)
    with pytest.raises(LabError, match="full"):
        restore(node)
    assert node.done[-1] == "systemctl start kubelet"


def test_a_kubelet_that_cannot_be_stopped_is_an_error_and_nothing_is_written() -> None:
    node = FakeNode({}, refuses="stop kubelet")
    with pytest.raises(LabError) as caught:
        restore(node)
    assert (caught.value.code, node.files) == ("kubelet", {})
