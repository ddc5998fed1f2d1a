"""Runs the scripts of scenarios on this machine, where no node is to be had: in a directory that stands for ``/root``.

A script finds what it names under ``/root`` in that directory, kubectl on its PATH, and the lab's own kubeconfig in its
environment. It runs as the user, with the user's programs, and nothing holds it back: the scripts are those of the
scenarios.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cluster.protocol import ExecResult
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NODE_HOME = "/root"
_IN_HOME = re.compile(r"(?<![\w./~-])/root(?=/|$)", re.MULTILINE)


class Scripts:
    """The commands of one lab.

    Args:
        home: the directory that stands for ``/root``.
        bin_dir: what comes first on their PATH.
        kubeconfig: what kubectl reads.
    """

    def __init__(self, home: Path, *, bin_dir: Path, kubeconfig: Path) -> None:
        self._home = home
        self._bin_dir = bin_dir
        self._kubeconfig = kubeconfig
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def path(self, node_path: str) -> Path:
        """Where a file of the node lies.

        Raises:
            LabError: ``no-node``: not below ``/root``.
        """
        inside = Path(os.path.normpath(node_path))
        if not inside.is_relative_to(NODE_HOME):
            raise LabError(
                "no-node",
                f"there is no node whose {node_path} could be read or written",
                hint="a scenario that needs files of the node requires node-files",
            )
        return self._home / inside.relative_to(NODE_HOME)

    def run(self, argv: Sequence[str], *, stdin: bytes, env: Mapping[str, str] | None, timeout_s: float) -> ExecResult:
        """Run a command to its end.

        Raises:
            LabError: ``exec-failed``: it cannot be started, the lab is being taken down, or it did not end in time.
        """
        here = [_IN_HOME.sub(lambda _: str(self._home), part) for part in argv]
        child = self._start(here, env)
        try:
            stdout, stderr = child.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LabError(
                "exec-timeout",
                f"the command did not end within {timeout_s:g} s and was killed: {argv[0]}",
                hint="see what it waits for",
            ) from error
        finally:
            self._end(child)
        code = child.returncode
        return ExecResult(
            argv=tuple(argv),
            exit_code=128 - code if code < 0 else code,
            stdout=stdout.decode("utf-8", errors="replace"),
            stderr=stderr.decode("utf-8", errors="replace"),
        )

    def close(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        for child in running:
            _kill(child)

    def _start(self, argv: Sequence[str], env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        environment = {
            "HOME": str(self._home),
            "KUBECONFIG": str(self._kubeconfig),
            "LANG": "C.UTF-8",
            "PATH": f"{self._bin_dir}:{os.environ.get('PATH', os.defpath)}",
            **(env or {}),
        }
        with self._lock:
            if self._closed:
                raise LabError("exec-failed", "the lab is being taken down", hint="run it again")
            try:
                child = subprocess.Popen(
                    argv, cwd=self._home, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, process_group=0,
                )  # fmt: skip
            except OSError as error:
                raise LabError(
                    "exec-failed", f"cannot start {argv[0]}: {error.strerror}", hint="scripts need bash and the like"
                ) from error
            self._running.add(child)
        return child

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Leave nothing of a command running, also what it has put into the background."""
        _kill(child)
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        with self._lock:
            self._running.discard(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
