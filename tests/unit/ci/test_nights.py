"""What a night found is told as it was, and a changed verdict is noticed. The reports are real ones, cut short."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci import night, summary
from ci.__main__ import main
from docs.walkthroughs import recording
from lab.errors import EXIT_BAD_INPUT, EXIT_OK, InputError
from lab.parity import changes

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "testdata"
QUIET = DATA / "quiet"
BROKEN = DATA / "broken"
CLOSED = "imagepolicy-fail-closed"
CLOSED_BY = "image-policy-failed-closed"


def probe_of(report: dict[str, Any], scenario: str, check: str) -> dict[str, Any]:
    """What the report says of a probe of a scenario's solution."""
    (replayed,) = (found for found in report["scenarios"] if found["name"] == scenario)
    (solution,) = (phase for phase in replayed["phases"] if phase["kind"] == "solution")
    (probe,) = (found["probe"] for found in solution["checks"] if found["id"] == check)
    assert isinstance(probe, dict)
    return probe


@pytest.fixture
def another_night(tmp_path: Path) -> Callable[..., Path]:
    """Makes a night like the quiet one but for what a function does to its report."""

    def make(change: Callable[[dict[str, Any]], None] = lambda _: None, **programs: str) -> Path:
        directory = tmp_path / "another"
        shutil.copytree(QUIET, directory)
        report = json.loads((QUIET / night.REPORT).read_text())
        change(report)
        (directory / night.REPORT).write_text(json.dumps(report))
        listed = json.loads((QUIET / night.PROGRAMS).read_text())
        listed = [program | {"version": programs.get(program["name"], program["version"])} for program in listed]
        (directory / night.PROGRAMS).write_text(json.dumps(listed))
        return directory

    return make


def allow(report: dict[str, Any]) -> None:
    probe_of(report, CLOSED, "fails-closed")["observed"] |= {
        "verdict": "allowed", "deciders": ["nobody"], "message": "", "failedOpen": ["ImagePolicyWebhook"],
    }  # fmt: skip


def between(old: night.Night, new: night.Night) -> changes.Changes:
    return changes.between(old.scenarios, new.scenarios)


class TestWhatChanged:
    def test_nothing_when_the_nights_are_the_same(self, another_night: Callable[..., Path]) -> None:
        found = between(night.read(QUIET), night.read(another_night()))
        assert not found
        assert (found.added, found.gone) == ((), ())

    def test_a_verdict_with_its_cause_on_both_sides(self, another_night: Callable[..., Path]) -> None:
        old, new = night.read(QUIET), night.read(another_night(allow))
        found = between(old, new)
        assert [(change.scenario, change.check) for change in found.verdicts] == [(CLOSED, "fails-closed")]
        text = summary.issue(old, new, found)
        assert text.startswith(
            "# 1 change of verdicts: embedded, Kubernetes 1.37.0\n\nWhat changed since the last night."
        )
        assert (
            f"| {CLOSED} | fails-closed | denied by image-policy-failed-closed "
            "| allowed, because ImagePolicyWebhook failed open |"
        ) in text
        assert {'-    "verdict": "denied"', '+    "verdict": "allowed"'} <= set(text.splitlines())
        assert '-      "image-policy-failed-closed"\n+      "nobody"' in text

    def test_a_message_alone(self, another_night: Callable[..., Path]) -> None:
        def reword(report: dict[str, Any]) -> None:
            probe_of(report, CLOSED, "fails-closed")["observed"]["message"] += " (again)"

        assert len(between(night.read(QUIET), night.read(another_night(reword))).verdicts) == 1

    def test_not_an_address_that_differs_from_machine_to_machine(self, another_night: Callable[..., Path]) -> None:
        def elsewhere(report: dict[str, Any]) -> None:
            observed = probe_of(report, CLOSED, "fails-closed")["observed"]
            assert " on 169.254.169.254:53: no such host" in observed["message"]
            observed["message"] = observed["message"].replace("169.254.169.254:53", "10.1.2.3:53")

        assert not between(night.read(QUIET), night.read(another_night(elsewhere)))

    def test_a_probe_that_could_not_be_sent(self, another_night: Callable[..., Path]) -> None:
        def lose(report: dict[str, Any]) -> None:
            probe_of(report, CLOSED, "fails-closed")["observed"] = None

        old, new = night.read(QUIET), night.read(another_night(lose))
        text = summary.issue(old, new, between(old, new))
        assert "| denied by image-policy-failed-closed | could not be sent |" in text

    def test_a_scenario_that_no_longer_passes(self) -> None:
        found = between(night.read(QUIET), night.read(BROKEN))
        told = {(change.scenario, change.phase): (change.old, change.new) for change in found.outcomes}
        assert told[CLOSED, "scenario"] == ("pass", "error")
        assert told[CLOSED, "solution"] == ("pass", "error")
        assert told["deployment-not-pod", "solution"] == ("pass", "error")
        assert ("apiserver-service-flags", "scenario") not in told

    def test_a_new_scenario_is_told_and_is_no_changed_verdict(self, another_night: Callable[..., Path]) -> None:
        def add(report: dict[str, Any]) -> None:
            report["scenarios"].append(copy.deepcopy(report["scenarios"][0]) | {"name": "brand-new"})

        old, new = night.read(QUIET), night.read(another_night(add))
        assert not between(old, new)
        assert between(old, new).added == ("brand-new",)
        assert between(new, old).gone == ("brand-new",)

    def test_the_programs_that_are_other_ones_are_told_with_it(self, another_night: Callable[..., Path]) -> None:
        old, new = night.read(QUIET), night.read(another_night(allow, gatekeeper="3.24.0"))
        assert "| gatekeeper | 3.23.1 | 3.24.0 |" in summary.issue(old, new, between(old, new))

    def test_against_the_walkthroughs_where_no_night_was_kept(
        self, another_night: Callable[..., Path], tmp_path: Path
    ) -> None:
        old = night.before(tmp_path / "none")
        assert old.is_recorded
        assert old.scenarios.keys() == recording.load().keys()
        assert not between(old, night.read(QUIET))
        new = night.read(another_night(allow))
        assert "against the walkthroughs" in summary.issue(old, new, between(old, new))


