"""Reads the packages layer: files, and which files a package and all that it needs consist of.

kube-proxy's image is made so: a program, and those packages of the node whose programs it calls. Everything is read out
of the archive; nothing is unpacked.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

_DATABASE = "/var/lib/dpkg"
_FIELD = re.compile(r"^(Package|Depends|Pre-Depends): (.*)$", re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_ADMINISTRATION = frozenset({"debconf", "debconf-2.0", "dpkg", "perl-base"})
"""Needed to install a package, never to run its programs."""
_DOCUMENTATION = "/usr/share/"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianFile:
    """A file or symbolic link of a package.

    Attributes:
        path: absolute, with every directory on the way a real one.
        mode: permission bits.
        target: where a symbolic link leads; None for a file.
    """

    path: str
    mode: int
    target: str | None


class Debian:
    """An installed Debian in a tar archive.

    Args:
        archive: the archive, as mmdebstrap writes it.
    """

    def __init__(self, archive: Path) -> None:
        self._tar = tarfile.open(archive)  # noqa: SIM115 - closed by __exit__
        self._members = {posixpath.normpath(f"/{member.name}"): member for member in self._tar}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            LabError: ``node-image-file``: there is no such file.
        """
        with self.open(path) as file:
            return file.read()

    def open(self, path: str) -> IO[bytes]:
        """A file to read; the same as for `read`."""
        member = self._members.get(self._real(path))
        file = None if member is None else self._tar.extractfile(member)
        if file is None:
            raise LabError(
                "node-image-file",
                f"the node's packages hold no file {path}",
                hint="this release of the distribution has another layout: build on Debian 12 or newer, Ubuntu 24.04 "
                "or newer",
            )
        return file

    def files_of(self, packages: Iterable[str]) -> Iterator[DebianFile]:
        """Files and links of packages and of all that they need, without documentation, each once, in order.

        Raises:
            LabError: ``node-image-file``: a package is not installed.
        """
        paths = {
            self._real(path)
            for package in self._with_dependencies(packages)
            for path in self._listed(package)
            if not path.startswith(_DOCUMENTATION)
        }
        for path in sorted(paths):
            member = self._members.get(path)
            # At the top there are only the links of a merged system, /lib and its like.
            if member is not None and (member.isreg() or member.issym()) and path.count("/") > 1:
                yield DebianFile(path=path, mode=member.mode, target=member.linkname if member.issym() else None)

    def _with_dependencies(self, packages: Iterable[str]) -> list[str]:
        needs: dict[str, list[str]] = {}
        for paragraph in self.read(f"{_DATABASE}/status").decode().split("\n\n"):
            fields = dict(_FIELD.findall(paragraph))
            if fields:
                wanted = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}".split(",")
                # Of alternatives, those that are installed count; a virtual package is no paragraph.
                needs[fields["Package"]] = [
                    name[0] for text in wanted for choice in text.split("|") if (name := _NAME.match(choice.strip()))
                ]
        found: set[str] = set()
        todo = list(packages)
        while todo:
            package = todo.pop()
            if package not in found and package in needs and package not in _ADMINISTRATION:
                found.add(package)
                todo += needs[package]
        return sorted(found.union(packages))

    def _listed(self, package: str) -> list[str]:
        """A package's own list of files; that of a package that can be there for several architectures names one."""
        pattern = re.compile(rf"{re.escape(f'{_DATABASE}/info/{package}')}(:[a-z0-9]+)?\.list\Z")
        name = next((path for path in self._members if pattern.match(path)), f"{_DATABASE}/info/{package}.list")
        return self.read(name).decode().splitlines()

    def _real(self, path: str) -> str:
        """A path without symbolic links above its last element: ``/lib/x`` is ``/usr/lib/x`` on a merged system."""
        done = "/"
        for name in path.strip("/").split("/")[:-1]:
            done = posixpath.join(done, name)
            member = self._members.get(done)
            if member is not None and member.issym():
                done = posixpath.normpath(posixpath.join(posixpath.dirname(done), member.linkname))
        return posixpath.join(done, posixpath.basename(path))
