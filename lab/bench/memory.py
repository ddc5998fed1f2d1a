"""How much memory a lab takes: what it shares with itself counted once, what it shares with others told.

A proportional set size (PSS) divides each page by the number of processes that map it. Two labs of one store run the
same files, so each one's sum is too low by what the other is charged with. `MemorySample.alone` says what it would be.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.cluster.protocol import ProcessStatus

Program = tuple[int, int]
"""The file that a process runs: device and inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """The memory of a lab at one moment, in bytes.

    Attributes:
        processes: PSS by process, the largest first.
        shared_with: how many processes of others run the same programs.
        alone: about what the sum would be without those.
    """

    processes: tuple[tuple[str, int], ...]
    shared_with: int
    alone: int

    @property
    def total(self) -> int:
        """The sum of the proportional set sizes."""
        return sum(size for _, size in self.processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The memory of one process, in bytes.

    Attributes:
        program: what it runs; None when that cannot be seen.
        own: its share of memory that belongs to no file.
        file: pages of files that it maps, shared or not.
    """

    program: Program | None
    own: int
    file: int


def sample(processes: tuple[ProcessStatus, ...]) -> MemorySample:
    """The memory of a lab now.

    Raises:
        LabError: ``bench-memory``: it cannot be read.
    """
    unknown = [process.name for process in processes if process.pss_bytes is None]
    if unknown or not processes:
        raise LabError(
            "bench-memory",
            f"the memory of {', '.join(unknown) or 'the lab'} cannot be read",
            hint="run lab bench as the user whose lab it is",
        )
    pids = {process.pid for process in processes}
    footprints = [_footprint(pid) for pid in pids]
    sizes = sorted(((each.name, each.pss_bytes or 0) for each in processes), key=lambda pair: -pair[1])
    return MemorySample(processes=tuple(sizes), shared_with=_sharing(pids, footprints), alone=alone(footprints))


def alone(footprints: Iterable[Footprint]) -> int:
    """What processes take together when nobody else runs their programs.

    The files of one program are counted once, as the most that a process of it maps: its processes map the same text.
    """
    own = 0
    files: dict[Program | None, int] = {}
    for footprint in footprints:
        own += footprint.own
        files[footprint.program] = max(files.get(footprint.program, 0), footprint.file)
    return own + sum(files.values())


def _footprint(pid: int) -> Footprint:
    try:
        rollup = _fields(Path(f"/proc/{pid}/smaps_rollup"))
        status = _fields(Path(f"/proc/{pid}/status"))
    except OSError as error:
        raise LabError(
            "bench-memory", f"the memory of process {pid} cannot be read: {error}", hint="it may have ended: try again"
        ) from error
    return Footprint(program=_program(pid), own=rollup["Pss_Anon"] + rollup["Pss_Shmem"], file=status["RssFile"])


def _fields(path: Path) -> dict[str, int]:
    """The sizes in a file of /proc: name to bytes."""
    words = (line.split() for line in path.read_text().splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in words}


def _sharing(own: set[int], footprints: list[Footprint]) -> int:
    """How many processes outside a lab run one of its programs, this interpreter aside."""
    programs = {footprint.program for footprint in footprints} - {None, _program(os.getpid())}
    others = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sum(1 for pid in others if pid not in own and _program(pid) in programs)


def _program(pid: int) -> Program | None:
    try:
        status = Path(f"/proc/{pid}/exe").stat()
    except OSError:  # it has ended, or is somebody else's
        return None
    return status.st_dev, status.st_ino
