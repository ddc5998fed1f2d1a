from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from lab.components.progress import Ticker
from lab.components.store import Key, State, Store, file_sha256

if TYPE_CHECKING:
    from pathlib import Path

KEY = Key(name="tool", version="1.0.0", platform="linux-amd64")
RECIPE = "r1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, content: bytes = b"program", *, recipe: str = RECIPE) -> Path:
    with store.staging(KEY) as work:
        staged = work / "staged"
        staged.mkdir()
        (staged / "tool").write_bytes(content)
        return store.put(KEY, staged, main="tool", source={"kind": "build", "recipe": recipe})


def state(store: Store, *, thorough: bool = False) -> State:
    return store.look(KEY, recipe=RECIPE, thorough=thorough).state


def overwrite_keeping_size_and_time(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"X" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_asking_makes_nothing(store: Store, tmp_path: Path) -> None:
    assert state(store) is State.MISSING
    assert list(tmp_path.iterdir()) == []


def test_an_entry_is_ready_with_its_sha256_size_and_source(store: Store) -> None:
    path = put(store)
    entry = store.look(KEY, recipe=RECIPE)

    assert (entry.state, entry.file, entry.size) == (State.READY, path, len(b"program"))
    assert entry.sha256 == file_sha256(path)
    assert entry.source == {"kind": "build", "recipe": RECIPE}


@pytest.mark.parametrize("content", [b"", b"progra", b"Program", b"program and more"])
def test_a_changed_file_is_damaged(store: Store, content: bytes) -> None:
    path = put(store)
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))

    entry = store.look(KEY, recipe=RECIPE)

    assert entry.state is State.DAMAGED
    assert file_sha256(path) in entry.problem


def test_a_removed_file_is_damaged(store: Store) -> None:
    put(store).unlink()

    assert state(store) is State.DAMAGED


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", '{"format": 1, "main": "tool", "files": {}}'])
def test_an_unreadable_record_is_damaged(store: Store, record: str) -> None:
    (put(store).parent / "manifest.json").write_text(record, encoding="utf-8")

    assert state(store) is State.DAMAGED


def test_damage_behind_the_file_systems_back_is_seen_by_a_thorough_look_only(store: Store) -> None:
    overwrite_keeping_size_and_time(put(store))

    assert state(store) is State.READY
    assert state(store, thorough=True) is State.DAMAGED


def test_an_equal_file_with_another_time_is_ready_and_its_record_is_renewed(store: Store) -> None:
    path = put(store)
    os.utime(path, ns=(1, 1))

    assert state(store) is State.READY
    overwrite_keeping_size_and_time(path)
    # Ready without hashing: the record now has the new time.
    assert state(store) is State.READY


def test_another_recipe_is_outdated(store: Store) -> None:
    put(store, recipe="r0")

    assert state(store) is State.OUTDATED


def test_a_record_of_another_format_is_outdated(store: Store) -> None:
    record = put(store).parent / "manifest.json"
    record.write_text(json.dumps({**json.loads(record.read_text(encoding="utf-8")), "format": 99}), encoding="utf-8")

    assert state(store) is State.OUTDATED


def test_putting_again_replaces_and_leaves_no_work_behind(store: Store, tmp_path: Path) -> None:
    put(store)
    path = put(store, b"second")

    assert path.read_bytes() == b"second"
    assert state(store, thorough=True) is State.READY
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_a_failure_while_staging_leaves_no_entry_and_no_work_behind(store: Store, tmp_path: Path) -> None:
    def interrupted() -> None:
        with store.staging(KEY) as work:
            (work / "half").write_bytes(b"half a program")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert state(store) is State.MISSING
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(store: Store, tmp_path: Path) -> None:
    mine, other = (tmp_path / "store" / "tmp" / f"{name}.x1" for name in (str(KEY), "toolbox-1.0.0-linux-amd64"))
    for stale in (mine, other):
        stale.mkdir(parents=True)
        (stale / "half").write_bytes(b"half")

    put(store)

    assert not mine.exists()
    assert other.exists()


def test_a_lock_is_held_by_one_and_the_other_hears_for_whom_it_waits(store: Store) -> None:
    heard: list[str] = []
    waiting, got = threading.Event(), threading.Event()

    def hear(line: str) -> None:
        heard.append(line)
        waiting.set()

    def second() -> None:
        with store.lock(KEY, Ticker(hear, "tool")):
            got.set()

    with store.lock(KEY, Ticker(None, "tool")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        assert not got.is_set()
    thread.join(30)

    assert got.is_set()
    assert heard == [f"tool: waiting for process {os.getpid()}, which is obtaining tool-1.0.0-linux-amd64"]
