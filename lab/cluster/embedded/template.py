"""Finished clusters, kept to be copied: nothing waits on a bootstrap twice.

A family of templates belongs to one cluster definition, one set of programs and one version of the code that builds
clusters. In a family there is one template per start state: etcd's data, ``/etc/kubernetes`` with its pki and
manifests, ``/etc/hosts``, and the directories of the cluster definition's extraMounts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_AGE_S = 30 * 24 * 3600.0
"""kubeadm's certificates hold for a year and the bouncer's for as long; a template is made anew well before."""

_BUILDERS = ("lab.admission", "lab.cluster", "lab.cluster.embedded", "lab.cluster.addons")
"""Packages whose code and data decide what a template holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFamily:
    """The templates of one cluster definition, made by one set of programs.

    Attributes:
        directory: holds one directory per start state.
        parts: paths below a lab's directory that make up its state.
    """

    directory: Path
    parts: tuple[str, ...]

    def path(self, key: str) -> Path:
        """Where the template of a start state is, or would be."""
        return self.directory / key

    def find(self, key: str) -> Path | None:
        """The template of a start state; None when there is none, or it is too old."""
        path = self.path(key)
        try:
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return None
        return path if age_s < MAX_AGE_S else None

    def save(self, key: str, lab: Path) -> None:
        """Keep a lab's present state, whose processes must not run, as the template of a start state."""
        self.directory.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=self.directory))
        try:
            self._copy(lab, staging)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.path(key))
            staging.replace(self.path(key))
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def restore(self, key: str, lab: Path) -> None:
        """Make a lab's state that of a template, replacing what is there.

        A directory that both have stays the same directory: the node may have mounted it.
        """
        self._copy(self.path(key), lab)

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Hold the right to make templates of this family; a second process waits here, and then finds them made."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _copy(self, source: Path, target: Path) -> None:
        for part in self.parts:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            _mirror(source / part, target / part)


def family_directory(templates: Path, *, definition: str, programs: str) -> Path:
    """The directory of a family.

    Args:
        templates: the directory of all templates.
        definition: text of the cluster definition.
        programs: fingerprint of the programs.
    """
    digest = hashlib.sha256()
    for part in (definition, programs):
        digest.update(part.encode() + b"\0")
    for package in _BUILDERS:
        for entry in sorted(resources.files(package).iterdir(), key=lambda entry: entry.name):
            if entry.is_file():
                digest.update(entry.name.encode() + b"\0" + entry.read_bytes())
    return templates / digest.hexdigest()[:16]


def _mirror(source: Path, target: Path) -> None:
    """Make ``target`` the same as ``source``: what is not in the source goes, directories that are in both stay."""
    if not source.is_dir() or source.is_symlink():
        _remove(target)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            _copy_sparse(str(source), str(target))
        return
    if not target.is_dir() or target.is_symlink():
        _remove(target)
        target.mkdir()
    names = {entry.name for entry in source.iterdir()}
    for entry in target.iterdir():
        if entry.name not in names:
            _remove(entry)
    for name in names:
        _mirror(source / name, target / name)
    shutil.copystat(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_sparse(source: str, target: str) -> str:
    """Copy a file without its holes: etcd sets 64 MB aside for its log and writes a few of them."""
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        start = 0
        while start < size:
            try:
                start = os.lseek(reader.fileno(), start, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            writer.seek(start)
            while start < end:
                start += os.sendfile(writer.fileno(), reader.fileno(), start, end - start)
                writer.seek(start)
    shutil.copystat(source, target)
    return target
