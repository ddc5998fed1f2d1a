"""The lab's namespaces, made once by the supervisor.

No root is needed: a user namespace in which the caller is uid 0 gives the rights for all the others. Some systems
forbid that; `forbidden` says which setting does, and what to do.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lab.cluster.embedded import syscalls as sc
from lab.errors import LabError

NODE_NAMESPACES = sc.CLONE_NEWUSER | sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC

# Each setting that can forbid user namespaces: file, the value that forbids, what to run.
_SETTINGS = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
)


def create() -> None:
    """Move this process into new namespaces, as uid 0 of the user namespace; its next child is PID 1 of a new one.

    Raises:
        LabError: ``namespaces-forbidden``, naming the setting that forbids it and the command that allows it.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        sc.unshare(NODE_NAMESPACES | sc.CLONE_NEWPID)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
        sc.mount("", "/", flags=sc.MS_REC | sc.MS_PRIVATE)
    except OSError as error:
        raise forbidden(error) from error


def forbidden(error: OSError, *, settings: tuple[tuple[str, str, str], ...] = _SETTINGS) -> LabError:
    """Say why the kernel refused namespaces.

    Args:
        error: what the kernel answered.
        settings: (file, value that forbids, remedy) to look at.
    """
    for path, value, remedy in settings:
        if _read(path) == value:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return LabError(
                "namespaces-forbidden",
                f"this system does not let an ordinary user make user namespaces: {name} is {value}",
                hint=f"run: {remedy} (until the next boot), or use the kind backend",
                context={"kernel": str(error)},
            )
    reason = "the limit of user namespaces is reached" if error.errno in {errno.ENOSPC, errno.EUSERS} else "it says no"
    return LabError(
        "namespaces-forbidden",
        f"the kernel did not make the lab's namespaces: {reason} ({error})",
        hint="inside a container, allow user namespaces and mounts (seccomp, AppArmor), or use the kind backend",
        context={"kernel": str(error)},
    )


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
