from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.pod_logs import (
    LINE_BYTES,
    LogOptions,
    LogWriter,
    container_log_path,
    follow_log,
    link_container_log,
    read_log,
)
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

T0 = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = b"2026-01-01T00:00:00.000000000Z"


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


def read(path: Path, **options: object) -> bytes:
    return b"".join(read_log(path, LogOptions(**options)))  # type: ignore[arg-type]


def in_loop(path: Path, write: object, **options: object) -> None:
    """Run ``write(writer)`` with a writer of ``path`` and close it."""

    async def run() -> None:
        writer = LogWriter(path, now=lambda: T0, **options)  # type: ignore[arg-type]
        write(writer)  # type: ignore[operator]
        writer.close()

    asyncio.run(run())


def test_lines_are_written_in_the_cri_format(tmp_path: Path) -> None:
    path = tmp_path / "c" / "0.log"
    in_loop(
        path, lambda w: (w.write("stdout", b"one\n\ntw"), w.write("stderr", b"bad\n"), w.write("stdout", b"o\nend"))
    )
    assert path.read_bytes() == b"".join(
        STAMP + b" " + text + b"\n"
        for text in (b"stdout F one", b"stdout F ", b"stderr F bad", b"stdout F two", b"stdout F end")
    )


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_long_line_is_written_in_pieces_and_read_as_one(tmp_path: Path, pieces: int) -> None:
    path, line = tmp_path / "0.log", b"x" * (2 * LINE_BYTES + 5)
    step = len(line) // pieces + 1

    def write(writer: LogWriter) -> None:
        for start in range(0, len(line), step):
            writer.write("stdout", line[start : start + step])
        writer.write("stdout", b"\n")

    in_loop(path, write)
    tags = [entry.split(b" ")[2] for entry in path.read_bytes().splitlines()]
    assert tags == [b"P", b"P", b"F"]
    assert read(path) == line + b"\n"
    assert read(path, timestamps=True) == STAMP + b" " + line + b"\n"


def test_pipes_are_read_to_their_end_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "0.log"

    async def run() -> None:
        writer = LogWriter(path, now=lambda: T0)
        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        writer.attach(out_read, "stdout")
        writer.attach(err_read, "stderr")
        os.write(out_write, b"hello\nunfinished")
        os.close(out_write)
        os.write(err_write, b"oops\n")
        os.close(err_write)
        async with asyncio.timeout(30):
            await writer.wait_drained()
        for descriptor in (out_read, err_read):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
        writer.close()
        writer.close()

    asyncio.run(run())
    assert sorted(read(path).splitlines()) == [b"hello", b"oops", b"unfinished"]


def test_closing_keeps_what_is_still_in_a_pipe_that_a_grandchild_holds_open(tmp_path: Path) -> None:
    path = tmp_path / "0.log"

    async def run() -> None:
        writer = LogWriter(path, now=lambda: T0)
        out_read, out_write = os.pipe()
        writer.attach(out_read, "stdout")
        os.write(out_write, b"last words\n")
        writer.close()
        os.close(out_write)

    asyncio.run(run())
    assert read(path) == b"last words\n"


def test_files_are_rotated_by_size_and_the_oldest_go(tmp_path: Path) -> None:
    path, clock = tmp_path / "0.log", Clock()

    async def run() -> None:
        writer = LogWriter(path, max_bytes=100, max_files=3, now=clock)
        for number in range(20):
            clock.now += timedelta(seconds=1)
            writer.write("stdout", b"line %d\n" % number)
        writer.close()

    asyncio.run(run())
    files = sorted(one.name for one in tmp_path.iterdir())
    assert len(files) == 3
    assert files[0] == "0.log"
    assert all(one.startswith("0.log.2026") for one in files[1:])
    kept = b"".join((tmp_path / one).read_bytes() for one in [*files[1:], files[0]])
    numbers = [int(line.rsplit(b" ", 1)[1]) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 20))


