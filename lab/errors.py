"""The one family of errors that the lab raises, and how they map to exit codes.

    LabError                    could not run: exit code 3
    +-- InputError              bad usage or bad input: exit code 2
    +-- WaitError               a wait ran out: says what for, how long, and what it last saw

Every error has a kebab-case code (stable, greppable), a message (what happened and why), a hint (what to do
about it) and a context (facts that help: paths, argv, output). Exceptions of libraries are translated where they
enter, with ``from``, so that nothing above that line needs to know the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_COULD_NOT_RUN = 3
EXIT_INTERRUPTED = 130


class LabError(Exception):
    """Something that the lab could not do, told so that a person can act on it.

    Args:
        code: kebab-case identifier, for example ``component-checksum``.
        message: one or two sentences: what happened and why.
        hint: what to do about it, in the imperative.
        context: further facts, shown below the message one per line.
    """

    exit_code = EXIT_COULD_NOT_RUN

    def __init__(self, code: str, message: str, *, hint: str, context: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.context: dict[str, str] = dict(context or {})

    def __str__(self) -> str:
        lines = [f"{self.message} [{self.code}]"]
        lines += [f"  {key}: {value}" for key, value in self.context.items()]
        lines.append(f"  what to do: {self.hint}")
        return "\n".join(lines)


class InputError(LabError):
    """The user's input (arguments, files) is wrong; the hint says how to mend it."""

    exit_code = EXIT_BAD_INPUT


class WaitError(LabError):
    """A wait ran out.

    Args:
        what: what was waited for, as a noun phrase.
        timeout_s: how long, in seconds.
        last_seen: the last thing observed before the time was up.
        hint: what to do about it.
    """

    def __init__(self, *, what: str, timeout_s: float, last_seen: str, hint: str) -> None:
        super().__init__(
            "wait-timeout",
            f"waited {timeout_s:g} s for {what}",
            hint=hint,
            context={"last seen": last_seen},
        )
