"""What is typed as ``lab`` in a node's shell is run at the shell's other end, with the caller's descriptors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded import lab_on_node
from lab.cluster.embedded.shell_commands import ShellCommands, program

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = {"LAB_NAME": "two", "LAB_HOME": "/nowhere/of/a/lab"}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The program as it lies on the node."""
    path = tmp_path / "lab"
    path.write_text(program())
    path.chmod(0o755)
    return path


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell; the node's mount of the lab's directory is taken out of the path."""
    run = tmp_path / "run"
    run.mkdir()
    with ShellCommands(run, environment=ENVIRONMENT) as served:
        (name,) = (Path(path).name for path in served.shell_environment.values())
        assert (run / name).stat().st_mode & 0o777 == 0o600
        yield {"PATH": os.environ["PATH"], lab_on_node.SOCKET_VARIABLE: str(run / name)}
    assert list(run.iterdir()) == []


def typed(script: Path, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *arguments], env=env, capture_output=True, text=True, check=False, timeout=60)


def test_it_runs_for_the_lab_that_the_shell_is_in(script: Path, commands: dict[str, str]) -> None:
    ended = typed(script, "status", env=commands)
    assert "two, stopped" in ended.stdout
    assert ended.returncode == 1


def test_output_errors_and_exit_code_are_the_commands_own(script: Path, commands: dict[str, str]) -> None:
    listed = typed(script, "components", "list", "--json", env=commands)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {"opa", "etcd"} <= {row["name"] for row in json.loads(listed.stdout)}
    unknown = typed(script, "no-such-command", env=commands)
    assert unknown.returncode == 2
    assert unknown.stdout == ""
    assert "no-such-command" in unknown.stderr


def test_an_interrupt_reaches_the_command(
    script: Path, commands: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "stand-in" / "lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import time\nprint('begun', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    raise SystemExit(130)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    with subprocess.Popen([script], env=commands, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"begun\n"
        caller.send_signal(signal.SIGINT)
        assert caller.wait(timeout=30) == 130


def test_without_a_shell_it_says_where_it_works(script: Path) -> None:
    ended = typed(script, "status", env={"PATH": os.environ["PATH"]})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == lab_on_node.NOT_IN_A_SHELL


def test_when_the_other_end_is_gone_it_says_so(script: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], lab_on_node.SOCKET_VARIABLE: str(tmp_path / "gone.sock")}
    ended = typed(script, "status", env=env)
    assert (ended.returncode, ended.stderr) == (2, lab_on_node.GONE)
