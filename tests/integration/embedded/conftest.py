"""Lets a test of the embedded backend have a network of its own; the host's is never touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PROGRAM = Path(__file__).with_name("in_namespaces.py")


@pytest.fixture(scope="session")
def in_namespaces() -> Callable[[Callable[[], Coroutine[None, None, None]]], None]:
    """Runs a coroutine function of a test module inside new namespaces; fails with its traceback."""

    def run(function: Callable[[], Coroutine[None, None, None]]) -> None:
        ended = subprocess.run(
            [sys.executable, "-W", "error", str(PROGRAM), function.__code__.co_filename, function.__name__],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if ended.returncode != 0 or ended.stderr:
            pytest.fail(
                f"{function.__name__} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}", pytrace=False
            )

    return run
