"""Programs of the user's own, run once to ask for their version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lab.components import Components
from lab.components.cli import components_group
from lab.components.pins import PINS
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.paths import LabPaths

pytestmark = pytest.mark.integration


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


def program(bin_dir: Path, name: str, script: str) -> Path:
    path = bin_dir / name
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return path


def says(bin_dir: Path, name: str, text: str) -> Path:
    """A program that prints a version, and notes each time that it was asked."""
    return program(bin_dir, name, f"#!/bin/sh\necho asked >> {bin_dir}/asked\necho '{text}'\n")


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("kube-apiserver", "Kubernetes v1.36.4", "1.36.4"),
        ("kubectl", "Client Version: v1.36.4-rc.1+k3s1", "1.36.4-rc.1+k3s1"),
        ("kwok", "kwok version v0.7.0 go1.26.8 (linux/amd64)", "0.7.0"),
        ("etcd", "etcd Version: 3.6.1", "3.6.1"),
        ("registry", "no number here", "unknown"),
    ],
)
def test_the_version_is_what_the_program_says(
    name: str, text: str, version: str, bin_dir: Path, paths: LabPaths
) -> None:
    path = says(bin_dir, name, text)
    heard: list[str] = []
    components = Components(paths, bin_dir=bin_dir, progress=heard.append)

    assert components.ensure(name) == {name: path}
    assert next(info.version for info in components.list() if info.name == name) == version
    assert heard == [f"{name}: using your {path}, version {version} (pinned: {PINS[name].version})"]


def test_an_own_program_of_the_pinned_version_is_taken_without_a_word(bin_dir: Path, paths: LabPaths) -> None:
    says(bin_dir, "etcd", "etcd Version: 3.7.3")
    heard: list[str] = []
    Components(paths, bin_dir=bin_dir, progress=heard.append).ensure("etcd")

    assert heard == []


def test_a_program_is_asked_again_only_when_it_changed(bin_dir: Path, paths: LabPaths) -> None:
    path = says(bin_dir, "etcd", "etcd Version: 3.6.1")
    Components(paths, bin_dir=bin_dir).ensure("etcd")
    Components(paths, bin_dir=bin_dir).ensure("etcd")
    assert (bin_dir / "asked").read_text() == "asked\n"

    os.utime(path, ns=(1, 1))
    Components(paths, bin_dir=bin_dir).ensure("etcd")
    assert (bin_dir / "asked").read_text() == "asked\nasked\n"


def test_a_program_that_cannot_run_here_is_bad_input(bin_dir: Path, paths: LabPaths) -> None:
    program(bin_dir, "etcd", "#!/nowhere/interpreter\n")

    with pytest.raises(InputError) as caught:
        Components(paths, bin_dir=bin_dir).ensure("etcd")
    assert caught.value.code == "bin-dir-not-runnable"


def test_fetch_prints_paths_on_stdout_and_what_it_does_on_stderr(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    path = says(bin_dir, "etcd", "etcd Version: 3.6.1")

    result = CliRunner().invoke(components_group, ["fetch", "etcd", "--bin-dir", str(bin_dir)], catch_exceptions=False)

    assert result.stdout == f"{path}\n"
    assert f"etcd: using your {path}, version 3.6.1 (pinned: 3.7.3)" in result.stderr
    assert "1 ready" in result.stderr
