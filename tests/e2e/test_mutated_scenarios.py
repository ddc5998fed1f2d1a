"""A scenario that says something untrue is caught on a real cluster: FAIL or ERROR as appropriate, never PASS.

Each test takes a real scenario and changes it in one place. Where the change is in what is expected, the cluster is one
on which the unchanged scenario has just passed, so that what is found is the change; and as it only looks, several of
them share that cluster.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.paths import LabPaths
from lab.scenario.load import load
from lab.scenario.plan import Mode
from lab.scenario.result import Outcome
from lab.scenario.run import plan_for, run_scenario, start_scenario
from lab.testing.scenarios import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import Cluster
    from lab.scenario.result import CheckResult, ScenarioResult

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FAIL_CLOSED = "imagepolicy/imagepolicy-fail-closed"
ENABLE = "imagepolicy/imagepolicy-enable"
NO_BOUNCER = """
until kubectl scale deployment image-bouncer-webhook --replicas=0; do sleep 0.1; done
until pods=$(kubectl get pods -l app=image-bouncer-webhook -o name) && [ -z "$pods" ]; do sleep 0.1; done
"""

pytestmark = [pytest.mark.thorough, pytest.mark.lab_changes, pytest.mark.lab_state("any")]


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        return Path(shutil.copytree(SCENARIOS / name, tmp_path / name))

    return make


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
    file.write_text(text.replace(old, new))


def _run(
    directory: Path,
    cluster: Cluster,
    name: str,
    *,
    fresh: bool = False,
    patience_s: float = math.inf,
    bundles: Path | None = None,
) -> ScenarioResult:
    """Run one phase, from a fresh start state or on the cluster as it is; ``patience_s`` where nothing will change."""
    scenario = load(directory)
    whole = plan_for(scenario, cluster)
    (wanted,) = (replace(phase, fresh=fresh) for phase in whole.phases if phase.name == name)
    return run_scenario(
        scenario,
        cluster,
        to_run=replace(whole, phases=(wanted,)),
        patience_s=patience_s,
        passed_after_s={check.id: patience_s for check in scenario.document.checks},
        bundles=bundles,
    )


def _grade(directory: Path, cluster: Cluster) -> ScenarioResult:
    """Run the checks on the cluster as it is, each once."""
    scenario = load(directory)
    return run_scenario(scenario, cluster, to_run=plan_for(scenario, cluster, mode=Mode.CHECK), patience_s=0.0)


@pytest.fixture(scope="class")
def solved(request: pytest.FixtureRequest, lab_cluster: Cluster) -> ScenarioResult:
    """What came of the unchanged solution of the class's scenario; if it failed, the evidence is left."""
    assert request.cls is not None
    bundles = LabPaths.from_environment().state / "bundles"
    return _run(SCENARIOS / request.cls.scenario, lab_cluster, "solution", fresh=True, bundles=bundles)


@pytest.fixture
def directory(request: pytest.FixtureRequest, solved: ScenarioResult, copy: Callable[[str], Path]) -> Path:
    """The class's scenario, to be changed, in a lab where it was solved."""
    assert request.cls is not None
    assert solved.outcome is Outcome.PASS, explain(solved)
    return copy(request.cls.scenario)


@pytest.fixture(scope="class")
def _untouched(lab_cluster: Cluster) -> None:
    start_scenario(load(SCENARIOS / FAIL_CLOSED), lab_cluster, progress=lambda _: None)


def _caught(result: ScenarioResult, check_id: str) -> CheckResult:
    """The check that must have failed, and the phase with it."""
    (phase,) = result.phases
    checks = {check.id: check for check in phase.checks}
    assert check_id in checks, explain(result)
    assert checks[check_id].outcome is Outcome.FAIL, explain(result)
    assert phase.outcome in (Outcome.FAIL, Outcome.ERROR), explain(result)
    return checks[check_id]


