"""What this machine lacks of what Docker and a kind node take for granted."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.runtime_wrapper import CAPABILITIES, permitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found out.

    Attributes:
        missing_capabilities: those that this kernel knows and root does not have here.
        cgroup_v1: whether the cgroup hierarchies are those of version 1.
        open_files: the hard limit of open files, which root may not raise without CAP_SYS_RESOURCE.
        processes: the hard limit of processes.
        core_size: the hard limit of a core file's size.
    """

    missing_capabilities: frozenset[str]
    cgroup_v1: bool
    open_files: int
    processes: int
    core_size: int

    @property
    def limits_are_fixed(self) -> bool:
        """Whether nobody may raise a limit or lower an OOM score here."""
        return "CAP_SYS_RESOURCE" in self.missing_capabilities


def look(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Find out what this machine lacks."""
    last = int((proc / "sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    known = frozenset(CAPABILITIES[: last + 1])
    return Machine(
        missing_capabilities=known - permitted((proc / "self/status").read_text(encoding="ascii")),
        cgroup_v1=not (cgroup / "cgroup.controllers").exists(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        processes=resource.getrlimit(resource.RLIMIT_NPROC)[1],
        core_size=resource.getrlimit(resource.RLIMIT_CORE)[1],
    )
