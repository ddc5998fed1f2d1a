"""What holds for every test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UPDATE_GOLDEN = "LAB_UPDATE_GOLDEN"


def pytest_configure() -> None:
    """Let Ctrl-C count: a shell starts what it puts in the background with SIGINT ignored, and tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Callable[[Path, str], None]:
    """Compare a text with a golden file, which ``LAB_UPDATE_GOLDEN=1`` has written anew first."""

    def compare(file: Path, text: str) -> None:
        if os.environ.get(UPDATE_GOLDEN) == "1":
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), (
            f"run with {UPDATE_GOLDEN}=1 if {file.name} was meant to change"
        )

    return compare