class TestTheTable:
    def test_has_a_row_for_each_probe(self) -> None:
        text = summary.summary(night.read(QUIET))
        assert text.startswith("# Verdicts: embedded, Kubernetes 1.37.0\n\n3 passed.\n\n| outcome |")
        row = f"| pass | {CLOSED} | fails-closed | `kubectl run test1 --image=nginx` | denied by {CLOSED_BY} |"
        assert row in text
        probes = sum(len(replayed.verdicts) for replayed in night.read(QUIET).scenarios.values())
        assert text.count("\n| pass |") == probes > 0

    def test_says_first_what_did_not_pass_and_why(self) -> None:
        text = summary.summary(night.read(BROKEN))
        assert "1 passed, 2 could not run." in text
        why = text.index(f"## {CLOSED}: could not run")
        assert "does not run [lab-not-running]" in text[why : text.index("| outcome |")]
        assert "`reports/bundles/" in text

    def test_a_row_stands_for_a_scenario_without_a_verdict(self) -> None:
        assert f"\n| error | {CLOSED} |  |  |  |" in summary.summary(night.read(BROKEN))

    def test_a_text_cannot_end_its_block(self) -> None:
        assert summary.fenced("text", "a\n```\nb") == "````text\na\n```\nb\n````"


class TestTheCommand:
    def test_writes_the_issue_when_a_verdict_changed(
        self, another_night: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        issue = tmp_path / "changes.md"
        code = main(["night", str(another_night(allow)), "--since", str(QUIET), "--issue", str(issue)])
        out = capsys.readouterr().out
        assert code == EXIT_OK
        assert out.startswith(issue.read_text())
        assert "# Verdicts: embedded" in out

    def test_removes_the_issue_of_before_when_none_did(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        issue = tmp_path / "changes.md"
        issue.write_text("of yesterday")
        assert main(["night", str(QUIET), "--since", str(QUIET), "--issue", str(issue)]) == EXIT_OK
        assert not issue.exists()
        assert capsys.readouterr().out.startswith("No verdict changed since the last night.\n\n# Verdicts")

    def test_says_what_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        issue = tmp_path / "changes.md"
        assert main(["night", str(tmp_path), "--since", str(QUIET), "--issue", str(issue)]) == EXIT_BAD_INPUT
        assert "[no-report]" in capsys.readouterr().err

    def test_a_night_without_its_programs_is_none(self, another_night: Callable[..., Path]) -> None:
        directory = another_night()
        (directory / night.PROGRAMS).unlink()
        with pytest.raises(InputError, match=r"programs\.json cannot be read"):
            night.read(directory)
