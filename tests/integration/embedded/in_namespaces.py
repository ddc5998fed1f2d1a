"""Runs one coroutine function of a test module inside new user, mount and network namespaces.

A program of its own and not a fork of pytest's process, because that one has threads, and only a process with a single
thread may enter a user namespace. Usage: ``python in_namespaces.py TEST_FILE FUNCTION``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from pathlib import Path

from lab.cluster.embedded import syscalls


def enter() -> None:
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def main(file: str, function: str) -> None:
    logging.basicConfig(level=logging.ERROR)  # asyncio tells of lost exceptions so; the caller wants stderr empty
    enter()
    spec = importlib.util.spec_from_file_location("inside", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asyncio.run(asyncio.wait_for(getattr(module, function)(), timeout=60))
    assert len(os.listdir("/proc/self/task")) == 1, "a thread was started"  # noqa: PTH208 - no Path is needed


if __name__ == "__main__":
    main(*sys.argv[1:])
