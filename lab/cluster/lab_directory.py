"""What every backend has in common about a lab's directory: which names there can be, and one command at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import IO, TYPE_CHECKING

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def check_name(name: str) -> None:
    """See that a lab can have this name.

    Raises:
        InputError: ``lab-name-invalid``.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "lab-name-invalid",
            f"{name!r} cannot be a lab's name",
            hint="use at most 40 lower-case letters, digits and hyphens, not at either end a hyphen",
        )


@contextlib.contextmanager
def exclusive(directory: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Let one command at a time change a lab.

    Args:
        directory: the lab's, whether it exists or not.
        progress: told when another command has to be waited for.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock_file = directory.parent / f".{directory.name}.lock"
    with contextlib.closing(_lock(lock_file, directory.name, progress)):
        try:
            yield
        finally:
            if not directory.exists():
                lock_file.unlink(missing_ok=True)


def _lock(lock_file: Path, name: str, progress: Callable[[str], None]) -> IO[str]:
    """The lab's lock file, locked; it goes with the lab, so one that went while this waited is no lock."""
    while True:
        lock = lock_file.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"another command is changing lab {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(lock_file.stat(), os.fstat(lock.fileno())):
                return lock
        lock.close()
