"""Container logs as a node keeps them: written from the containers' pipes, read with the options of ``kubectl logs``.

Files lie at ``/var/log/pods/<namespace>_<name>_<uid>/<container>/<restart>.log`` in the CRI format, one line per
``<time> <stream> <F|P> <text>``; ``P`` marks a piece of a line longer than 16 KiB (containerd's
``max_container_log_line_size``). At 10 MiB a file is rotated and five are kept (``containerLogMaxSize``,
``containerLogMaxFiles`` of the kubelet; unlike there, rotated files are not compressed). As with a kubelet, reading
looks at the current file only.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

LINE_BYTES = 16 * 1024
"""A longer line is written in pieces."""
FILE_BYTES = 10 * 1024 * 1024
"""A file that has grown beyond this is rotated."""
FILES_KEPT = 5
"""Files of one container run, the current one included."""

_READ_BYTES = 64 * 1024
_FOLLOW_PERIOD_S = 0.1
_TRUE_WORDS = frozenset({"true", "1", "t", "T", "TRUE", "True"})


# --- where logs lie ------------------------------------------------------------------------------------------------


def container_log_path(root: Path, *, namespace: str, pod: str, uid: str, container: str, restart: int) -> Path:
    """The log file of one run of a container, below the node's ``/var/log/pods``."""
    return root / f"{namespace}_{pod}_{uid}" / container / f"{restart}.log"


def link_container_log(
    directory: Path, log_path: Path, *, namespace: str, pod: str, container: str, container_id: str
) -> Path:
    """Make the link in the node's ``/var/log/containers`` that points at a log file, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    plain_id = container_id.rpartition("//")[2]
    link = directory / f"{pod}_{namespace}_{container}-{plain_id}.log"
    link.unlink(missing_ok=True)
    link.symlink_to(log_path)
    return link


# --- writing -------------------------------------------------------------------------------------------------------


class LogWriter:
    """Writes one run's log, fed from the pipes of its stdout and stderr in the event loop.

    Args:
        path: the log file; its directory is made.
        max_bytes: size at which it is rotated.
        max_files: files to keep, the current one included.
        now: the time of a line (UTC).
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = FILE_BYTES,
        max_files: int = FILES_KEPT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._now = now
        self._pending: dict[str, bytes] = {}
        self._pipes: dict[int, str] = {}
        self._drained = asyncio.Event()
        self._drained.set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab")

    def attach(self, descriptor: int, stream: str) -> None:
        """Read a pipe until its end and own it: it is closed then, or by `close`.

        Args:
            descriptor: the reading end.
            stream: ``stdout`` or ``stderr``.
        """
        os.set_blocking(descriptor, False)
        self._pipes[descriptor] = stream
        self._drained.clear()
        asyncio.get_running_loop().add_reader(descriptor, self._readable, descriptor)

    def write(self, stream: str, data: bytes) -> None:
        """Take what a stream has printed; a line is written when it is complete, or too long."""
        text = self._pending.pop(stream, b"") + data
        *lines, rest = text.split(b"\n")
        for line in lines:
            self._write_line(stream, line)
        while len(rest) > LINE_BYTES:
            self._write_entry(stream, b"P", rest[:LINE_BYTES])
            rest = rest[LINE_BYTES:]
        if rest:
            self._pending[stream] = rest
        self._file.flush()
        self._rotate_if_large()

    async def wait_drained(self) -> None:
        """Wait until every attached pipe has ended, so that the log holds all that the process printed."""
        await self._drained.wait()

    def close(self) -> None:
        """Write unfinished lines, let go of the pipes, close the file. Closing twice is no error."""
        if self._file.closed:
            return
        for descriptor in list(self._pipes):
            self._readable(descriptor)  # what already is in the pipe belongs into the log
        for descriptor in list(self._pipes):
            self._end_of(descriptor)
        for stream in list(self._pending):
            self._flush(stream)
        self._file.close()

    def _readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self.write(self._pipes[descriptor], data)
        else:
            self._end_of(descriptor)

    def _end_of(self, descriptor: int) -> None:
        stream = self._pipes.pop(descriptor)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        if stream not in self._pipes.values():
            self._flush(stream)
        if not self._pipes:
            self._drained.set()

    def _flush(self, stream: str) -> None:
        """Write a last line that has no newline as a full one, as containerd does."""
        if rest := self._pending.pop(stream, b""):
            self._write_line(stream, rest)
            self._file.flush()

    def _write_line(self, stream: str, line: bytes) -> None:
        while len(line) > LINE_BYTES:
            self._write_entry(stream, b"P", line[:LINE_BYTES])
            line = line[LINE_BYTES:]
        self._write_entry(stream, b"F", line)

    def _write_entry(self, stream: str, tag: bytes, text: bytes) -> None:
        self._file.write(b"%s %s %s %s\n" % (_stamp(self._now()).encode(), stream.encode(), tag, text))

    def _rotate_if_large(self) -> None:
        if self._file.tell() < self._max_bytes:
            return
        self._file.close()
        self._path.rename(self._path.with_name(f"{self._path.name}.{self._now():%Y%m%d-%H%M%S-%f}"))
        rotated = sorted(self._path.parent.glob(f"{self._path.name}.*"))
        for old in rotated[: max(0, len(rotated) - (self._max_files - 1))]:
            old.unlink()
        self._file = self._path.open("ab")


