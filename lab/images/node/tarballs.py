"""Tar archives that hold nothing of the machine that wrote them: fixed owners and times, parents before children.

Two kinds: a layer, which becomes a file, and a stream, which goes to a program that reads an archive (Docker, ctr) and
so never lies on the disk as a second copy of what is in it.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Self

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


class Layer:
    """A layer of an image, written as it goes. Paths are absolute; missing directories above them are made.

    Args:
        path: the file to write.
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed by __exit__
        self._made: set[PurePosixPath] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()

    def file(self, path: str, content: bytes | Path | IO[bytes], *, mode: int = 0o644) -> None:
        """Add a file, from bytes, from a file of this machine or from an open one."""
        entry = self._entry(path, mode)
        if isinstance(content, Path):
            entry.size = content.stat().st_size
            with content.open("rb") as source:
                self._tar.addfile(entry, source)
        elif isinstance(content, bytes):
            entry.size = len(content)
            self._tar.addfile(entry, io.BytesIO(content))
        else:
            entry.size = content.seek(0, io.SEEK_END)
            content.seek(0)
            self._tar.addfile(entry, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link. A path below it afterwards goes where it leads, so nothing is made for it."""
        entry = self._entry(path, 0o777)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._made.add(PurePosixPath(entry.name))
        self._tar.addfile(entry)

    def directory(self, path: str, *, mode: int = 0o755) -> None:
        """Add a directory."""
        entry = self._entry(path, mode)
        entry.type = tarfile.DIRTYPE
        self._made.add(PurePosixPath(entry.name))
        self._tar.addfile(entry)

    def _entry(self, path: str, mode: int) -> tarfile.TarInfo:
        relative = PurePosixPath(path).relative_to("/")
        for parent in reversed(relative.parents[:-1]):
            if parent not in self._made:
                self.directory(f"/{parent}")
        entry = tarfile.TarInfo(str(relative))
        entry.mode = mode
        return entry


def stream(members: Iterable[tuple[str, bytes | Path]]) -> Iterator[bytes]:
    """An archive in pieces, from names and what they hold."""
    for name, content in members:
        entry = tarfile.TarInfo(name)
        entry.mode = 0o644
        entry.size = len(content) if isinstance(content, bytes) else content.stat().st_size
        yield entry.tobuf(format=tarfile.GNU_FORMAT)
        if isinstance(content, bytes):
            yield content
        else:
            with content.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    yield chunk
        yield bytes(-entry.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write an archive to a file, which appears only when it is whole.

    Raises:
        LabError: ``node-image-disk``.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise LabError(
            "node-image-disk",
            f"cannot write {path}: {error.strerror}",
            hint="name a file in a directory that is there, is yours and has room for about 1 GB",
        ) from error