@pytest.mark.xdist_group("mutated-fail-closed")
class TestSolved:
    """What is expected of a cluster on which the scenario was solved."""

    scenario = FAIL_CLOSED

    def test_unchanged_it_passes(self, solved: ScenarioResult) -> None:
        assert solved.outcome is Outcome.PASS, explain(solved)

    def test_another_decider(self, directory: Path, lab_cluster: Cluster) -> None:
        old, new = "image-policy-failed-closed", "image-policy-backend"
        _replace(
            directory / "scenario.yaml",
            f"decider: {old}\n        messagePattern",
            f"decider: {new}\n        messagePattern",
        )
        check = _caught(_grade(directory, lab_cluster), "fails-closed")
        assert [(m.what, m.expected, m.actual) for m in check.mismatches] == [("decider", new, old)]

    def test_another_message(self, directory: Path, lab_cluster: Cluster) -> None:
        _replace(directory / "scenario.yaml", "no such host", "no such house")
        check = _caught(_grade(directory, lab_cluster), "fails-closed")
        assert [mismatch.what for mismatch in check.mismatches] == ["message"]


@pytest.mark.xdist_group("mutated-enable")
class TestSolvedWithABouncer:
    """The same, where a bouncer decides."""

    scenario = ENABLE

    def test_unchanged_it_passes(self, solved: ScenarioResult) -> None:
        assert solved.outcome is Outcome.PASS, explain(solved)

    def test_an_allowed_case_that_is_denied(self, directory: Path, lab_cluster: Cluster) -> None:
        _replace(directory / "scenario.yaml", "image: docker.io/library/nginx", "image: quay.io/library/nginx")
        check = _caught(_grade(directory, lab_cluster), "docker-hub-allowed")
        assert {"verdict", "decider"} <= {mismatch.what for mismatch in check.mismatches}

    def test_a_denied_case_that_is_allowed(self, directory: Path, lab_cluster: Cluster) -> None:
        scenario = directory / "scenario.yaml"
        text = scenario.read_text()
        scenario.write_text(text.replace("gcr.io/google-containers/busybox:1.27", "docker.io/busybox:1.28"))
        check = _caught(_grade(directory, lab_cluster), "other-registry-denied")
        assert "verdict" in {mismatch.what for mismatch in check.mismatches}

    def test_a_bouncer_that_is_down_where_it_should_deny(self, directory: Path, lab_cluster: Cluster) -> None:
        """The last one here: it leaves no bouncer."""
        down = lab_cluster.node_exec(["sh", "-c", NO_BOUNCER])
        assert down.exit_code == 0, down.stderr
        result = _grade(directory, lab_cluster)
        denied = _caught(result, "other-registry-denied")
        assert ("decider", "image-policy-failed-closed") in {(m.what, m.actual) for m in denied.mismatches}
        _caught(result, "docker-hub-allowed")


@pytest.mark.xdist_group("mutated-fail-closed")
@pytest.mark.usefixtures("_untouched")
class TestUntouched:
    """What a solution does, or does not do, to a start state."""

    def test_a_solution_that_cannot_run(self, copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
        directory = copy(FAIL_CLOSED)
        (directory / "solution.sh").write_text("no-such-command\n")
        result = _run(directory, lab_cluster, "solution")
        assert result.outcome is Outcome.ERROR, explain(result)
        assert "no-such-command" in result.phases[0].problem

    def test_a_solution_that_does_nothing(self, copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
        directory = copy(FAIL_CLOSED)
        (directory / "solution.sh").write_text("true\n")
        _caught(_run(directory, lab_cluster, "solution", patience_s=0.0), "fails-closed")

    def test_a_mistake_that_is_none(self, copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
        """The last one here: it leaves the task solved."""
        directory = copy(FAIL_CLOSED)
        shutil.copy(directory / "solution.sh", directory / "mistakes/still-open.sh")
        result = _run(directory, lab_cluster, "mistake/still-open")
        assert result.outcome is Outcome.FAIL, explain(result)
        assert "passes in spite of the mistake" in result.phases[0].problem


@pytest.mark.xdist_group("mutated-fail-closed")
def test_a_start_state_that_solves_the_task(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    _replace(directory / "scenario.yaml", "  imagePolicy: open\n", "  imagePolicy: open\n  scripts: [solution.sh]\n")
    result = _run(directory, lab_cluster, "untouched", fresh=True)
    assert result.outcome is Outcome.FAIL, explain(result)
    assert "fails-closed must fail in the untouched state" in result.phases[0].problem


@pytest.mark.xdist_group("mutated-fail-closed")
def test_a_mistake_with_other_feedback(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    shutil.copy(directory / "mistakes/old-address.sh", directory / "mistakes/still-open.sh")
    result = _run(directory, lab_cluster, "mistake/still-open", fresh=True, patience_s=0.0)
    assert result.outcome is Outcome.FAIL, explain(result)
    assert "other-address" in result.phases[0].problem
