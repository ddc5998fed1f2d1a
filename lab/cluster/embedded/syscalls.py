"""The few Linux system calls that the node needs and that Python 3.11 does not offer.

``os.unshare`` and ``os.setns`` came with Python 3.12, mounts never did; glibc has wrappers for all of them. Every
function raises `OSError` with the call's errno. Numbers are those of ``linux/sched.h``, ``linux/mount.h`` and
``linux/prctl.h``, the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000

MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long

# pivot_root(2) has no wrapper in glibc; its number differs by architecture (asm/unistd.h).
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def _check(result: int, what: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{os.strerror(errno)} ({what})")


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (``unshare(2)``)."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, nstype: int) -> None:
    """Join the namespace that a descriptor of ``/proc/PID/ns/*`` names (``setns(2)``)."""
    _check(_libc.setns(fd, nstype), f"setns {nstype:#x}")


def mount(source: str, target: str, *, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system, or change a mount (``mount(2)``)."""
    result = _libc.mount(source.encode(), target.encode(), fstype.encode() or None, flags, data.encode() or None)
    _check(result, f"mount {source or fstype} on {target}")


def bind(source: str, target: str, *, recursive: bool = True, read_only: bool = False) -> None:
    """Bind ``source`` over ``target``; read-only needs a second call, which must keep the locked flags of the source.

    In a user namespace the flags ``nosuid``, ``nodev``, ``noexec`` and the atime flags of a mount that came from
    outside are locked: a remount that would clear them is refused with EPERM (mount_namespaces(7)).
    """
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | _locked_flags(target))


def _locked_flags(path: str) -> int:
    flags = os.statvfs(path).f_flag
    pairs = (
        (os.ST_NOSUID, MS_NOSUID),
        (os.ST_NODEV, MS_NODEV),
        (os.ST_NOEXEC, MS_NOEXEC),
        (os.ST_NOATIME, MS_NOATIME),
        (os.ST_NODIRATIME, MS_NODIRATIME),
        (os.ST_RELATIME, MS_RELATIME),
    )
    return sum(mount_flag for stat_flag, mount_flag in pairs if flags & stat_flag)


def umount(target: str, *, flags: int = MNT_DETACH) -> None:
    """Detach a mount (``umount2(2)``)."""
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace and move the old one to ``put_old``."""
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    result = _libc.syscall(ctypes.c_long(number), ctypes.c_char_p(new_root.encode()), ctypes.c_char_p(put_old.encode()))
    _check(result, f"pivot_root {new_root}")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send this process a signal when the thread that forked it ends (``PR_SET_PDEATHSIG``)."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PR_SET_PDEATHSIG")
