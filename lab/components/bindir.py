"""A directory of the user's own programs, taken instead of the pinned ones.

What it holds is the user's word: it is run as it is, whatever its version, and the version is reported beside the
pinned one. A program that it lacks comes from the store, so that one own kube-apiserver is enough to try a patch. A
directory that holds none of the lab's programs is taken for a mistake in the option.

Version and sha256 are remembered by path, size, time and inode, because asking ten programs costs a second.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lab.components.store import file_sha256, store_error, write_json
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lab.components.pins import Component

UNKNOWN_VERSION = "unknown"

_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+[0-9A-Za-z.+-]*)")
_ASK_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnProgram:
    """A program of the user's.

    Attributes:
        path: where it lies.
        version: what it prints of itself; ``unknown`` for a program that prints none.
        sha256: of its content.
        size: in bytes.
    """

    path: Path
    version: str
    sha256: str
    size: int


class BinDir:
    """The user's directory.

    Args:
        directory: the directory.
        names: every name that the lab would look for.
        memory: a file of ours to remember what was found out; made when there is something to remember.

    Raises:
        InputError: ``bin-dir-missing``, ``bin-dir-empty``.
    """

    def __init__(self, directory: Path, *, names: Iterable[str], memory: Path) -> None:
        self._directory = directory.absolute()
        self._memory = memory
        if not directory.is_dir():
            raise InputError(
                "bin-dir-missing",
                f"there is no directory {directory}",
                hint="give --bin-dir a directory that holds programs such as kube-apiserver",
            )
        wanted = list(names)
        if not any((directory / name).exists() for name in wanted):
            raise InputError(
                "bin-dir-empty",
                f"{directory} holds none of the lab's programs",
                hint=f"give --bin-dir a directory that holds at least one of: {', '.join(wanted)}",
            )

    def find(self, component: Component) -> OwnProgram | None:
        """The user's own program for a component; None when the directory lacks it.

        Raises:
            InputError: ``bin-dir-not-executable``, ``bin-dir-not-runnable``: it is there, but cannot be run.
        """
        path = self._directory / component.name
        if not path.exists():
            return None
        if not path.is_file() or not os.access(path, os.X_OK):
            raise InputError(
                "bin-dir-not-executable",
                f"{path} is not an executable file",
                hint=f"run 'chmod +x {path}', or take it away to use the pinned {component.name}",
            )
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        memory = self._recall()
        known = memory.get(str(path))
        if known is None or known.stamp != stamp:
            known = _Known(stamp=stamp, version=_ask_version(path, component), sha256=file_sha256(path))
            self._remember({**memory, str(path): known})
        return OwnProgram(path=path, version=known.version, sha256=known.sha256, size=status.st_size)

    def _recall(self) -> dict[str, _Known]:
        try:
            content = json.loads(self._memory.read_text(encoding="utf-8"))
            return {
                path: _Known(stamp=tuple(facts["stamp"]), version=facts["version"], sha256=facts["sha256"])
                for path, facts in content.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # It only saves time: what cannot be read is found out again.
            return {}

    def _remember(self, memory: dict[str, _Known]) -> None:
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._memory, {path: asdict(known) for path, known in memory.items()})
        except OSError as error:
            raise store_error(error, self._memory.parent) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    stamp: tuple[int, ...]
    version: str
    sha256: str


def _ask_version(path: Path, component: Component) -> str:
    if component.version_argv is None:
        return UNKNOWN_VERSION
    argv = [str(path), *component.version_argv]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(
            "bin-dir-not-runnable",
            f"{path} cannot be run: {error}",
            hint=f"check that it is built for this machine, or take it away to use the pinned {component.name}",
            context={"command": " ".join(argv)},
        ) from error
    match = _VERSION.search(answer.stdout + answer.stderr)
    return match[1] if match else UNKNOWN_VERSION
