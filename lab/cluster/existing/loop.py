"""The event loop of a lab's connections, for callers that know of none."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"{name}-gateway", daemon=True)
        self._thread.start()
        self._endings: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run something in it, and wait for that; what interrupts the wait ends it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def at_the_end(self, ending: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something run last of all, in the order opposite to that in which it was asked for."""
        self._endings.append(ending)

    def stop(self) -> None:
        """End it and its thread; once is enough."""
        if self._loop.is_closed():
            return
        while self._endings:
            self.run(self._endings.pop()())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
