"""What a warm start does not wait for: libraries that are needed later, or by the first lab only."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = ("aiohttp", "cryptography", "dns", "kubernetes", "pydantic")


@pytest.mark.parametrize(
    ("module", "not_yet"),
    [
        ("lab.cluster.embedded.supervisor", LATER),  # loads them while etcd and the API server start
        ("lab.cluster.embedded.backend", (*LATER, "asyncio", "pyroute2")),  # launches the supervisor
    ],
)
def test_a_warm_start_does_not_wait_for_libraries_that_are_needed_later(module: str, not_yet: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([name for name in {not_yet!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
