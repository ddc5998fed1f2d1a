"""Run as root, these tests show that a lab asks for no root: the same commands as another user, from start to end."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lab
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.about_embedded("it asks for no right; who may use Docker has all of them"),
    pytest.mark.thorough,
]

USER = "nobody"


def _can(user: pwd.struct_passwd, *argv: str) -> bool:
    try:
        done = subprocess.run(
            argv,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            env={},
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


class OrdinaryUser:
    """Someone without any right, with a home of their own and a Python that they can reach.

    Args:
        user: who.
        home: their directory.
        python: the Python.
    """

    def __init__(self, user: pwd.struct_passwd, home: Path, python: str) -> None:
        self.user = user
        self.home = home
        self.python = python

    def lab(self, *arguments: str, exit_code: int = 0) -> str:
        """Run the command ``lab``."""
        done = subprocess.run(
            [self.python, "-P", "-m", "lab", *arguments],
            user=self.user.pw_uid,
            group=self.user.pw_gid,
            extra_groups=[],
            cwd="/",
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.home),
                "LAB_HOME": str(self.home / "lab"),
                "PYTHONPATH": str(Path(lab.__file__).parents[1]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == exit_code, f"lab {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr if exit_code else done.stdout


@pytest.fixture
def ordinary_user(pytestconfig: pytest.Config) -> Iterator[OrdinaryUser]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; the whole suite runs as an ordinary user already")
    if pytestconfig.getoption("--lab-backend") != "embedded":
        pytest.skip("about the embedded backend")
    user = pwd.getpwnam(USER)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"]
    base = next((found for found in candidates if Path(found).exists() and _can(user, found, "-c", "")), None)
    if base is None:
        pytest.skip(f"there is no {version} that {USER} can reach")
    # Not pytest's own directory, which only root can enter.
    with tempfile.TemporaryDirectory(prefix="lab-user-") as name:
        home = Path(name)
        python = _make_python(base, home / "venv")
        home.joinpath("lab").mkdir()
        store = home / "lab/cache/components"
        if LabPaths.from_environment().store.is_dir():
            _link_tree(LabPaths.from_environment().store, store)
        for path in (home, home / "lab", *home.joinpath("lab").rglob("*")):
            # What is only linked stays as it is: it is the store of whoever runs the tests.
            if path.stat().st_nlink == 1 or path.is_dir():
                os.chown(path, user.pw_uid, user.pw_gid)
        yield OrdinaryUser(user, home, python)


def _make_python(base: str, directory: Path) -> str:
    """A virtual environment with the packages of this one, which may lie where only root can enter."""
    subprocess.run([base, "-m", "venv", "--without-pip", str(directory)], check=True, env={})
    packages = sysconfig.get_path("purelib", vars={"base": str(directory)})
    _link_tree(Path(sysconfig.get_path("purelib")), Path(packages))
    return str(directory / "bin/python")


def _link_tree(source: Path, target: Path) -> None:
    """The same files in another place; of a store, not its locks and what is half done."""
    shutil.copytree(
        source,
        target,
        dirs_exist_ok=True,
        copy_function=_link_or_copy,
        ignore=shutil.ignore_patterns("locks", "tmp"),
    )


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def test_a_lab_lives_and_dies_without_root(ordinary_user: OrdinaryUser, pytestconfig: pytest.Config) -> None:
    bin_dir = pytestconfig.getoption("--lab-bin-dir")
    options = [] if bin_dir is None else ["--bin-dir", str(bin_dir.absolute())]
    try:
        ordinary_user.lab("up", "--name", "plain", *options)
        status: dict[str, Any] = json.loads(ordinary_user.lab("status", "--name", "plain", "--json"))
        for process in status["processes"]:
            assert Path(f"/proc/{process['pid']}").stat().st_uid == ordinary_user.user.pw_uid, process
        on_node = ("node", "exec", "--name", "plain", "--")
        kubectl = (*on_node, "kubectl", "run", "podx", "--dry-run=server")
        assert "pod/podx created" in ordinary_user.lab(*kubectl, "--image=docker.io/library/nginx")
        denied = ordinary_user.lab(*kubectl, "--image=quay.io/nginx", exit_code=1)
        assert "image policy webhook backend denied one or more images" in denied
        assert ordinary_user.lab(*on_node, "id", "-u") == "0\n"
    finally:
        ordinary_user.lab("down", "--name", "plain")
    assert list((ordinary_user.home / "lab/state/labs").iterdir()) == []
