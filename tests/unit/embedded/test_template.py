from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lab.cluster.embedded.template import MAX_AGE_S, TemplateFamily, family_directory

if TYPE_CHECKING:
    from pathlib import Path


def family(tmp_path: Path) -> TemplateFamily:
    return TemplateFamily(directory=tmp_path / "family", parts=("etc", "etcd", "hosts"))


def lab(tmp_path: Path) -> Path:
    root = tmp_path / "lab"
    (root / "etc/pki").mkdir(parents=True)
    (root / "etc/pki/ca.key").write_text("key")
    (root / "etc/pki/ca.key").chmod(0o600)
    (root / "etc/link").symlink_to("pki")
    (root / "etcd").mkdir(mode=0o700)
    (root / "hosts").write_text("127.0.0.1 localhost\n")
    return root


def test_a_state_is_put_back_as_it_was(tmp_path: Path) -> None:
    root, kept = lab(tmp_path), family(tmp_path)
    kept.save("off", root)
    (root / "etc/pki/ca.key").write_text("broken")
    (root / "etc/extra").mkdir()
    (root / "etc/extra/file").touch()
    (root / "hosts").unlink()
    (root / "unrelated").write_text("stays")
    kept.restore("off", root)
    assert (root / "etc/pki/ca.key").read_text() == "key"
    assert (root / "etc/pki/ca.key").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/link").readlink().name == "pki"
    assert not (root / "etc/extra").exists()
    assert (root / "hosts").read_text() == "127.0.0.1 localhost\n"
    assert (root / "etcd").stat().st_mode & 0o777 == 0o700
    assert (root / "unrelated").read_text() == "stays"


def test_a_directory_that_both_have_stays_the_same_directory(tmp_path: Path) -> None:
    """The node has mounted it: a new one in its place would not be seen."""
    root, kept = lab(tmp_path), family(tmp_path)
    kept.save("off", root)
    before = (root / "etc/pki").stat().st_ino
    kept.restore("off", root)
    assert (root / "etc/pki").stat().st_ino == before


def test_what_changed_its_kind_is_replaced(tmp_path: Path) -> None:
    root, kept = lab(tmp_path), family(tmp_path)
    kept.save("off", root)
    (root / "hosts").unlink()
    (root / "hosts").mkdir()
    (root / "etc/link").unlink()
    (root / "etc/link").write_text("no link")
    kept.restore("off", root)
    assert (root / "hosts").is_file()
    assert (root / "etc/link").is_symlink()


def test_holes_are_not_copied(tmp_path: Path) -> None:
    root, kept = lab(tmp_path), family(tmp_path)
    log = root / "etcd/0.wal"
    with log.open("wb") as stream:
        stream.write(b"begin")
        stream.seek(32 * 1024 * 1024)
        stream.write(b"middle")
        stream.truncate(64 * 1024 * 1024)
    kept.save("off", root)
    copy = kept.path("off") / "etcd/0.wal"
    assert copy.read_bytes() == log.read_bytes()
    assert copy.stat().st_blocks * 512 < 1024 * 1024


def test_an_old_template_is_not_found(tmp_path: Path) -> None:
    root, kept = lab(tmp_path), family(tmp_path)
    assert kept.find("off") is None
    kept.save("off", root)
    assert kept.find("off") == kept.path("off")
    long_ago = kept.path("off").stat().st_mtime - MAX_AGE_S - 1
    os.utime(kept.path("off"), (long_ago, long_ago))
    assert kept.find("off") is None


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    root, kept = lab(tmp_path), family(tmp_path)
    kept.save("off", root)
    (root / "hosts").write_text("other\n")
    kept.save("off", root)
    assert (kept.path("off") / "hosts").read_text() == "other\n"
    assert [entry.name for entry in kept.directory.iterdir()] == ["off"]


def test_a_family_depends_on_definition_and_programs(tmp_path: Path) -> None:
    one = family_directory(tmp_path, definition="a", programs="b")
    assert one == family_directory(tmp_path, definition="a", programs="b")
    assert one != family_directory(tmp_path, definition="c", programs="b")
    assert one != family_directory(tmp_path, definition="a", programs="c")
