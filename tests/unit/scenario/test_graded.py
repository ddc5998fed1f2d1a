"""What a person did is graded: at once, once the API server has come to rest, and with no start state put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from lab.cluster.protocol import ExecResult
from lab.scenario.checks import run_wait
from lab.scenario.load import load
from lab.scenario.plan import Mode
from lab.scenario.result import Outcome
from lab.scenario.run import plan_for, run_scenario, start_scenario
from lab.scenario.schema.scenario import Wait

if TYPE_CHECKING:
    from lab.cluster.protocol import ApiServerStatus
    from lab.scenario.load import Scenario
    from lab.scenario.result import CheckResult
    from lab.scenario.sighting import Context
    from tests.unit.scenario.conftest import Clock, FakeSnapshotCluster, Write

PATIENT = ("    points: 3\n", "    points: 3\n    withinSeconds: 600\n")


def graded(scenario: Scenario, cluster: FakeSnapshotCluster, *, patience_s: float) -> CheckResult:
    """The check that fails, of a phase that grades."""
    to_run = plan_for(scenario, cluster, mode=Mode.CHECK)
    result = run_scenario(scenario, cluster, to_run=to_run, patience_s=patience_s, transport=cluster.api)
    return result.phases[0].checks[0]


@pytest.mark.parametrize(("patience_s", "attempts"), [(0.0, 1), (0.15, 2)])
def test_who_is_graded_does_not_wait_as_long_as_the_scenario_would(
    write: Write, cluster: FakeSnapshotCluster, patience_s: float, attempts: int
) -> None:
    check = graded(load(write(PATIENT)), cluster, patience_s=patience_s)

    assert (check.outcome, check.attempts) == (Outcome.FAIL, attempts)


def test_patience_makes_no_check_wait_that_need_not(scenario: Scenario, cluster: FakeSnapshotCluster) -> None:
    assert graded(scenario, cluster, patience_s=600.0).attempts == 1


def test_grading_begins_when_the_api_server_runs_what_its_manifest_says(
    scenario: Scenario, cluster: FakeSnapshotCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def come_to_rest(*, timeout_s: float) -> ApiServerStatus:
        assert timeout_s > 0
        begun.append(len(cluster.api.sent_probes()))
        return cluster.status().api_server

    monkeypatch.setattr(cluster, "wait_api_server", come_to_rest)
    graded(scenario, cluster, patience_s=0.0)

    assert begun == [0]
    assert cluster.api.sent_probes()


def test_a_lab_that_just_came_up_in_the_start_state_is_not_put_back(
    scenario: Scenario, cluster: FakeSnapshotCluster
) -> None:
    start_scenario(scenario, cluster, progress=lambda _: None, fresh=True, transport=cluster.api)
    assert cluster.actions == []
    start_scenario(scenario, cluster, progress=lambda _: None, transport=cluster.api)
    assert cluster.actions == ["reset enforced+bouncer"]


def test_a_condition_of_the_start_state_is_noticed_soon_after_it_has_come_true(context: Context, clock: Clock) -> None:
    wait = Wait.model_validate_json('{"title": "it", "exec": {"command": ["true"]}, "timeoutSeconds": 60}')
    cluster = cast("FakeSnapshotCluster", context.cluster)
    cluster.on_exec = lambda argv: ExecResult(argv=tuple(argv), exit_code=int(clock() < 10.0), stdout="", stderr="")
    run_wait(wait, context)

    assert 10.0 <= clock() <= 10.25
