"""Scenarios as tests: collection, what each outcome becomes, the evidence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from tests.unit.plugin.conftest import Session

SCENARIO = """\
apiVersion: lab.supply-chain/v1alpha1
kind: Scenario
metadata:
  {{name: {name}, topic: words, title: Say it, reason: a test, difficulty: easy, weight: 1, timeMinutes: 1}}
requires: [{requires}]
start: {{imagePolicy: open}}
hints: [Say it.]
checks:
  - id: said
    title: The word was said
    points: 1
    exec: {{command: [cat, answer], stdout: {{equals: {expected}}}}}
    feedback: [{{id: not-said, say: It was not said.}}]
mistakes:
  - {{id: mumble, title: Not clearly, script: mistakes/mumble.sh, fails: said, feedback: {feedback}}}
"""
TEST = "def test_scenario(lab_scenario): lab_scenario.verify()\n"


def _scenario(
    session: Session,
    name: str,
    *,
    expected: str = "please",
    solution: str = "answer please",
    requires: str = "node-files",
    feedback: str = "not-said",
) -> None:
    directory = session.pytester.path / "scenarios" / "words" / name
    (directory / "mistakes").mkdir(parents=True)
    text = SCENARIO.format(name=name, expected=expected, requires=requires, feedback=feedback)
    (directory / "scenario.yaml").write_text(text)
    (directory / "task.md").write_text("Say please.\n")
    (directory / "solution.sh").write_text(solution)
    (directory / "mistakes" / "mumble.sh").write_text("answer pls")


def test_each_scenario_is_a_test_for_its_solution_and_each_mistake(session: Session) -> None:
    _scenario(session, "ask")
    _scenario(session, "tell")
    session.pytester.makepyfile(TEST)
    result = session.run("-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [f"*[[]{name}[]] PASSED*" for name in ("ask/solution", "ask/mistake/mumble", "tell/solution", "tell/mistake/*")]
    )
    assert session.log == ["up open", *["reset open"] * 4, "down"]


def test_scenarios_are_chosen_by_name(session: Session) -> None:
    _scenario(session, "ask")
    _scenario(session, "tell")
    session.pytester.makepyfile(TEST)
    session.run("-k", "tell").assert_outcomes(passed=2, deselected=2)


def test_the_next_test_finds_the_lab_put_back(session: Session) -> None:
    _scenario(session, "ask")
    session.pytester.makepyfile(TEST + "def test_z(lab_cluster): assert 'enforced' in lab_cluster.status().state\n")
    session.run().assert_outcomes(passed=3)
    assert session.log[-2:] == ["reset enforced+bouncer", "down"]


def test_what_does_not_solve_the_task_fails_with_what_was_seen_and_its_evidence(session: Session) -> None:
    _scenario(session, "ask", expected="thanks")
    session.pytester.makepyfile(TEST)
    result = session.run("-k", "solution", "--junit-xml=junit.xml")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "scenario ask on fake: FAIL",
            "untouched: PASS",
            "solution: FAIL",
            "*fail said: The word was said",
            "*stdout: expected thanks",
            "*actually please",
            "*feedback not-said: It was not said.",
            "evidence: *home/state/bundles/ask-*",
        ]
    )
    report = ET.parse(session.pytester.path / "junit.xml").getroot()  # noqa: S314 - written by this test
    (case,) = report.iter("testcase")
    (link,) = case.iter("property")
    assert link.get("name") == "lab_bundle"
    assert re.fullmatch(r".*/home/state/bundles/ask-\w+", str(link.get("value")))
    assert case.find("failure") is not None
    assert case.find("error") is None


def test_a_mistake_that_gets_other_feedback_fails(session: Session) -> None:
    _scenario(session, "ask")
    file = session.pytester.path / "scenarios/words/ask/scenario.yaml"
    text = file.read_text()
    rules = '[{id: wrong, when: {stdout: "^pls"}, say: Not pls.}, {id: not-said, say: It was not said.}]'
    file.write_text(text.replace("[{id: not-said, say: It was not said.}]", rules))
    session.pytester.makepyfile(TEST)
    result = session.run("-k", "mumble")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*said gave the feedback wrong, not not-said"])


def test_what_could_not_run_is_an_error_and_neither_passes_nor_fails(session: Session) -> None:
    _scenario(session, "ask", solution="broken")
    session.pytester.makepyfile(TEST)
    result = session.run("-k", "solution", "--junit-xml=junit.xml")
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "scenario ask on fake: ERROR",
            "*the node cannot be entered*",
            "evidence: *",
            "the scenario ask/solution could not run at first and was tried twice",
        ]
    )
    (case,) = ET.parse(session.pytester.path / "junit.xml").getroot().iter("testcase")  # noqa: S314
    assert case.find("error") is not None
    assert case.find("failure") is None


def test_what_the_backend_cannot_hold_is_skipped_with_the_reason_and_starts_nothing(session: Session) -> None:
    _scenario(session, "ask", requires="node-files, runs-images")
    session.pytester.makepyfile(TEST)
    result = session.run("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*the backend fake lacks runs-images"])
    assert session.lines == []


def test_faulty_scenarios_stop_the_collection_with_every_fault(session: Session) -> None:
    _scenario(session, "ask", requires="wings")
    _scenario(session, "tell", feedback="no-such-rule")
    session.pytester.makepyfile(TEST)
    result = session.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ask/scenario.yaml:5*", "*tell/scenario.yaml:*"])
    assert "Traceback" not in result.stdout.str()


def test_a_directory_without_scenarios_is_no_silent_success(session: Session) -> None:
    session.pytester.makepyfile(TEST)
    result = session.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*scenarios is not a directory*"])


def test_scenarios_come_from_the_directory_that_the_option_or_the_ini_file_names(session: Session) -> None:
    _scenario(session, "ask")
    (session.pytester.path / "scenarios").rename(session.pytester.path / "other")
    session.pytester.makepyfile(TEST)
    session.run("--lab-scenarios", "other").assert_outcomes(passed=2)
    session.pytester.makeini("[pytest]\nlab_scenarios = other\n")
    session.run().assert_outcomes(passed=2)


def test_a_seed_decides_the_order_of_scenarios_and_keeps_their_cases_together(session: Session) -> None:
    for name in ("ask", "buy", "carry", "dig", "eat"):
        _scenario(session, name)
    session.pytester.makepyfile(TEST)

    def order(*options: str) -> list[str]:
        lines = session.run("--collect-only", "-q", *options).stdout.lines
        return [line.partition("[")[2] for line in lines if "[" in line and "::" in line]

    as_they_come, shuffled = order(), order("--lab-shuffle", "3")
    assert shuffled == order("--lab-shuffle", "3") != as_they_come
    assert sorted(shuffled) == sorted(as_they_come)
    names = [case.partition("/")[0] for case in shuffled]
    assert names[::2] == names[1::2]
