"""The component store: one directory per component, version and platform, with a record of every file in it.

An entry appears in one step (a rename), so there is no half-done one: what a killed process leaves lies in ``tmp/`` and
is removed by the next process that holds the same lock. A record (``manifest.json``) says how the entry was obtained
and has the sha256 of each file.

**When a file is verified.** Hashing the 500 MB of a control plane costs more than starting it, so each ``lab up``
compares size, modification time and inode with what the record says, and computes the sha256 only when one of them
differs (a restored backup, a copied cache, an edit). An equal sha256 renews the record; another one makes the
entry damaged: it is never run and is obtained again. What this cannot see is a disk that changes bytes behind the
file system's back: ``lab components list --verify`` hashes everything. It is no defence against someone with the
user's own rights, who could rewrite the record too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.components.progress import Ticker

_RECORD = "manifest.json"
_FORMAT = 1
_LOCK_POLL_S = 0.2


class State(StrEnum):
    """What the store knows of an entry."""

    READY = "ready"
    """Whole, as recorded."""
    MISSING = "missing"
    """Not there."""
    DAMAGED = "damaged"
    """A file is gone or has another sha256 than recorded, or the record cannot be read."""
    OUTDATED = "outdated"
    """Whole, but made by another recipe (module checksums, flags) than the pinned one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What an entry holds.

    Attributes:
        name: the component.
        version: its version.
        platform: ``linux-amd64``, or ``any``.
    """

    name: str
    version: str
    platform: str

    def __str__(self) -> str:
        return f"{self.name}-{self.version}-{self.platform}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the store has under a key.

    Attributes:
        state: whether it may be used.
        file: its main file, the one named in the record; meaningless unless ready.
        sha256: of that file.
        size: of that file, in bytes.
        source: how it was obtained: a ``kind`` (``release``, ``build``, ...) and what belongs to it.
        problem: what is wrong, one sentence; empty when ready or missing.
    """

    state: State
    file: Path
    sha256: str = ""
    size: int = 0
    source: Mapping[str, str] | None = None
    problem: str = ""


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: object) -> None:
    """Write a JSON file in one step (rename)."""
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}")
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


class Store:
    """The store below one directory, which is made when the first entry is.

    What writes raises OSError; `store_error` has the remedy.

    Args:
        root: the directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def directory(self, key: Key) -> Path:
        """Where an entry lies or would lie."""
        return self._root / str(key)

    def look(self, key: Key, *, recipe: str, thorough: bool = False) -> Entry:
        """What the store has under a key.

        Args:
            key: the entry.
            recipe: what an entry that was built must have been made by; see `State.OUTDATED`.
            thorough: compute each sha256, even where size, time and inode are as recorded.
        """
        directory = self.directory(key)
        if not directory.is_dir():
            return Entry(state=State.MISSING, file=directory / key.name)
        try:
            record = json.loads((directory / _RECORD).read_text(encoding="utf-8"))
            return self._judge(directory, record, recipe=recipe, thorough=thorough)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"its record cannot be read: {error}"
            return Entry(state=State.DAMAGED, file=directory / key.name, problem=problem)

    def _judge(self, directory: Path, record: dict[str, Any], *, recipe: str, thorough: bool) -> Entry:
        if record["format"] != _FORMAT:
            return Entry(state=State.OUTDATED, file=directory, problem=f"its record has format {record['format']}")
        main = record["main"]
        file = directory / main
        facts = {"sha256": record["files"][main]["sha256"], "size": record["files"][main]["size"]}
        source: dict[str, str] = record["source"]
        renewed = False
        for name, kept in record["files"].items():
            path = directory / name
            if not path.is_file():
                problem = f"{path} is gone"
                return Entry(state=State.DAMAGED, file=file, source=source, problem=problem, **facts)
            stamp = _stamp(path)
            if thorough or stamp != kept["stamp"]:
                found = file_sha256(path)
                if found != kept["sha256"]:
                    problem = f"{path} has sha256 {found} instead of {kept['sha256']}"
                    return Entry(state=State.DAMAGED, file=file, source=source, problem=problem, **facts)
                renewed = renewed or stamp != kept["stamp"]
                kept["stamp"] = stamp
        if source.get("recipe", recipe) != recipe:
            problem = "it was built by another recipe than the pinned one"
            return Entry(state=State.OUTDATED, file=file, source=source, problem=problem, **facts)
        if renewed and os.access(directory, os.W_OK):
            write_json(directory / _RECORD, record)
        return Entry(state=State.READY, file=file, source=source, **facts)

    def put(self, key: Key, staged: Path, *, main: str, source: Mapping[str, str]) -> Path:
        """Make a directory of finished files an entry, in one step; the caller holds the key's lock.

        Args:
            key: the entry.
            staged: a directory inside one that `staging` gave; it is moved.
            main: the file in it that the entry is about.
            source: how it was obtained; a ``recipe`` in it is compared by `look`.

        Returns:
            The main file.
        """
        with (staged / main).open("rb") as file:
            # After a power cut a file may have its recorded size and time without its content.
            os.fsync(file.fileno())
        files = {
            str(path.relative_to(staged)): {
                "sha256": file_sha256(path),
                "size": path.stat().st_size,
                "stamp": _stamp(path),
            }
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        }
        obtained = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = {"format": _FORMAT, "key": str(key), "main": main, "files": files, "source": dict(source)}
        write_json(staged / _RECORD, {**record, "obtained": obtained})
        directory = self.directory(key)
        if directory.exists():
            # A directory cannot be replaced in one step; the old one was refused already, so nobody runs from it.
            directory.rename(staged.with_name(f"{staged.name}.replaced"))
        staged.rename(directory)
        return directory / main

    @contextmanager
    def staging(self, key: Key) -> Iterator[Path]:
        """A directory to work in, removed at the end; the caller holds the key's lock."""
        parent = self._root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        for stale in parent.glob(f"{key}.*"):
            # Left by a process that was killed: nobody else can work here while we hold the lock.
            shutil.rmtree(stale)
        directory = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=parent))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def lock(self, key: Key, ticker: Ticker) -> Iterator[None]:
        """Hold a key alone, across processes; waiting says for whom.

        The lock is the kernel's (flock), so it ends with its holder however that ends.
        """
        path = self._root / "locks" / str(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            waits = False
            while not _try_lock(file.fileno()):
                file.seek(0)
                text = f"waiting for process {file.read().strip() or '(unknown)'}, which is obtaining {key}"
                ticker.tick(text) if waits else ticker.say(text)
                waits = True
                time.sleep(_LOCK_POLL_S)
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def store_error(error: OSError, where: Path) -> LabError:
    """An error of the file system below the store, with its remedy."""
    return LabError(
        "component-store",
        f"cannot write the component store: {error.strerror or error}",
        hint="free space there (about 1 GB for the programs, 6 GB while they are built), make it writable, "
        "or set LAB_HOME to a directory elsewhere",
        context={"directory": str(where)},
    )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]