def _stamp(moment: datetime) -> str:
    """RFC 3339 with nine digits, of which Python knows six."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"


# --- reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """The options of the API's log endpoint (v1.PodLogOptions).

    Attributes:
        follow: go on as the log grows.
        previous: the run before.
        timestamps: put each line's time before it.
        tail_lines: only so many lines from the end.
        limit_bytes: end after so many bytes.
        since: only lines of this time (UTC) or later.
        stream: ``All``, ``Stdout`` or ``Stderr``.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None
    stream: str = "All"

    @classmethod
    def from_query(cls, query: Mapping[str, str], *, now: datetime) -> LogOptions:
        """Decode the options of a request's query; unknown keys are ignored, as a kubelet does.

        Raises:
            InputError: ``log-options``: a value has the wrong form.
        """
        try:
            since_seconds, since_time = query.get("sinceSeconds"), query.get("sinceTime")
            since = datetime.fromisoformat(since_time).astimezone(UTC) if since_time else None
            if since_seconds:
                since = now - timedelta(seconds=int(since_seconds))
            return cls(
                follow=query.get("follow") in _TRUE_WORDS,
                previous=query.get("previous") in _TRUE_WORDS,
                timestamps=query.get("timestamps") in _TRUE_WORDS,
                tail_lines=_natural(query.get("tailLines")),
                limit_bytes=_natural(query.get("limitBytes")),
                since=since,
                stream=query.get("stream") or "All",
            )
        except (ValueError, OverflowError) as error:
            raise InputError(
                "log-options",
                f"the log options cannot be read: {error}",
                hint="give numbers that are not negative and a time such as 2026-01-01T00:00:00Z",
            ) from error


def _natural(text: str | None) -> int | None:
    if not text:
        return None
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


def read_log(path: Path, options: LogOptions) -> Iterator[bytes]:
    """The log as it is now, in pieces; what is there and no more (``follow`` is not looked at)."""
    selection = _Selection(options)
    yield from selection.pieces(_tail(path.read_bytes(), options.tail_lines))


async def follow_log(path: Path, options: LogOptions, *, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log as it is now and as it grows, across rotations.

    Args:
        path: the log file.
        options: what to show.
        ended: tells that the run is over, so that the log has an end.
    """
    selection, rest = _Selection(options), b""
    file = path.open("rb")
    try:
        data = _tail(file.read(), options.tail_lines)
        while True:
            *lines, rest = (rest + data).split(b"\n")
            for piece in selection.pieces(b"".join(line + b"\n" for line in lines)):
                yield piece
            if selection.full:
                return
            over = ended()  # asked before the last read, so that nothing printed before the end is missed
            data = file.read()
            if not data and _rotated(path, file):
                file.close()
                file = path.open("rb")
                data = file.read()
            if data:
                continue
            if over:
                return
            await asyncio.sleep(_FOLLOW_PERIOD_S)
    finally:
        file.close()


def _rotated(path: Path, file: BinaryIO) -> bool:
    return path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino


def _tail(content: bytes, lines: int | None) -> bytes:
    if lines is None:
        return content
    complete = content.split(b"\n")
    unfinished = complete.pop()
    kept = complete[-lines:] if lines else []
    return b"".join(line + b"\n" for line in kept) + unfinished


class _Selection:
    """Turns CRI lines into what is shown, and remembers how much may still be shown."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._line_begins = True

    @property
    def full(self) -> bool:
        """Whether ``limit_bytes`` has been reached."""
        return self._left is not None and self._left <= 0

    def pieces(self, content: bytes) -> Iterator[bytes]:
        for entry in content.split(b"\n"):
            if self.full:
                return
            if entry and (shown := self._shown(entry)):
                if self._left is not None:
                    shown = shown[: self._left]
                    self._left -= len(shown)
                yield shown

    def _shown(self, entry: bytes) -> bytes:
        stamp, _, rest = entry.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        options = self._options
        if options.stream != "All" and options.stream.lower() != stream.decode():
            return b""
        if options.since is not None and _moment(stamp) < options.since:
            return b""
        begins, self._line_begins = self._line_begins, tag != b"P"
        prefix = stamp + b" " if options.timestamps and begins else b""
        return prefix + text + (b"" if tag == b"P" else b"\n")


def _moment(stamp: bytes) -> datetime:
    return datetime.fromisoformat(stamp.decode())
