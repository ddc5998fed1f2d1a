"""Writes the files of a volume (Secret, ConfigMap, projected) so that a reader sees the old set or the new, never both.

The layout is that of the kubelet's AtomicWriter (``pkg/volume/util/atomic_writer.go``), on which programs rely that
watch for changes: the files lie in a directory named after the time, ``..data`` is a link to it that is replaced in one
step, and what a program opens (``tls.crt``) is a link to ``..data/tls.crt``.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA = "..data"
_NEW_DATA = "..data_tmp"
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProjection:
    """One file of a volume.

    Attributes:
        data: its content.
        mode: its permission bits.
    """

    data: bytes
    mode: int


def write_volume(directory: Path, payload: Mapping[str, FileProjection]) -> bool:
    """Make a volume's directory hold these files and no others.

    Args:
        directory: the volume; made when missing.
        payload: files by path relative to the volume; the API server has seen to it that no path leaves it.

    Returns:
        Whether anything had to be written.
    """
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    link = directory / _DATA
    old = directory / link.readlink() if link.is_symlink() else None
    if old is not None and _content(old) == dict(payload):
        return False
    fresh = _write_files(directory, payload)
    replacement = directory / _NEW_DATA
    replacement.unlink(missing_ok=True)
    replacement.symlink_to(fresh.name)
    replacement.rename(link)
    _link_visible(directory, {Path(path).parts[0] for path in payload})
    if old is not None:
        shutil.rmtree(old)
    return True


def _content(directory: Path) -> dict[str, FileProjection]:
    return {
        str(path.relative_to(directory)): FileProjection(data=path.read_bytes(), mode=path.stat().st_mode & 0o7777)
        for path in directory.rglob("*")
        if path.is_file()
    }


def _write_files(directory: Path, payload: Mapping[str, FileProjection]) -> Path:
    now = datetime.now(UTC)
    fresh = Path(tempfile.mkdtemp(prefix=f"..{now:%Y_%m_%d_%H_%M_%S}.", dir=directory))
    fresh.chmod(_DIRECTORY_MODE)
    for path, file in payload.items():
        target = fresh / path
        target.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(file.mode)
    return fresh


def _link_visible(directory: Path, names: set[str]) -> None:
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for entry in list(directory.iterdir()):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
