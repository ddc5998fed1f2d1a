"""What the bouncer writes: one line per event on stderr, and the record of reviews.

A line on stderr is for a person and for grep: ``time level event key=value ...``, every value JSON, so that nothing an
image is called can forge a line. The record (``--review-log``) is for programs: the lab takes it as evidence that the
bouncer was asked, and what it said.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FIELDS = "bouncer_fields"
_log = logging.getLogger(__name__)


def event(logger: logging.Logger, level: int, name: str, /, **fields: object) -> None:
    """Log one event.

    Args:
        logger: of the module where it happens.
        level: of the logging module.
        name: kebab-case, greppable.
        **fields: facts, as JSON values.
    """
    logger.log(level, name, extra={_FIELDS: fields})


def configure(*, debug: bool) -> None:
    """Send this process's log to stderr, one line per event."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(debug=debug))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)
    # asyncio's debug lines tell about selectors, not about reviews.
    logging.getLogger("asyncio").setLevel(logging.INFO)


class LineFormatter(logging.Formatter):
    """Formats a record as one line; a traceback only when debugging, and on the same line.

    Args:
        debug: show tracebacks.
    """

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; one that a library logged is an event named ``message``."""
        fields: dict[str, object]
        if hasattr(record, _FIELDS):
            name, fields = record.getMessage(), dict(getattr(record, _FIELDS))
        else:
            name, fields = "message", {"logger": record.name, "text": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
            if self._debug:
                fields["traceback"] = self.formatException(record.exc_info)
        shown = " ".join(f"{key}={json.dumps(value, default=str)}" for key, value in fields.items())
        return f"{timestamp(record.created)} {record.levelname.lower()} {name} {shown}".rstrip()


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ReviewLog:
    """The record of reviews: JSON lines, appended.

    Args:
        path: the file; None keeps no record.

    Raises:
        InputError: ``review-log-unwritable``.
    """

    def __init__(self, path: Path | None) -> None:
        try:
            # Unbuffered: a line is one write, complete for whoever reads it next.
            self._file = None if path is None else path.open("ab", buffering=0)
        except OSError as error:
            raise InputError(
                "review-log-unwritable",
                f"the review log cannot be written: {error}",
                hint="name a file in a directory that exists and that you may write",
            ) from error

    def append(self, entry: Mapping[str, object]) -> None:
        """Add one review; a full disk is logged and does not change a verdict."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            event(_log, logging.ERROR, "review-log-failed", reason=str(error))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
