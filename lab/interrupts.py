"""What ends a program from outside, as one kind of interrupt; and how it is kept back while something is cleaned up."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP. It takes the way of Ctrl-C, so that whatever cleans up after that cleans up after this."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


@contextlib.contextmanager
def raised_for_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise `Terminated`, unless whoever started us set them otherwise (nohup).

    Only the main thread may set a signal's handler; in another one nothing changes.
    """

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        raise Terminated(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep back whatever would interrupt the block; it arrives when the block has ended.

    Programs that the block starts inherit it, so it is for what ends by itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
