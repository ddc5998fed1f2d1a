#!/usr/bin/env -S python3 -I -S
"""Calls runc with fewer capabilities: those that this process may not have are taken out of what Docker asks for.

``docker run --privileged`` asks for every capability, and runc fails when the machine lacks one. Docker has no option
against it, but it can be given another runtime: this program. It stands alone, because Docker runs it, with any Python.

Docker asks in two places: the bundle's ``config.json`` (create, run) and the file of ``--process`` (exec).
"""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

RUNC = "runc"
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
    "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
"""By their numbers, as in linux/capability.h."""


def permitted(status: str) -> frozenset[str]:
    """The capabilities that a process and its children may ever have, from its ``/proc/PID/status``."""
    (line,) = [line for line in status.splitlines() if line.startswith("CapBnd:")]
    bits = int(line.split()[1], 16)
    return frozenset(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)


def reduce(process: dict[str, Any], allowed: frozenset[str]) -> None:
    """Take what is not allowed out of an OCI process."""
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names or [] if name in allowed]


def rewrite(arguments: list[str], allowed: frozenset[str]) -> None:
    """Change the file in which a runc command line says what a process may."""
    if {"create", "run"}.intersection(arguments):
        file = Path(_value(arguments, "--bundle", "-b") or ".") / "config.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        reduce(document["process"], allowed)
    elif "exec" in arguments and (path := _value(arguments, "--process", "-p")):
        file = Path(path)
        document = json.loads(file.read_text(encoding="utf-8"))
        reduce(document, allowed)
    else:
        return
    file.write_text(json.dumps(document), encoding="utf-8")


def _value(arguments: list[str], *names: str) -> str | None:
    return next((value for name, value in pairwise(arguments) if name in names), None)


def main() -> None:
    """Rewrite, then go on as runc."""
    arguments = sys.argv[1:]
    rewrite(arguments, permitted(Path("/proc/self/status").read_text(encoding="ascii")))
    os.execvp(RUNC, [RUNC, *arguments])


if __name__ == "__main__":
    main()
