"""An attempt from its beginning to full points, and what may come between."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lab.cluster.protocol import Capability, ExecResult
from lab.errors import LabError
from lab.practice.grading import HELD_BEFORE
from lab.practice.session import scenario_of, under_way
from lab.scenario.load import load
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.practice.grading import Grade
    from lab.practice.record import Attempt, RecordFile
    from lab.practice.session import Practice
    from lab.scenario.load import Scenario
    from tests.unit.practice.conftest import FakeLab, TimeOfDay
    from tests.unit.scenario.conftest import Write

CAPTURE = (
    "addons: [bouncer]\n",
    "addons: [bouncer]\n  captures:\n    - name: word\n      exec: {command: [cat, word]}\n",
)
STEPS: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A person, the lab and the demonstration scenario."""

    practice: Practice
    cluster: FakeLab
    records: RecordFile
    now: TimeOfDay
    scenario: Scenario

    def begin(self) -> Attempt:
        return self.practice.begin(self.scenario, progress=STEPS.append)

    def check(self, attempt: Attempt) -> Grade:
        return self.practice.check(attempt, self.scenario, patience_s=0.0)

    def solve(self) -> None:
        self.cluster.api.decide = self.cluster.api.bouncer

    def current(self) -> Attempt:
        attempt = self.records.load().current
        assert attempt is not None
        return attempt


@pytest.fixture
def desk(practice: Practice, cluster: FakeLab, records: RecordFile, now: TimeOfDay, scenario: Scenario) -> Desk:
    return Desk(practice=practice, cluster=cluster, records=records, now=now, scenario=scenario)


def test_a_lab_that_does_not_run_is_brought_up_in_the_start_state(desk: Desk) -> None:
    desk.cluster.phase = "stopped"
    desk.begin()

    assert desk.cluster.actions == ["up enforced+bouncer"]


def test_a_lab_that_runs_is_put_into_the_start_state(desk: Desk) -> None:
    desk.begin()

    assert desk.cluster.actions == ["reset enforced+bouncer"]


def test_the_time_runs_from_when_the_start_state_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.cluster, "reset", lambda *_args, **_more: desk.now.pass_by(seconds=30))
    attempt = desk.begin()
    desk.now.pass_by(minutes=3)

    assert attempt.used_s(desk.now()) == 180.0


def test_an_impatient_second_interrupt_waits_until_the_lab_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.cluster.phase = "stopped"

    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    def down() -> None:
        # To this thread: a signal to the process would be taken by another of the test runner's threads.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        desk.cluster.actions.append("all of it is gone")

    monkeypatch.setattr(desk.cluster, "up", interrupted)
    monkeypatch.setattr(desk.cluster, "down", down)
    with pytest.raises(KeyboardInterrupt):
        desk.begin()

    assert desk.cluster.actions == ["all of it is gone"]


def test_an_attempt_that_cannot_begin_leaves_no_lab_that_it_made_and_none_under_way(desk: Desk, write: Write) -> None:
    desk.begin()
    desk.cluster.phase = "stopped"
    desk.cluster.actions.clear()
    broken = load(write(("addons: [bouncer]\n", "addons: [bouncer]\n  apiServer: failed\n  scripts: [solution.sh]\n")))

    def fail(_argv: object) -> None:
        raise LabError("node-gone", "the node is gone", hint="start it")

    desk.cluster.on_exec = fail
    with pytest.raises(LabError, match="the node is gone"):
        desk.practice.begin(broken, progress=STEPS.append)

    assert desk.cluster.actions == ["up enforced+bouncer", "down"]
    assert desk.records.load().current is None


