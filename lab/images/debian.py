"""Layers of Debian packages, put together without root: what a package ships, as it ships it.

Packages come from the mirror that the machine's own apt knows, checked by apt against its signed lists. Their scripts
are not run, so a program that needs more than its files is given that by its image. Documentation is left out.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TIMEOUT_S = 600.0
_CLOSURE = (
    "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances",
)  # fmt: skip
_UNNEEDED = (
    "perl",
    "libperl",
    "dpkg",
    "tar",
    "install-info",
    "mime-support",
    "mailcap",
    "debconf",
    "lsb-base",
    "libdb5",
)
"""Beginnings of names of packages that others name for the sake of their scripts."""
_LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/")


def layer(packages: Sequence[str], *, cache: Path, progress: Callable[[str], None]) -> bytes:
    """The files of some packages and of all that they depend on, as a tar archive.

    Args:
        packages: names of Debian packages.
        cache: a directory in which the layer is kept.
        progress: told when packages are downloaded.

    Raises:
        LabError: ``apt-missing``: this machine has no apt; ``packages-unavailable``.
    """
    wanted = closure(packages)
    # The versions are in the names of the files: another version of a package is another layer.
    key = hashlib.sha256("\n".join([*wanted, *_versions(wanted)]).encode()).hexdigest()[:16]
    kept = cache / f"debian-{key}.tar"
    if kept.exists():
        return kept.read_bytes()
    progress(f"downloading {len(wanted)} Debian packages: {' '.join(packages)} and what they need")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".packages-", dir=cache) as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)  # apt downloads as a user of its own
        _run(("apt-get", "download", "-qq", *wanted), cwd=directory)
        archive = _merge(sorted(directory.glob("*.deb")))
        staged = directory / "layer"
        staged.write_bytes(archive)
        staged.replace(kept)
    return archive


def tree(packages: Sequence[str], *, cache: Path, progress: Callable[[str], None]) -> Path:
    """The same as `layer`, as a directory: for what is mounted rather than made an image of.

    A tree that is there is taken as it is, because every new lab asks for one, and apt takes seconds to tell versions.

    Raises:
        LabError: as for `layer`.
    """
    kept = cache / f"tree-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:16]}"
    if not kept.is_dir():
        archive = layer(packages, cache=cache, progress=progress)
        with tempfile.TemporaryDirectory(prefix=".tree-", dir=cache) as scratch:
            with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
                opened.extractall(Path(scratch, "tree"), filter="tar")
            Path(scratch, "tree").rename(kept)
    return kept


def closure(packages: Sequence[str]) -> tuple[str, ...]:
    """The packages and what they depend on, sorted, without what only their scripts need.

    Raises:
        LabError: ``apt-missing``, ``packages-unavailable``.
    """
    lines = _run(("apt-cache", "depends", *_CLOSURE, *packages)).splitlines()
    names = {line for line in lines if line and not line.startswith((" ", "<", "|"))}
    return tuple(sorted(name for name in names if ":" not in name and not name.startswith(_UNNEEDED)))


def _versions(packages: Sequence[str]) -> list[str]:
    shown = _run(("apt-cache", "show", "--no-all-versions", *packages)).splitlines()
    return [line for line in shown if line.startswith(("Package: ", "Version: "))]


def _run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    if shutil.which(argv[0]) is None:
        raise LabError(
            "apt-missing",
            f"the lab's workload images are made of Debian packages, and this machine has no {argv[0]}",
            hint="make them on Debian or Ubuntu with 'lab images build', and copy the cache directory",
        )
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, cwd=cwd)
    except subprocess.TimeoutExpired as error:
        raise _unavailable(argv, f"it did not end within {_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        raise _unavailable(argv, (done.stderr or done.stdout).strip()[-2000:])
    return done.stdout


def _unavailable(argv: Sequence[str], why: str) -> LabError:
    return LabError(
        "packages-unavailable",
        f"Debian packages cannot be had: {' '.join(argv[:2])} failed",
        hint="run 'apt-get update' as root, and see that the mirror can be reached",
        context={"output": why},
    )


def _merge(packages: Sequence[Path]) -> bytes:
    """One archive of the files of all packages: sorted by package, owned as shipped, dated 1970."""
    buffer = io.BytesIO()
    seen: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as merged:
        for package in packages:
            for member, data in _files(package):
                if member.name not in seen:
                    seen.add(member.name)
                    merged.addfile(member, io.BytesIO(data) if member.isfile() else None)
    return buffer.getvalue()


def _files(package: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    done = subprocess.run(
        ("dpkg-deb", "--fsys-tarfile", package.name), cwd=package.parent, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as shipped:
        for member in shipped:
            name = str(PurePosixPath(member.name))
            if name == "." or name.startswith(_LEFT_OUT):
                continue
            stream = shipped.extractfile(member) if member.isfile() else None
            member.name, member.mtime, member.pax_headers = name, 0, {}
            yield member, b"" if stream is None else stream.read()
