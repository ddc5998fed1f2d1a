"""The walkthroughs say what the scenarios say, and what differs, in a scenario or in a run, is noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from docs.walkthroughs import pages, recording
from docs.walkthroughs.courses import PAGES
from docs.walkthroughs.sections import inline, section
from lab.errors import InputError
from lab.scenario import load
from lab.scenario.report.json_report import json_report
from lab.scenario.result import CheckResult, Outcome, PhaseKind, PhaseResult, ProbeResult, ScenarioResult
from lab.scenario.schema.scenario import Seed
from lab.scenario.verbs.probe import expected_of
from lab.scenario.verbs.request import as_typed

if TYPE_CHECKING:
    from lab.scenario.load import Scenario

ROOT = Path(__file__).parents[3]
FAIL_CLOSED = "imagepolicy-fail-closed"


@cache
def scenarios() -> tuple[Scenario, ...]:
    return load.load_all(load.discover(ROOT / "scenarios"))


def fail_closed() -> Scenario:
    return load.select(scenarios(), [FAIL_CLOSED])[0]


def generated() -> dict[str, str]:
    return pages.files(scenarios(), recording.load())


def result_of(scenario: Scenario, verdicts: recording.Verdicts, **changes: Any) -> ScenarioResult:
    """A run of a solution in which each probe got a verdict.

    Args:
        scenario: the scenario.
        verdicts: what its probes got.
        changes: of the verdict of each of them, as attributes of `Observed`.
    """
    checks = tuple(
        CheckResult(
            id=check.id,
            title=check.title,
            verb="probe",
            outcome=Outcome.PASS,
            points=check.points,
            probe=ProbeResult(
                request=as_typed(check.probe),
                expected=expected_of(check.probe),
                observed=replace(recording.observed(verdicts[check.id]), **changes),
            ),
        )
        for check in scenario.document.checks
        if check.probe is not None
    )
    solution = PhaseResult(kind=PhaseKind.SOLUTION, name="solution", outcome=Outcome.PASS, checks=checks)
    title = scenario.document.metadata.title
    return ScenarioResult(name=scenario.name, topic=scenario.topic, title=title, backend="embedded", phases=(solution,))


def test_the_pages_are_what_the_scenarios_say() -> None:
    drift = pages.drift(generated())
    assert not drift, f"{drift}what to do: run {recording.REMEDY}; for texts alone, python -m docs.walkthroughs"


def test_every_text_of_the_course_has_a_page() -> None:
    assert [page.seed for page in PAGES if page.seed] == sorted(get_args(Seed))


def test_every_scenario_is_on_a_page_and_in_the_table() -> None:
    files = generated()
    text = "".join(text for path, text in files.items() if path.startswith("walkthroughs/") and path != pages.INDEX)
    for scenario in scenarios():
        start = f"`lab start {scenario.name}{' --backend kind' if 'runs-images' in scenario.document.requires else ''}`"
        assert start in text
        assert f"| [{scenario.name}](" in files[pages.TABLE]
        for seed in scenario.document.metadata.seeds:
            (page,) = (page for page in PAGES if page.seed == seed)
            assert start in files[f"walkthroughs/{page.slug}.md"]


def test_a_page_names_first_only_what_is_on_it() -> None:
    for page in PAGES:
        assert set(page.order) <= {scenario.name for scenario in page.scenarios_of(scenarios())}, page.slug


def test_no_block_of_a_page_is_taken_for_one_to_be_run() -> None:
    assert [path for path, text in generated().items() if "```console" in text] == []


def test_a_section_holds_task_solution_verdicts_and_mistakes() -> None:
    scenario = fail_closed()
    text = section(scenario, recording.load()[FAIL_CLOSED])
    assert "which does not run yet and whose name nobody\n   knows. Point the API server at it." in text
    assert f"```bash\n{scenario.text('solution.sh').strip()}\n```" in text
    assert "$ kubectl run test1 --image=nginx\n  denied by image-policy-failed-closed\n" in text
    assert "lookup\n  external-service on ...: no such host" in text
    assert (
        "| Closed, but the address is the old one | While external-service cannot be found, a Pod is denied |" in text
    )


def test_a_text_is_shown_as_it_stands() -> None:
    assert inline("container <bb> of `a|b*` | *all*", in_table=True) == r"container \<bb> of `a\|b*` \| \*all\*"


class TestWhatIsNoticed:
    def test_a_text_that_changed(self, tmp_path: Path) -> None:
        (tmp_path / "walkthroughs").mkdir()
        files = generated()
        pages.write(files, docs=tmp_path)
        assert pages.drift(files, docs=tmp_path) == ""
        page = tmp_path / "walkthroughs/image-policy-for-the-exam.md"
        page.write_text(page.read_text().replace("NodeRestriction is gone;", "NodeRestriction has gone;"))
        drift = pages.drift(files, docs=tmp_path)
        assert "--- docs/walkthroughs/image-policy-for-the-exam.md" in drift
        assert "+| ImagePolicyWebhook in place of NodeRestriction" in drift

    def test_a_page_that_nothing_makes_any_longer(self, tmp_path: Path) -> None:
        (tmp_path / "walkthroughs").mkdir()
        (tmp_path / "walkthroughs/old.md").write_text("old\n")
        assert "--- docs/walkthroughs/old.md" in pages.drift(generated(), docs=tmp_path)
        pages.write(generated(), docs=tmp_path)
        assert not (tmp_path / "walkthroughs/old.md").exists()

    def test_a_verdict_that_the_scenario_no_longer_expects(self) -> None:
        verdicts = recording.load()
        verdicts[FAIL_CLOSED]["fails-closed"]["deciders"] = ["nobody"]
        with pytest.raises(InputError) as raised:
            pages.files(scenarios(), verdicts)
        assert raised.value.code == "verdicts-outdated"
        assert raised.value.context == {FAIL_CLOSED: "fails-closed"}
        assert raised.value.hint == f'run make walkthroughs WALK="{FAIL_CLOSED}"'

    def test_a_probe_without_a_verdict_and_a_verdict_without_a_probe(self) -> None:
        (verdict,) = recording.load()[FAIL_CLOSED].values()
        assert recording.misfits(fail_closed(), {}) == ["fails-closed"]
        assert recording.misfits(fail_closed(), {"fails-closed": verdict, "gone": verdict}) == ["gone"]

    def test_a_run_that_gets_another_message(self) -> None:
        recorded = recording.load()
        same = result_of(fail_closed(), recorded[FAIL_CLOSED])
        assert recording.drift(same, recorded) == ""
        other = result_of(fail_closed(), recorded[FAIL_CLOSED], message="no such webhook")
        drift = recording.drift(other, recorded)
        assert '+      "message": "no such webhook",' in drift
        assert drift.endswith(f"what to do: run make walkthroughs WALK={FAIL_CLOSED}")

    def test_not_the_address_of_the_resolver(self) -> None:
        recorded = recording.load()
        message = recorded[FAIL_CLOSED]["fails-closed"]["message"].replace(" on ...:", " on [::1]:53:")
        assert ":53: no such host" in message
        assert recording.drift(result_of(fail_closed(), recorded[FAIL_CLOSED], message=message), recorded) == ""


class TestReports:
    def test_what_passed_is_taken(self, tmp_path: Path) -> None:
        verdicts = recording.load()[FAIL_CLOSED]
        (tmp_path / "report.json").write_text(json_report([result_of(fail_closed(), verdicts)]))
        assert recording.from_report(tmp_path / "report.json") == {FAIL_CLOSED: verdicts}

    def test_what_was_skipped_is_left_out(self, tmp_path: Path) -> None:
        skipped = replace(result_of(fail_closed(), recording.load()[FAIL_CLOSED]), phases=(), skipped="no node files")
        (tmp_path / "report.json").write_text(json_report([skipped]))
        assert recording.from_report(tmp_path / "report.json") == {}

    def test_what_failed_is_refused(self, tmp_path: Path) -> None:
        passed = result_of(fail_closed(), recording.load()[FAIL_CLOSED])
        failed = replace(passed, phases=(replace(passed.phases[0], outcome=Outcome.FAIL),))
        (tmp_path / "report.json").write_text(json_report([failed]))
        with pytest.raises(InputError, match=FAIL_CLOSED):
            recording.from_report(tmp_path / "report.json")

    @pytest.mark.parametrize("text", ["", "[]", json.dumps({"kind": "Matrix"})])
    def test_what_is_no_report_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(InputError, match=r"report\.json"):
            recording.from_report(tmp_path / "report.json")
