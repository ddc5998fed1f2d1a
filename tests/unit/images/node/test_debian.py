from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.images.node.debian import Debian, DebianFile

if TYPE_CHECKING:
    from pathlib import Path

STATUS = """\
Package: firewall
Depends: libold | libwall (>= 1.0), debconf (>= 0.5) | debconf-2.0, libfirewall2 (= 1)

Package: libwall
Pre-Depends: libc9

Package: libfirewall2

Package: libc9

Package: debconf
Depends: perl-base

Package: unrelated
"""
LISTS = {
    "firewall": ["/.", "/sbin", "/sbin/firewall", "/usr/share/doc/firewall/copyright", "/gone"],
    "libwall:amd64": ["/usr/lib/libwall.so"],
    "libfirewall2": [],
    "libc9": ["/lib", "/lib/libc.so", "/usr/lib/libc.so.9"],
    "debconf": ["/usr/bin/debconf"],
    "unrelated": ["/usr/bin/unrelated"],
}
FILES = {
    "/usr/sbin/firewall": b"wall",
    "/usr/lib/libwall.so": b"lib",
    "/usr/lib/libc.so.9": b"c",
    "/usr/bin/debconf": b"",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A Debian as mmdebstrap writes it, whose /lib and /sbin are links."""
    files = {
        **FILES,
        "/var/lib/dpkg/status": STATUS.encode(),
        "/usr/share/doc/firewall/copyright": b"free",
        **{f"/var/lib/dpkg/info/{name}.list": "\n".join(paths).encode() for name, paths in LISTS.items()},
    }
    path = tmp_path / "debian.tar"
    with tarfile.open(path, "w") as tar:
        for name, target in {"./lib": "usr/lib", "./sbin": "usr/sbin", "./usr/lib/libc.so": "libc.so.9"}.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(f".{name}")
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_a_package_comes_with_all_that_it_needs_under_the_real_paths(archive: Path) -> None:
    with Debian(archive) as debian:
        found = list(debian.files_of(["firewall"]))

    assert found == [
        DebianFile(path="/usr/lib/libc.so", mode=0o777, target="libc.so.9"),
        DebianFile(path="/usr/lib/libc.so.9", mode=0o755, target=None),
        DebianFile(path="/usr/lib/libwall.so", mode=0o755, target=None),
        DebianFile(path="/usr/sbin/firewall", mode=0o755, target=None),
    ]


def test_a_file_is_read_through_links_of_its_directories(archive: Path) -> None:
    with Debian(archive) as debian:
        assert debian.read("/sbin/firewall") == b"wall"


def test_a_file_or_package_that_is_not_there_is_an_error_with_a_remedy(archive: Path) -> None:
    with Debian(archive) as debian:
        for ask in (lambda: debian.read("/usr/bin/absent"), lambda: list(debian.files_of(["absent"]))):
            with pytest.raises(LabError, match="absent") as caught:
                ask()
            assert caught.value.code == "node-image-file"
