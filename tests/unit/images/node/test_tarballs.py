from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.images.node.tarballs import Layer, stream, write

if TYPE_CHECKING:
    from pathlib import Path


def test_a_layer_has_parents_before_children_each_once(tmp_path: Path) -> None:
    with Layer(tmp_path / "layer.tar") as layer:
        layer.file("/usr/bin/program", b"x", mode=0o755)
        layer.file("/usr/bin/other", b"yy")
        layer.link("/usr/sbin/init", "/usr/bin/program")

    with tarfile.open(tmp_path / "layer.tar") as tar:
        members = [(member.name, member.type, oct(member.mode), member.size) for member in tar]
    assert members == [
        ("usr", tarfile.DIRTYPE, "0o755", 0),
        ("usr/bin", tarfile.DIRTYPE, "0o755", 0),
        ("usr/bin/program", tarfile.REGTYPE, "0o755", 1),
        ("usr/bin/other", tarfile.REGTYPE, "0o644", 2),
        ("usr/sbin", tarfile.DIRTYPE, "0o755", 0),
        ("usr/sbin/init", tarfile.SYMTYPE, "0o777", 0),
    ]


def test_nothing_of_the_machine_is_in_a_layer(tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_bytes(b"content")
    for name in ("one.tar", "two.tar"):
        with Layer(tmp_path / name) as layer, source.open("rb") as file:
            layer.file("/from-path", source)
            layer.file("/from-file", file)
        source.touch()

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert {(member.uid, member.gid, member.uname, member.mtime) for member in tar} == {(0, 0, "", 0)}
        file_in_tar = tar.extractfile("from-file")
        assert file_in_tar is not None
        assert file_in_tar.read() == b"content"


def test_below_a_link_no_directory_is_made(tmp_path: Path) -> None:
    with Layer(tmp_path / "layer.tar") as layer:
        layer.link("/lib", "usr/lib")
        layer.file("/lib/x", b"")

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames() == ["lib", "lib/x"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_a_stream_is_an_archive_whatever_the_sizes(tmp_path: Path, size: int) -> None:
    (tmp_path / "big").write_bytes(b"b" * size)

    archive = b"".join(stream([("text", b"t" * size), ("dir/big", tmp_path / "big")]))

    assert len(archive) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {member.name: member.size for member in tar} == {"text": size, "dir/big": size}


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    def pieces() -> list[bytes]:
        return [b"a", b"b"]

    write(tmp_path / "node.tar", pieces())
    assert (tmp_path / "node.tar").read_bytes() == b"ab"

    with pytest.raises(LabError) as caught:
        write(tmp_path / "absent" / "node.tar", pieces())
    assert caught.value.code == "node-image-disk"
    assert [path.name for path in tmp_path.iterdir()] == ["node.tar"]
