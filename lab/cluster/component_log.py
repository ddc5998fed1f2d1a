"""What a control-plane program ended with, from its log in the format of a container runtime."""

from __future__ import annotations

import re

_LOG_LINE = re.compile(r"^\S+ (?:stdout|stderr) [FP] (?P<text>.*)$")
_COMMAND_FAILED = re.compile(r'"command failed" err=(?P<error>"(?:[^"\\]|\\.)*")')


def error_in(log: str) -> str:
    """The error that a control-plane program ended with; empty for an empty log.

    The programs print it in one of two ways: ``Error: ...`` for a bad flag, or klog's ``"command failed" err="..."``
    (k8s.io/component-base/cli/run.go). What ended otherwise is told by its last line.

    Args:
        log: the tail of the log (CRI format).
    """
    lines = _texts(log)
    return fatal_error_in(log) or (lines[-1] if lines else "")


def fatal_error_in(log: str) -> str:
    """The same, but empty for a program that did not say that it fails: somebody has ended it, or it still runs."""
    for line in reversed(_texts(log)):
        if match := _COMMAND_FAILED.search(line):
            return _unquote(match["error"])
        if line.startswith("Error: "):
            return line
    return ""


def _texts(log: str) -> list[str]:
    return [match["text"] for line in log.splitlines() if (match := _LOG_LINE.match(line))]


def _unquote(text: str) -> str:
    """Undo Go's quoting of a string (strconv.Quote), as far as error texts use it."""
    return text[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
