"""The machine that a figure comes from: without it, a figure tells nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace

BUSY_PER_CORE = 0.5
"""From this load per core on, others had a noticeable part of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, and how busy it was.

    Attributes:
        system: name of the distribution.
        kernel: release of the kernel.
        cores: CPUs that this process may use.
        memory_bytes: memory of the machine.
        load_before: processes that ran or waited to run in the minute before (load average).
        load_after: the same at the end, the benchmark's own included.
    """

    system: str
    kernel: str
    cores: int
    memory_bytes: int
    load_before: float
    load_after: float

    @property
    def was_busy(self) -> bool:
        """Whether others used the machine when the run began."""
        return self.load_before > BUSY_PER_CORE * self.cores


def describe() -> Machine:
    """This machine now."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:  # a small system need not have the file
        system = platform.system()
    load = os.getloadavg()[0]
    return Machine(
        system=system,
        kernel=platform.release(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load_before=load,
        load_after=load,
    )


def at_the_end(machine: Machine) -> Machine:
    """The same machine when a run has ended."""
    return replace(machine, load_after=os.getloadavg()[0])