def lines(path: Path, count: int) -> None:
    entries = (f"{(T0 + timedelta(seconds=n)).isoformat()[:19]}.000000000Z stdout F line {n}\n" for n in range(count))
    path.write_text("".join(entries))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b"line 0\nline 1\nline 2\n"),
        ({"tail_lines": 1}, b"line 2\n"),
        ({"tail_lines": 0}, b""),
        ({"tail_lines": 9}, b"line 0\nline 1\nline 2\n"),
        ({"limit_bytes": 9}, b"line 0\nli"),
        ({"limit_bytes": 0}, b""),
        ({"since": T0 + timedelta(seconds=1)}, b"line 1\nline 2\n"),
        ({"tail_lines": 1, "timestamps": True}, b"2026-01-01T00:00:02.000000000Z line 2\n"),
        ({"stream": "Stderr"}, b""),
        ({"stream": "Stdout", "tail_lines": 1}, b"line 2\n"),
    ],
)
def test_options_of_the_log_endpoint(tmp_path: Path, options: dict[str, object], expected: bytes) -> None:
    path = tmp_path / "0.log"
    lines(path, 3)
    assert read(path, **options) == expected


def test_following_sees_what_is_appended_across_a_rotation_until_the_run_ends(tmp_path: Path) -> None:
    path, clock = tmp_path / "0.log", Clock()
    over = asyncio.Event()

    async def run() -> bytes:
        writer = LogWriter(path, max_bytes=100, now=clock)
        writer.write("stdout", b"first\n")
        shown, options = b"", LogOptions(follow=True, tail_lines=1)
        async with asyncio.timeout(30):
            async for piece in follow_log(path, options, ended=over.is_set):
                shown += piece
                if shown.endswith(b"first\n"):
                    clock.now += timedelta(seconds=1)
                    writer.write("stdout", b"x" * 100 + b"\n")  # rotates after this line
                elif shown.endswith(b"x\n"):
                    writer.write("stderr", b"after\n")
                    over.set()
        writer.close()
        return shown

    assert asyncio.run(run()) == b"first\n" + b"x" * 100 + b"\nafter\n"


def test_following_ends_at_the_byte_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    lines(path, 3)

    async def run() -> bytes:
        options = LogOptions(follow=True, limit_bytes=8)
        async with asyncio.timeout(30):
            return b"".join([piece async for piece in follow_log(path, options, ended=lambda: False)])

    assert asyncio.run(run()) == b"line 0\nl"


def test_options_are_decoded_from_a_query() -> None:
    query = {"follow": "true", "tailLines": "5", "limitBytes": "7", "timestamps": "true", "sinceSeconds": "60"}
    assert LogOptions.from_query(query, now=T0) == LogOptions(
        follow=True, tail_lines=5, limit_bytes=7, timestamps=True, since=T0 - timedelta(minutes=1)
    )
    assert LogOptions.from_query({"sinceTime": "2026-01-01T01:00:00+01:00"}, now=T0).since == T0
    assert LogOptions.from_query({"previous": "true", "pretty": "x"}, now=T0) == LogOptions(previous=True)


@pytest.mark.parametrize("query", [{"tailLines": "-1"}, {"tailLines": "x"}, {"sinceTime": "yesterday"}])
def test_options_of_the_wrong_form_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(InputError, match="log options"):
        LogOptions.from_query(query, now=T0)


def test_paths_and_links_are_those_of_a_node(tmp_path: Path) -> None:
    path = container_log_path(tmp_path / "pods", namespace="ns", pod="p", uid="u", container="c", restart=2)
    assert path == tmp_path / "pods" / "ns_p_u" / "c" / "2.log"
    for _ in range(2):
        link = link_container_log(
            tmp_path / "containers", path, namespace="ns", pod="p", container="c", container_id="lab://ab"
        )
    assert link == tmp_path / "containers" / "p_ns_c-ab.log"
    assert link.readlink() == path
