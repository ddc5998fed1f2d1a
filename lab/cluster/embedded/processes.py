"""The processes of a lab as seen from outside: which they are, how much memory they take, whether they still run."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since the machine's start: with the pid it names a process for good.

    Raises:
        OSError: there is no such process.
    """
    stat = (_PROC / str(pid) / "stat").read_text()
    # proc(5): field 22, counted after the command, which stands in brackets and may hold blanks.
    return int(stat.rpartition(")")[2].split()[19])


def is_running(pid: int, *, started: int) -> bool:
    """Whether a process is that one and not ended (a zombie has ended)."""
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and start_time(pid) == started
    except OSError:
        return False


def in_namespace_of(pid: int) -> dict[int, int]:
    """Every process of the PID namespace of a process: its pid inside to its pid here."""
    try:
        namespace = (_PROC / str(pid) / "ns/pid").readlink()
    except OSError:
        return {}
    found: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "ns/pid").readlink() == namespace:
                found[_inner_pid(entry)] = int(entry.name)
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def pss_bytes(pid: int) -> int | None:
    """Proportional set size of a process, from ``smaps_rollup``; None when it cannot be read."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _inner_pid(entry: Path) -> int:
    lines = (entry / "status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))