def test_a_lab_that_ran_before_is_not_removed_when_the_attempt_cannot_begin(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise LabError("busy", "it is busy", hint="wait")

    monkeypatch.setattr(desk.cluster, "reset", fail)
    with pytest.raises(LabError, match="it is busy"):
        desk.begin()

    assert desk.cluster.phase == "running"


def test_what_the_backend_cannot_hold_is_told_before_anything_is_lost(desk: Desk, write: Write) -> None:
    desk.begin()
    desk.cluster.actions.clear()
    desk.cluster.capabilities = frozenset({Capability.NODE_FILES})
    with pytest.raises(LabError, match="the backend embedded lacks runs-images"):
        desk.practice.begin(load(write(("[node-files]", "[node-files, runs-images]"))), progress=STEPS.append)

    assert desk.cluster.actions == []
    assert desk.current().scenario == "demo"


def test_doing_nothing_brings_no_point_although_a_check_holds_from_the_start(desk: Desk) -> None:
    grade = desk.check(desk.begin())

    assert [(c.outcome, c.earned) for c in grade.checks] == [(Outcome.FAIL, 0), (Outcome.PASS, 0)]
    assert (grade.points, grade.possible, grade.exit_code) == (0, 4, 1)


def test_the_solution_brings_full_points_and_stops_the_time(desk: Desk) -> None:
    attempt = desk.begin()
    desk.solve()
    desk.now.pass_by(minutes=4)
    grade = desk.check(attempt)
    desk.now.pass_by(hours=1)

    assert (grade.points, grade.exit_code) == (4, 0)
    assert desk.current().used_s(desk.now()) == 240.0
    assert desk.current().checks == {"other-registry-denied": "pass", "docker-hub-allowed": "pass"}


def test_a_known_mistake_gets_its_own_feedback(desk: Desk) -> None:
    attempt = desk.begin()
    desk.cluster.api.decide = desk.cluster.api.bouncer_down
    failed = desk.check(attempt).checks[0]

    assert (failed.feedback, failed.mistakes) == ("The bouncer did not answer.", ("bouncer-down",))
    assert failed.expected.startswith("denied by image-policy-backend: pods ")
    assert failed.seen[0].startswith("denied by image-policy-failed-closed: pods ")


def test_a_check_that_could_be_given_more_time_is_told_and_how(desk: Desk, write: Write) -> None:
    slow = load(write(("    points: 3\n", "    points: 3\n    withinSeconds: 0.1\n")))
    attempt = desk.practice.begin(slow, progress=STEPS.append)
    notes = {wait_s: desk.practice.check(attempt, slow, patience_s=wait_s).notes for wait_s in (0.0, 0.1)}

    early = "what was changed a moment ago may need up to 0.1 s: 'lab check --wait 0.1' looks again"
    assert notes == {0.0: (early, HELD_BEFORE), 0.1: (HELD_BEFORE,)}


def test_an_api_server_that_does_not_run_is_told_with_its_own_error(desk: Desk) -> None:
    attempt = desk.begin()
    desk.cluster.state, desk.cluster.error = "failed", "unknown flag: --nope"

    assert desk.check(attempt).notes[0] == "the API server is failed: unknown flag: --nope"


def test_a_lab_that_is_gone_cannot_be_graded(desk: Desk) -> None:
    attempt = desk.begin()
    desk.cluster.phase = "stopped"
    with pytest.raises(LabError, match="does not run") as caught:
        desk.check(attempt)

    assert "lab start demo" in caught.value.hint


def test_a_reset_puts_the_start_state_back_and_forgets_neither_time_nor_hints_nor_points(desk: Desk) -> None:
    attempt = desk.begin()
    desk.practice.hint(attempt, desk.scenario)
    desk.solve()
    desk.now.pass_by(minutes=1)
    desk.check(attempt)
    desk.cluster.api.decide = lambda _request: None
    desk.practice.put_back(attempt, desk.scenario, progress=STEPS.append)
    grade = desk.check(desk.current())

    assert desk.cluster.actions == ["reset enforced+bouncer"] * 2
    assert grade.points == 0
    after = desk.current()
    assert (after.hints, after.points, after.used_s(desk.now())) == (1, 4, 60.0)


def test_what_was_recorded_in_the_start_state_is_recorded_anew_by_a_reset(desk: Desk, write: Write) -> None:
    scenario = load(write(CAPTURE))
    words = iter(["before", "after"])

    def cat(argv: Sequence[str]) -> ExecResult | None:
        return ExecResult(argv=tuple(argv), exit_code=0, stdout=next(words), stderr="") if argv[0] == "cat" else None

    desk.cluster.on_exec = cat
    attempt = desk.practice.begin(scenario, progress=STEPS.append)
    assert attempt.captures == {"word": "before"}
    desk.practice.put_back(attempt, scenario, progress=STEPS.append)
    assert desk.current().captures == {"word": "after"}


def test_hints_come_one_after_another_and_are_counted(desk: Desk, write: Write) -> None:
    desk.begin()
    scenario = load(write(("hints: [Look.]", "hints: [Look., Listen.]")))
    given = [desk.practice.hint(desk.current(), scenario) for _ in range(3)]

    assert [(hint.number, hint.total, hint.text) for hint in given] == [(1, 2, "Look."), (2, 2, "Listen."), (3, 2, "")]
    assert desk.current().hints == 2


def test_that_the_solution_was_shown_is_noted_once(desk: Desk) -> None:
    attempt = desk.begin()
    desk.now.pass_by(minutes=1)
    assert desk.practice.show_solution(attempt, desk.scenario) == "solve\n"
    first = desk.current().solution_shown_at
    desk.now.pass_by(minutes=1)
    desk.practice.show_solution(attempt, desk.scenario)

    assert first is not None
    assert desk.current().solution_shown_at == first


def test_a_grading_that_another_attempt_overtook_is_not_noted(desk: Desk) -> None:
    old = desk.begin()
    desk.now.pass_by(minutes=1)
    desk.begin()
    desk.solve()
    desk.check(old)

    assert desk.current().checked_at is None


def test_an_attempt_finds_its_scenario_again(desk: Desk) -> None:
    assert scenario_of(desk.begin()) == desk.scenario


def test_nothing_under_way_is_told(desk: Desk) -> None:
    with pytest.raises(LabError, match="no scenario is started in the lab two"):
        under_way(desk.records, lab="two")


def test_the_record_of_an_attempt_is_json_with_a_version(desk: Desk) -> None:
    desk.begin()
    document = json.loads(desk.records.path.read_text())

    assert document["version"] == 1
    assert document["current"]["started_at"] == "2026-11-21T09:00:00+00:00"
