"""The content of the node's files that belong to a state, remembered and put back."""

from __future__ import annotations

import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory, a link (its target) or a file (its content), with its permissions."""

    kind: int
    mode: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFiles:
    """Some files and directories as they were.

    Attributes:
        roots: the files and directories, each with all that is below it.
        homes: directories that are a person's: what is new in them stays, and so does what is hidden.
        entries: what there was, parents first.
    """

    roots: tuple[Path, ...]
    homes: tuple[Path, ...]
    entries: dict[Path, _Entry]

    @classmethod
    def read(cls, roots: Iterable[Path], *, homes: Iterable[Path] = ()) -> NodeFiles:
        """Remember files as they are now."""
        all_of, some_of = tuple(roots), tuple(homes)
        return cls(roots=all_of, homes=some_of, entries=_read(all_of) | _read(some_of, hidden=False))

    def differences(self) -> list[Path]:
        """Paths that are not as they were, gone or new ones included; a directory before what is in it."""
        now = _read(self.roots)
        for home in self.homes:
            known = [home, *(path for path in self.entries if path.parent == home)]
            now |= {
                path: entry
                for path, entry in _read([home], hidden=False).items()
                if any(path == one or (one != home and path.is_relative_to(one)) for one in known)
            }
        return sorted(path for path in {*self.entries, *now} if self.entries.get(path) != now.get(path))

    def put_back(self) -> None:
        """Make everything what it was. What has not changed is not touched."""
        different = self.differences()
        for path in reversed(different):
            kind = _kind(path)
            if kind is not None and (path not in self.entries or kind != self.entries[path].kind):
                _remove(path)
        for path in different:
            if path in self.entries:
                _write(path, self.entries[path])


def _read(roots: Iterable[Path], *, hidden: bool = True) -> dict[Path, _Entry]:
    return {path: entry for root in roots for path, entry in _walk(root, hidden=hidden)}


def _walk(path: Path, *, hidden: bool) -> Iterator[tuple[Path, _Entry]]:
    try:
        info = path.lstat()
        kind, mode = stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode)
        if kind == stat.S_IFLNK:
            yield path, _Entry(kind, mode, bytes(path.readlink()))
        elif kind == stat.S_IFREG:
            yield path, _Entry(kind, mode, path.read_bytes())
        elif kind == stat.S_IFDIR:
            yield path, _Entry(kind, mode, b"")
            for child in sorted(path.iterdir()):
                if hidden or not child.name.startswith("."):
                    yield from _walk(child, hidden=hidden)
    except FileNotFoundError:  # gone since its directory was listed
        return


def _kind(path: Path) -> int | None:
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove(path: Path) -> None:
    if _kind(path) == stat.S_IFDIR:
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(path: Path, entry: _Entry) -> None:
    if entry.kind == stat.S_IFLNK:
        path.unlink(missing_ok=True)
        path.symlink_to(entry.content.decode())
        return
    if entry.kind == stat.S_IFDIR:
        path.mkdir(exist_ok=True)
    else:
        # Beside its place first: whoever reads meanwhile finds the old content or the new one. The name is hidden,
        # because a kubelet takes every other file of its manifests directory for a Pod.
        beside = path.with_name(f".{path.name}.rewind")
        beside.touch(mode=0o600)
        beside.write_bytes(entry.content)
        beside.chmod(entry.mode)
        beside.replace(path)
        return
    path.chmod(entry.mode)
