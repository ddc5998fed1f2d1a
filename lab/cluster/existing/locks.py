"""Locks between the processes of this machine that are guests; a process that ends lets go of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Lock:
    """A lock that is held; made by `taken`."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file

    @classmethod
    def taken(cls, path: Path) -> Lock | None:
        """Take a lock; None when another has it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = path.open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    return cls(path, file)
            file.close()  # its owner has removed it meanwhile, so it is no lock any more

    def release(self) -> None:
        """Let go of it."""
        self._path.unlink(missing_ok=True)
        self._file.close()
