"""A night: what a replay of all scenarios got, read back from the files that ``make verdicts`` leaves.

A night is a directory with ``verdicts.json`` (the report of ``lab run``), ``programs.json`` (what
``lab components list`` said of the programs that ran) and ``commit``. What the walkthroughs print can stand in for a
night, where there is none to compare with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from docs.walkthroughs import recording
from lab.errors import InputError
from lab.parity.changes import Replayed
from lab.parity.reading import read_report
from lab.scenario.result import PhaseKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REPORT = "verdicts.json"
PROGRAMS = "programs.json"
COMMIT = "commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What all scenarios got.

    Attributes:
        scenarios: by name; of each the outcomes, and the verdicts of its solution's probes as the walkthroughs record
            them.
        report: the report that it was read from; empty for the walkthroughs.
        programs: version of each program that ran, by name.
        commit: of the lab; empty when it is not known.
        is_recorded: whether these are the walkthroughs' verdicts, and no night.
    """

    scenarios: Mapping[str, Replayed]
    report: Mapping[str, Any] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    is_recorded: bool = False

    @property
    def where(self) -> str:
        """On what it ran, in a few words: ``embedded, Kubernetes 1.37.0``."""
        backends = sorted({scenario["backend"] for scenario in self.report.get("scenarios", ())})
        kubernetes = self.programs.get("kube-apiserver")
        return ", ".join([*backends, *([f"Kubernetes {kubernetes}"] if kubernetes else [])])


def read(directory: Path) -> Night:
    """A night that was kept.

    Raises:
        InputError: ``no-report``, ``no-programs``.
    """
    report = read_report(directory / REPORT)
    commit = directory / COMMIT
    return Night(
        scenarios={scenario["name"]: _replayed(scenario) for scenario in report["scenarios"]},
        report=report,
        programs=_programs(directory / PROGRAMS),
        commit=commit.read_text(encoding="utf-8").strip() if commit.exists() else "",
    )


def before(directory: Path) -> Night:
    """The night to compare with: the one that was kept, or what the walkthroughs print where none was."""
    if (directory / REPORT).exists():
        return read(directory)
    recorded = recording.load()
    return Night(
        scenarios={name: Replayed(outcomes={}, verdicts=verdicts) for name, verdicts in recorded.items()},
        is_recorded=True,
    )


def other_programs(old: Night, new: Night) -> tuple[tuple[str, str, str], ...]:
    """Name, version before and version now of each program whose version differs."""
    return tuple(
        (name, old.programs[name], new.programs[name])
        for name in sorted(old.programs.keys() & new.programs.keys())
        if old.programs[name] != new.programs[name]
    )


def _replayed(scenario: Mapping[str, Any]) -> Replayed:
    probed = [
        check["id"]
        for phase in scenario["phases"]
        if phase["kind"] == PhaseKind.SOLUTION
        for check in phase["checks"]
        if check["probe"] is not None
    ]
    observed = recording.verdicts_of(scenario)
    phases = {phase["name"]: phase["outcome"] for phase in scenario["phases"]}
    return Replayed(
        outcomes={"scenario": scenario["outcome"], **phases},
        verdicts={check: observed.get(check) for check in probed},
    )


def _programs(file: Path) -> dict[str, str]:
    try:
        return {program["name"]: program["version"] for program in json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "no-programs", f"{file} cannot be read: {error}", hint="make one: lab components list --json > FILE"
        ) from error
