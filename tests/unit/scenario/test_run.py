"""A scenario from its start state to its result: untouched, solution, mistakes, grading."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from lab.cluster.protocol import Capability, ExecResult
from lab.components import Components
from lab.errors import LabError
from lab.scenario.load import load
from lab.scenario.plan import Mode, plan
from lab.scenario.result import Outcome, PhaseKind, exit_code
from lab.scenario.run import Event, EventKind, plan_for, run_scenario, start_scenario
from tests.unit.scenario.conftest import FakeGuestCluster, FakeLoadingCluster

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.scenario.api import Request, Response
    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult
    from tests.unit.scenario.conftest import FakeApiServer, FakeCluster, FakeSnapshotCluster, Write


@pytest.fixture
def lab(cluster: FakeSnapshotCluster) -> FakeSnapshotCluster:
    """A lab in which the scripts have their effects: everything is let in until the task is solved."""
    api = cluster.api
    done: list[str] = []
    reset = cluster.reset

    def decide(request: Request) -> Response | None:
        effects = {"solve": api.bouncer, "stop the bouncer": api.bouncer_down}
        return effects[done[-1]](request) if done else None

    def run(argv: Sequence[str]) -> ExecResult | None:
        script = argv[-1].strip()
        if argv[0] != "bash" or script not in ("solve", "stop the bouncer"):
            return None
        done.append(script)
        return ExecResult(argv=tuple(argv), exit_code=0, stdout="", stderr="")

    def put_back(*args: object, **more: object) -> None:
        done.clear()
        reset(*args, **more)  # type: ignore[arg-type]

    api.decide = decide
    cluster.on_exec = run
    cluster.reset = put_back  # type: ignore[method-assign]
    return cluster


def run(scenario: Scenario, cluster: FakeSnapshotCluster, **more: object) -> ScenarioResult:
    return run_scenario(scenario, cluster, transport=cluster.api, **more)  # type: ignore[arg-type]


def test_a_sound_scenario_passes_all_its_phases(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    result = run(scenario, lab)
    assert [(phase.name, phase.outcome, phase.problem) for phase in result.phases] == [
        ("untouched", Outcome.PASS, ""),
        ("solution", Outcome.PASS, ""),
        ("mistake/bouncer-down", Outcome.PASS, ""),
    ]
    assert result.outcome is Outcome.PASS
    assert result.points == (4, 4)
    assert lab.actions == ["reset enforced+bouncer", "reset enforced+bouncer"]


def test_a_start_state_that_solves_the_task_fails(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    lab.api.decide = lab.api.bouncer
    result = run(scenario, lab, to_run=plan_for(scenario, lab, mistakes=False))
    assert result.phases[0].outcome is Outcome.FAIL
    assert result.phases[0].problem == "other-registry-denied must fail in the untouched state, and was pass"
    assert result.outcome is Outcome.FAIL


def test_a_start_state_that_lacks_what_must_be_kept_fails(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    lab.api.decide = lab.api.bouncer_down
    result = run(scenario, lab)
    assert "docker-hub-allowed must pass in the untouched state, and was fail" in result.phases[0].problem


def test_a_solution_that_does_not_solve_fails(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    lab.on_exec = lambda _argv: None
    result = run(scenario, lab)
    assert result.phases[1].outcome is Outcome.FAIL
    assert result.phases[1].problem == "other-registry-denied: fail"


def test_a_solution_that_breaks_off_could_not_run(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    def break_off(argv: Sequence[str]) -> ExecResult | None:
        return (
            ExecResult(argv=tuple(argv), exit_code=7, stdout="", stderr="no such thing") if "solve\n" in argv else None
        )

    lab.on_exec = break_off
    phase = run(scenario, lab).phases[1]
    assert phase.outcome is Outcome.ERROR
    assert "exit code 7" in phase.problem
    assert "no such thing" in phase.problem


def test_a_mistake_that_no_check_finds_fails(
    write: Write, lab: FakeSnapshotCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.scenario.run.TAKES_HOLD_S", 0.1)
    directory = write()
    (directory / "mistakes" / "bouncer-down.sh").write_text("solve\n")
    phase = run(load(directory), lab).phases[2]
    assert phase.outcome is Outcome.FAIL
    assert phase.problem == "other-registry-denied passes in spite of the mistake"


def test_a_check_that_passes_late_leaves_the_next_one_its_time(write: Write, lab: FakeSnapshotCluster) -> None:
    decide, denials = lab.api.decide, []

    def slow(request: Request) -> Response | None:
        answer = decide(request)
        if answer is not None:
            time.sleep(0.4)
            denials.append(answer)
        elif denials:
            denials.clear()
            return lab.api.bouncer_down(request)
        return answer

    lab.api.decide = slow
    within = "\n    withinSeconds: 0.3"
    scenario = load(write(("points: 3", f"points: 3{within}"), ("points: 1", f"points: 1{within}")))
    phase = run(scenario, lab, to_run=plan_for(scenario, lab, mistakes=False)).phases[1]
    assert phase.outcome is Outcome.PASS, phase.problem
    assert [check.attempts for check in phase.checks] == [1, 2]


def test_a_mistake_that_takes_effect_late_is_found(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    """The bouncer answers twice more after it was stopped."""
    decide, left = lab.api.decide, ["once", "twice"]

    def late(request: Request) -> Response | None:
        answer = decide(request)
        stopped = answer is not None and answer.message == lab.api.FAILED_CLOSED
        return lab.api.bouncer(request) if stopped and left and left.pop() else answer

    lab.api.decide = late
    phase = run(scenario, lab, pause=lambda _: None).phases[2]
    assert phase.outcome is Outcome.PASS, phase.problem
    assert not left


def test_a_mistake_that_gets_its_feedback_late_is_found(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    """Everything is let in twice more before the stopped bouncer is missed."""
    decide, left = lab.api.decide, ["once", "twice"]

    def late(request: Request) -> Response | None:
        answer = decide(request)
        stopped = answer is not None and answer.message == lab.api.FAILED_CLOSED
        return None if stopped and left and left.pop() else answer

    lab.api.decide = late
    phase = run(scenario, lab, pause=lambda _: None).phases[2]
    assert phase.outcome is Outcome.PASS, phase.problem
    assert not left


def test_a_mistake_that_gets_another_feedback_fails(
    write: Write, lab: FakeSnapshotCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.scenario.run.TAKES_HOLD_S", 0.1)
    phase = run(load(write(("feedback: not-asked", "feedback: let-in"))), lab).phases[2]
    assert phase.outcome is Outcome.FAIL
    assert phase.problem == "other-registry-denied gave the feedback not-asked, not let-in"


def test_a_mistake_whose_check_could_not_run_is_an_error(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    decide = lab.api.decide

    def silent(request: Request) -> Response | None:
        answer = decide(request)
        if answer is not None and answer.message == lab.api.FAILED_CLOSED:
            raise LabError("api-server-unreachable", "no answer", hint="see lab status")
        return answer

    lab.api.decide = silent
    phase = run(scenario, lab).phases[2]
    assert phase.outcome is Outcome.ERROR
    assert "api-server-unreachable" in phase.problem


def test_a_start_state_that_cannot_be_made_is_an_error_of_all_that_builds_on_it(
    scenario: Scenario, lab: FakeSnapshotCluster
) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise LabError("reset-failed", "etcd does not start", hint="see its log")

    lab.reset = broken  # type: ignore[method-assign]
    result = run(scenario, lab)
    assert [phase.outcome for phase in result.phases] == [Outcome.ERROR] * 3
    assert "etcd does not start" in result.phases[0].problem
    assert exit_code([result]) == 3


def test_what_a_backend_lacks_is_skipped_by_name(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    lab.capabilities = frozenset({Capability.AUDIT_LOG})
    result = run(scenario, lab)
    assert result.outcome is Outcome.SKIP
    assert result.skipped == "the backend embedded lacks node-files"
    assert lab.actions == []
    assert exit_code([result]) == 0


def test_without_snapshots_the_mistakes_are_skipped(scenario: Scenario, plain: FakeCluster) -> None:
    result = run_scenario(scenario, plain, transport=plain.api)
    assert plain.actions[0] == "up enforced+bouncer"
    assert result.phases[2].outcome is Outcome.SKIP
    assert result.phases[2].problem == "the backend kind cannot put the start state back"


def test_grading_runs_the_checks_only(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    result = run(scenario, lab, to_run=plan_for(scenario, lab, mode=Mode.CHECK))
    assert [phase.kind for phase in result.phases] == [PhaseKind.CHECK]
    assert lab.actions == []
    assert result.points == (1, 4)
    assert result.outcome is Outcome.FAIL


def test_what_only_a_replay_runs_is_not_graded(write: Write, lab: FakeSnapshotCluster) -> None:
    scenario = load(write(("points: 1", "points: 0\n    replayOnly: true")))
    replayed, graded = run(scenario, lab), run(scenario, lab, to_run=plan_for(scenario, lab, mode=Mode.CHECK))
    assert len(replayed.phases[1].checks) == len(graded.phases[0].checks) + 1
    assert graded.points == (0, 3)


def test_events_tell_what_happens_in_order(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    events: list[Event] = []
    run(scenario, lab, on_event=events.append)
    kinds = [event.kind for event in events]
    assert kinds[0] is EventKind.SCENARIO_STARTED
    assert kinds[-1] is EventKind.SCENARIO_FINISHED
    assert [event.phase for event in events if event.kind is EventKind.PHASE_FINISHED] == [
        "untouched",
        "solution",
        "mistake/bouncer-down",
    ]
    assert len([kind for kind in kinds if kind is EventKind.CHECK_FINISHED]) == 5


def test_a_failure_leaves_its_evidence(scenario: Scenario, lab: FakeSnapshotCluster, tmp_path: Path) -> None:
    lab.api.decide = lab.api.bouncer_down
    result = run(scenario, lab, bundles=tmp_path / "bundles")
    assert result.bundle is not None
    assert (result.bundle / "untouched" / "logs" / "kube-apiserver.log").read_text() == "log\n"
    probe = json.loads((result.bundle / "solution" / "probes" / "docker-hub-allowed.json").read_text())
    assert probe["status"]["message"] == lab.api.FAILED_CLOSED
    assert json.loads((result.bundle / "untouched" / "events.json").read_text()) == []
    assert json.loads((result.bundle / "untouched" / "result.json").read_text())["outcome"] == "fail"
    assert not list(result.bundle.rglob("missing.txt"))


def test_what_a_bundle_lacks_is_told_in_it(scenario: Scenario, lab: FakeSnapshotCluster, tmp_path: Path) -> None:
    def refuse(destination: Path) -> None:
        raise LabError("no-logs", "the node is gone", hint=f"nothing to put into {destination}")

    lab.api.decide = lab.api.bouncer_down
    lab.collect_logs = refuse  # type: ignore[method-assign]
    result = run(scenario, lab, bundles=tmp_path / "bundles")
    assert result.bundle is not None
    assert "the node is gone" in (result.bundle / "untouched" / "missing.txt").read_text()


def test_success_leaves_no_bundle(scenario: Scenario, lab: FakeSnapshotCluster, tmp_path: Path) -> None:
    assert run(scenario, lab, bundles=tmp_path / "bundles").bundle is None
    assert not (tmp_path / "bundles").exists()


START = """\
start:
  imagePolicy: enforced
  addons: [bouncer]
  files: [{path: /etc/x, content: hello, mode: "0600"}]
  manifests: [pod.yaml]
  scripts: [start.sh]
  waits: [{title: the file to be there, nodeFile: {path: /etc/x}}]
  captures: [{name: before, exec: {command: [uname]}, pattern: "(L.*)x"}]
