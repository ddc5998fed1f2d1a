"""Scripts run in a directory that stands for /root, with the lab's kubeconfig, and leave nothing running."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.cluster.existing.scripts import Scripts
from lab.errors import LabError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def scripts(tmp_path: Path, home: Path) -> Scripts:
    return Scripts(home, bin_dir=tmp_path / "bin", kubeconfig=tmp_path / "kubeconfig")


def _bash(scripts: Scripts, text: str, *, timeout_s: float = 10.0, stdin: bytes = b"") -> tuple[int, str, str]:
    result = scripts.run(["bash", "-euo", "pipefail", "-c", text], stdin=stdin, env=None, timeout_s=timeout_s)
    return result.exit_code, result.stdout, result.stderr


def test_it_sees_its_own_home_and_kubeconfig(scripts: Scripts, home: Path, tmp_path: Path) -> None:
    code, stdout, _ = _bash(scripts, 'echo hello > ~/a; cat /root/a; pwd; echo "$KUBECONFIG"; echo "$PATH"')
    said, where, kubeconfig, path = stdout.splitlines()
    assert (code, said, where) == (0, "hello", str(home))
    assert kubeconfig == str(tmp_path / "kubeconfig")
    assert path.startswith(f"{tmp_path / 'bin'}:")


def test_only_the_directory_itself_stands_for_root(scripts: Scripts) -> None:
    code, stdout, _ = _bash(scripts, "echo docker.io/root/a /chroot/root x/root/b /rooted")
    assert (code, stdout) == (0, "docker.io/root/a /chroot/root x/root/b /rooted\n")


def test_it_tells_how_a_command_ended(scripts: Scripts) -> None:
    assert _bash(scripts, "cat; echo no >&2; exit 3", stdin=b"yes") == (3, "yes", "no\n")
    assert _bash(scripts, "kill -TERM $$")[0] == 128 + 15


def test_a_command_that_takes_too_long_is_ended_with_its_children(scripts: Scripts, home: Path) -> None:
    with pytest.raises(LabError, match="did not end within") as raised:
        _bash(scripts, "sleep 60 & echo $! > ~/pid; wait", timeout_s=0.5)
    assert raised.value.code == "exec-timeout"
    child = int((home / "pid").read_text())
    deadline = time.monotonic() + 5.0
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_starts_once_it_is_closed(scripts: Scripts) -> None:
    scripts.close()
    with pytest.raises(LabError) as raised:
        _bash(scripts, "true")
    assert raised.value.code == "exec-failed"


def test_files_of_the_node_lie_below_root_or_nowhere(scripts: Scripts, home: Path) -> None:
    assert scripts.path("/root/a/b.yaml") == home / "a/b.yaml"
    for outside in ("/etc/kubernetes/manifests/a.yaml", "/root/../etc/passwd", "/rooted"):
        with pytest.raises(LabError) as raised:
            scripts.path(outside)
        assert raised.value.code == "no-node"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
