"""Files of the node are put back as they were."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.node_files import NodeFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def kubernetes(tmp_path: Path) -> Path:
    root = tmp_path / "kubernetes"
    (root / "manifests").mkdir(parents=True)
    (root / "manifests/kube-apiserver.yaml").write_text("kind: Pod\n")
    (root / "manifests/kube-apiserver.yaml").chmod(0o600)
    (root / "pki").mkdir()
    (root / "pki/ca.crt").write_text("certificate")
    (root / "latest").symlink_to("pki")
    return root


def _edit(root: Path) -> None:
    (root / "manifests/kube-apiserver.yaml").write_text("kind: Pod\nspec: {}\n")


def _add(root: Path) -> None:
    (root / "manifests/kube-apiserver.yaml.bak").write_text("kind: Pod\n")
    (root / "audit").mkdir()
    (root / "audit/policy.yaml").write_text("rules: []\n")


def _delete(root: Path) -> None:
    (root / "pki/ca.crt").unlink()
    (root / "pki").rmdir()


def _permit(root: Path) -> None:
    (root / "manifests/kube-apiserver.yaml").chmod(0o644)


def _retarget(root: Path) -> None:
    (root / "latest").unlink()
    (root / "latest").symlink_to("manifests")


def _directory_for_file(root: Path) -> None:
    (root / "pki/ca.crt").unlink()
    (root / "pki/ca.crt").mkdir()
    (root / "pki/ca.crt/inside").write_text("x")


def _file_for_directory(root: Path) -> None:
    _delete(root)
    (root / "pki").write_text("no directory")


@pytest.mark.parametrize("change", [_edit, _add, _delete, _permit, _retarget, _directory_for_file, _file_for_directory])
def test_a_change_is_seen_and_undone(kubernetes: Path, change: Callable[[Path], None]) -> None:
    files = NodeFiles.read([kubernetes])
    change(kubernetes)
    assert files.differences()
    files.put_back()
    assert files.differences() == []
    assert (kubernetes / "manifests/kube-apiserver.yaml").read_text() == "kind: Pod\n"
    assert stat.S_IMODE((kubernetes / "manifests/kube-apiserver.yaml").stat().st_mode) == 0o600
    assert sorted(path.name for path in (kubernetes / "manifests").iterdir()) == ["kube-apiserver.yaml"]


def test_what_did_not_change_is_not_touched(kubernetes: Path) -> None:
    files = NodeFiles.read([kubernetes])
    before = (kubernetes / "pki/ca.crt").stat()
    _edit(kubernetes)
    files.put_back()
    after = (kubernetes / "pki/ca.crt").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_one_file_can_be_kept_by_itself(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    files = NodeFiles.read([hosts])
    hosts.unlink()
    files.put_back()
    assert hosts.read_text() == "127.0.0.1 localhost\n"


def test_at_home_only_what_there_was_is_put_back(tmp_path: Path) -> None:
    home = tmp_path / "root"
    home.mkdir()
    (home / "opa.yaml").write_text("as given")
    (home / "notes.yaml").write_text("as given")
    (home / ".bash_history").write_text("ls")
    (home / "audit").mkdir()
    files = NodeFiles.read([], homes=[home])
    (home / "opa.yaml").write_text("edited")
    (home / "notes.yaml").unlink()
    (home / "mine.yaml").write_text("mine")
    (home / ".bash_history").write_text("ls; vi")
    (home / "audit/report").write_text("of the last attempt")
    assert [path.name for path in files.differences()] == ["report", "notes.yaml", "opa.yaml"]
    files.put_back()
    assert list((home / "audit").iterdir()) == []
    contents = {path.name: path.read_text() for path in home.iterdir() if path.is_file()}
    assert contents == {
        "opa.yaml": "as given",
        "notes.yaml": "as given",
        "mine.yaml": "mine",
        ".bash_history": "ls; vi",
    }