"""


@pytest.fixture
def with_start(write: Write) -> Scenario:
    directory = write(("start:\n  imagePolicy: enforced\n  addons: [bouncer]\n", START))
    (directory / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n")
    (directory / "start.sh").write_text("prepare\n")
    return load(directory)


def answer_uname(argv: Sequence[str]) -> ExecResult | None:
    known = argv[0] == "uname"
    return ExecResult(argv=tuple(argv), exit_code=0, stdout="Linux\n", stderr="") if known else None


@pytest.fixture
def with_image(write: Write) -> Scenario:
    start = "start:\n  images: [python:3]\n  files: [{path: /etc/x, content: x}]\n"
    return load(write(("start:\n", start)))


def test_images_that_have_to_run_are_loaded_before_anything_else_is_made(
    with_image: Scenario, api: FakeApiServer, tmp_path: Path
) -> None:
    cluster = FakeLoadingCluster(api=api, home=tmp_path)
    steps: list[str] = []
    start_scenario(with_image, cluster, progress=steps.append, transport=cluster.api)
    assert cluster.actions == ["reset enforced+bouncer", "load python:3", "write /etc/x 644"]
    assert steps == ["reset", "loading"]


def test_a_backend_that_pulls_by_itself_is_not_asked_to_load(
    with_image: Scenario, cluster: FakeSnapshotCluster
) -> None:
    start_scenario(with_image, cluster, progress=print, transport=cluster.api)
    assert not any(action.startswith("load") for action in cluster.actions)


def test_the_start_state_is_made_in_the_order_of_the_file(with_start: Scenario, cluster: FakeSnapshotCluster) -> None:
    cluster.on_exec = answer_uname
    steps: list[str] = []
    captures = start_scenario(with_start, cluster, progress=steps.append, transport=cluster.api)
    assert captures == {"before": "Linu"}
    assert cluster.actions == ["reset enforced+bouncer", "write /etc/x 600", "exec prepare"]
    applied = [r for r in cluster.api.requests if r.content_type == "application/apply-patch+yaml"]
    assert applied[0].path.startswith("/api/v1/namespaces/default/pods/web?")
    assert steps == ["reset"]


def test_a_file_of_the_start_state_can_be_what_the_lab_has_pinned(
    write: Write, cluster: FakeSnapshotCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gatekeeper.yaml").write_text("kind: Namespace\n")
    monkeypatch.setattr(Components, "gatekeeper_manifest", lambda _components: tmp_path / "gatekeeper.yaml")
    files = "  addons: [bouncer]\n  files: [{path: /root/gatekeeper.yaml, component: gatekeeper-manifest}]\n"
    start_scenario(load(write(("  addons: [bouncer]\n", files))), cluster, progress=print, transport=cluster.api)
    assert cluster.files == {"/root/gatekeeper.yaml": b"kind: Namespace\n"}


@pytest.mark.parametrize(
    "denial",
    [
        (
            'admission webhook "validation.gatekeeper.sh" denied the request: missing ConstraintTemplate: '
            'template "x" not found'
        ),
        (
            'Internal error occurred: failed calling webhook "check-ignore-label.gatekeeper.sh": failed to call '
            "webhook: dial tcp 10.96.254.30:443: connect: connection reset by peer"
        ),
    ],
)
def test_a_start_manifest_is_applied_again_while_one_of_gatekeepers_pods_is_late(
    with_start: Scenario, cluster: FakeSnapshotCluster, monkeypatch: pytest.MonkeyPatch, denial: str
) -> None:
    answers = [cluster.api.status(denial), cluster.api.status(denial), cluster.api.reply({})]
    send = cluster.api.send

    def not_yet(request: Request) -> Response:
        return answers.pop(0) if request.method == "PATCH" else send(request)

    monkeypatch.setattr(cluster.api, "send", not_yet)
    cluster.on_exec = answer_uname
    start_scenario(with_start, cluster, progress=print, transport=cluster.api)
    assert answers == []


def test_a_start_manifest_that_is_denied_is_an_error_at_once(
    with_start: Scenario, cluster: FakeSnapshotCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [cluster.api.status("quota"), cluster.api.reply({})]
    send = cluster.api.send
    monkeypatch.setattr(cluster.api, "send", lambda r: answers.pop(0) if r.method == "PATCH" else send(r))
    with pytest.raises(LabError) as caught:
        start_scenario(with_start, cluster, progress=print, transport=cluster.api)
    assert caught.value.code == "apply-failed"
    assert len(answers) == 1


def test_a_capture_that_finds_nothing_is_an_error(with_start: Scenario, cluster: FakeSnapshotCluster) -> None:
    with pytest.raises(LabError) as caught:
        start_scenario(with_start, cluster, progress=print, transport=cluster.api)
    assert caught.value.code == "capture-failed"


def test_a_plan_is_made_before_anything_runs(scenario: Scenario) -> None:
    made = plan(scenario, backend="existing", capabilities=frozenset(), can_reset=False)
    assert made.phases == ()
    assert made.skip == "the backend existing lacks node-files"


@pytest.mark.parametrize("audited", [True, False])
def test_a_mistake_known_by_failing_open_is_skipped_where_nothing_tells_that(write: Write, *, audited: bool) -> None:
    scenario = load(write(("when: {decider: failed-closed}", 'when: {failedOpen: "."}')))
    capabilities = {Capability.NODE_FILES} | ({Capability.AUDIT_LOG} if audited else set())
    made = plan(scenario, backend="existing", capabilities=capabilities, can_reset=True)
    reason = "the backend existing lacks audit-log, which tells whether a decision point failed open"
    assert [phase.skip for phase in made.phases] == ["", "", "" if audited else reason]


@pytest.mark.parametrize(
    "start", ["addons: [gatekeeper]", "files: [{path: /root/g.yaml, component: gatekeeper-manifest}]"]
)
def test_what_somebody_elses_cluster_cannot_hold_is_skipped(write: Write, api: FakeApiServer, start: str) -> None:
    cluster = FakeGuestCluster(api=api)
    scenario = load(write(("  addons: [bouncer]\n", f"  {start}\n")))
    assert plan_for(scenario, cluster).skip == "Gatekeeper is there"
    assert cluster.actions == []


def test_a_guest_claims_what_only_one_can_have_before_each_start_state(scenario: Scenario, api: FakeApiServer) -> None:
    cluster = FakeGuestCluster(api=api)
    start_scenario(scenario, cluster, progress=print, transport=api)
    assert cluster.actions[:2] == ["claim for enforced+bouncer", "reset enforced+bouncer"]


def test_what_is_raised_in_a_pause_ends_the_run(scenario: Scenario, lab: FakeSnapshotCluster) -> None:
    """Whoever replays several scenarios at a time ends them so; an error of the lab would be a result."""

    class EndError(BaseException):
        pass

    def pause(_seconds: float) -> None:
        raise EndError

    lab.api.audited = False  # so that the event of a request is waited for
    with pytest.raises(EndError):
        run(scenario, lab, pause=pause)
