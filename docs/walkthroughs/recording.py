"""The verdicts that the pages print: taken from a report of ``lab run``, kept in a file, compared with later runs.

What differs from run to run and says nothing (the address of a resolver) is shown as ``...``. Everything else is as the
API server said it.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import InputError
from lab.parity.reading import read_report
from lab.scenario.report.json_report import json_report
from lab.scenario.result import Observed, Outcome, PhaseKind, Verdict
from lab.scenario.verbs.probe import expected_of
from lab.scenario.verdict import BOUNCER, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult

    Verdicts = dict[str, dict[str, Any]]
    """Of one scenario: what its solution's probes got, by the id of the check."""
    Recording = dict[str, Verdicts]
    """Of all scenarios, by name."""

FILE = Path(__file__).with_name("verdicts.json")
REMEDY = "make walkthroughs"

_VARIES = ((re.compile(r"(?<= on )[\[\]0-9a-fA-F.:]+(?=: no such host)"), "..."),)
"""A resolver's address is the machine's; the task shows it as ``...`` too."""


def load(file: Path = FILE) -> Recording:
    """The verdicts that were recorded.

    Raises:
        InputError: ``no-recording``.
    """
    try:
        recording: Recording = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("no-recording", f"{file.name} cannot be read: {error}", hint=f"run {REMEDY}") from error
    return recording


def as_text(recording: Recording) -> str:
    """The recording as it is kept: sorted, so that a change is seen as one."""
    return json.dumps(recording, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def from_report(file: Path) -> Recording:
    """What a report of ``lab run --json`` holds for the pages; scenarios that were skipped are left out.

    Raises:
        InputError: ``no-report``; ``report-not-passed``, because only what was proved is printed.
    """
    ran = [scenario for scenario in read_report(file)["scenarios"] if scenario["outcome"] != Outcome.SKIP]
    failed = [scenario["name"] for scenario in ran if scenario["outcome"] != Outcome.PASS]
    if failed:
        raise InputError(
            "report-not-passed",
            f"in {file} did not pass: {', '.join(failed)}",
            hint="only verdicts that were proved are printed: see why they did not, then run them again",
        )
    return {scenario["name"]: verdicts_of(scenario) for scenario in ran}


def of_result(result: ScenarioResult) -> Verdicts:
    """What a scenario that ran would have on its page; by way of the report, so that there is one reading of both."""
    return verdicts_of(json.loads(json_report([result]))["scenarios"][0])


def verdicts_of(scenario: Mapping[str, Any]) -> Verdicts:
    """The verdicts of a scenario of a report; without those of probes that could not be sent."""
    return {
        check["id"]: _verdict(check["probe"])
        for phase in scenario["phases"]
        if phase["kind"] == PhaseKind.SOLUTION
        for check in phase["checks"]
        if check["probe"] is not None and check["probe"]["observed"] is not None
    }


def _verdict(probe: Mapping[str, Any]) -> dict[str, Any]:
    """What a probe got. Of the further evidence only what it was to bring: the rest depends on the backend."""
    expected, observed = probe["expected"], probe["observed"]
    wanted = [fact for fact in ("asked", "reviewedImages") if expected[fact] is not None]
    return {
        "verdict": observed["verdict"],
        "deciders": observed["deciders"],
        "message": steady(observed["message"]),
        "failedOpen": observed["failedOpen"] or [],
        **{fact: observed[fact] for fact in wanted},
    }


def observed(verdict: Mapping[str, Any]) -> Observed:
    """A recorded verdict, as it was observed."""
    asked, images = verdict.get("asked"), verdict.get("reviewedImages")
    return Observed(
        verdict=Verdict(verdict["verdict"]),
        deciders=frozenset(verdict["deciders"]),
        message=verdict["message"],
        reason="",
        http_status=0,
        asked=frozenset(asked or ()),
        not_asked=frozenset() if asked is None else frozenset({BOUNCER}) - frozenset(asked),
        reviewed_images=None if images is None else tuple(images),
        failed_open=tuple(verdict["failedOpen"]),
    )


def misfits(scenario: Scenario, verdicts: Verdicts) -> list[str]:
    """The checks of a scenario whose recorded verdict is missing or is not what the scenario expects today."""
    probes = {check.id: check.probe for check in scenario.document.checks if check.probe is not None}
    wrong = [
        check
        for check, probe in probes.items()
        if check not in verdicts or judge(expected_of(probe), observed(verdicts[check])).outcome is not Outcome.PASS
    ]
    return wrong + sorted(verdicts.keys() - probes.keys())


def steady(message: str) -> str:
    """A message without what differs from run to run."""
    for pattern, replacement in _VARIES:
        message = pattern.sub(replacement, message)
    return message


def drift(result: ScenarioResult, recording: Recording) -> str:
    """How the verdicts of a run differ from those that its page prints; empty when they do not, or there is no page."""
    seen = of_result(result)
    printed = recording.get(result.name, seen)
    if printed == seen:
        return ""
    lines = difference(as_text({result.name: printed}), as_text({result.name: seen}), old="the page", new="this run")
    return f"{lines}what to do: run {REMEDY} WALK={result.name}"


def difference(old_text: str, new_text: str, *, old: str, new: str) -> str:
    """Both texts as a diff; empty when they are the same."""
    return "".join(_ended(difflib.unified_diff(old_text.splitlines(), new_text.splitlines(), old, new, lineterm="")))


def _ended(lines: Iterable[str]) -> Iterable[str]:
    return (f"{line}\n" for line in lines)
