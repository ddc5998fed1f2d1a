"""A scenario that says something untrue is caught on a real cluster: FAIL or ERROR as appropriate, never PASS.

Each test runs the solution of a real scenario, changed in one place. The first one runs it unchanged, so that what
the others find is the change.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.scenario.load import load
from lab.scenario.result import Outcome, PhaseKind
from lab.scenario.run import plan_for, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import Cluster
    from lab.scenario.result import CheckResult, PhaseResult

    Mutate = Callable[[Path, str, str], None]

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FAIL_CLOSED = "imagepolicy/imagepolicy-fail-closed"
ENABLE = "imagepolicy/imagepolicy-enable"

pytestmark = [pytest.mark.lab_changes, pytest.mark.lab_state("any")]


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        return Path(shutil.copytree(SCENARIOS / name, tmp_path / name))

    return make


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
    file.write_text(text.replace(old, new))


def _run(directory: Path, cluster: Cluster, name: str) -> PhaseResult:
    """Run one phase from a fresh start state."""
    scenario = load(directory)
    whole = plan_for(scenario, cluster)
    (wanted,) = (replace(phase, fresh=True) for phase in whole.phases if phase.name == name)
    (result,) = run_scenario(scenario, cluster, to_run=replace(whole, phases=(wanted,))).phases
    return result


def _solve(directory: Path, cluster: Cluster) -> dict[str, CheckResult]:
    """Run the solution; the checks by their ids."""
    solution = _run(directory, cluster, "solution")
    assert solution.kind is PhaseKind.SOLUTION
    assert solution.checks, solution.problem
    checks = {check.id: check for check in solution.checks}
    assert all(check.outcome is Outcome.PASS for check in checks.values()) == (solution.outcome is Outcome.PASS)
    return checks


@pytest.mark.parametrize("name", [FAIL_CLOSED, ENABLE])
def test_unchanged_they_pass(copy: Callable[[str], Path], lab_cluster: Cluster, name: str) -> None:
    checks = _solve(copy(name), lab_cluster)
    assert {check.outcome for check in checks.values()} == {Outcome.PASS}


def test_another_decider(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    old, new = "image-policy-failed-closed", "image-policy-backend"
    _replace(
        directory / "scenario.yaml",
        f"decider: {old}\n        messagePattern",
        f"decider: {new}\n        messagePattern",
    )
    check = _solve(directory, lab_cluster)["fails-closed"]
    assert check.outcome is Outcome.FAIL
    assert [(m.what, m.expected, m.actual) for m in check.mismatches] == [("decider", new, old)]


def test_another_message(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    _replace(directory / "scenario.yaml", "no such host", "no such house")
    check = _solve(directory, lab_cluster)["fails-closed"]
    assert check.outcome is Outcome.FAIL
    assert [mismatch.what for mismatch in check.mismatches] == ["message"]


def test_an_allowed_case_that_is_denied(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(ENABLE)
    _replace(directory / "scenario.yaml", "image: docker.io/library/nginx", "image: quay.io/library/nginx")
    check = _solve(directory, lab_cluster)["docker-hub-allowed"]
    assert check.outcome is Outcome.FAIL
    assert {"verdict", "decider"} <= {mismatch.what for mismatch in check.mismatches}


def test_a_denied_case_that_is_allowed(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(ENABLE)
    scenario = directory / "scenario.yaml"
    scenario.write_text(scenario.read_text().replace("gcr.io/google-containers/busybox:1.27", "docker.io/busybox:1.28"))
    check = _solve(directory, lab_cluster)["other-registry-denied"]
    assert check.outcome is Outcome.FAIL
    assert "verdict" in {mismatch.what for mismatch in check.mismatches}


def test_a_bouncer_that_is_down_where_it_should_deny(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(ENABLE)
    with (directory / "solution.sh").open("a") as solution:
        solution.write(
            "\nuntil kubectl scale deployment image-bouncer-webhook --replicas=0; do sleep 0.1; done\n"
            'until pods=$(kubectl get pods -l app=image-bouncer-webhook -o name) && [ -z "$pods" ]\n'
            "do sleep 0.1; done\n"
        )
    checks = _solve(directory, lab_cluster)
    denied, allowed = checks["other-registry-denied"], checks["docker-hub-allowed"]
    assert denied.outcome is Outcome.FAIL
    assert ("decider", "image-policy-failed-closed") in {(m.what, m.actual) for m in denied.mismatches}
    assert allowed.outcome is Outcome.FAIL


def test_a_solution_that_does_nothing(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    (directory / "solution.sh").write_text("true\n")
    assert _solve(directory, lab_cluster)["fails-closed"].outcome is Outcome.FAIL


def test_a_solution_that_cannot_run(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    (directory / "solution.sh").write_text("no-such-command\n")
    solution = _run(directory, lab_cluster, "solution")
    assert solution.outcome is Outcome.ERROR
    assert "no-such-command" in solution.problem


def test_a_start_state_that_solves_the_task(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    _replace(directory / "scenario.yaml", "  imagePolicy: open\n", "  imagePolicy: open\n  scripts: [solution.sh]\n")
    untouched = _run(directory, lab_cluster, "untouched")
    assert untouched.outcome is Outcome.FAIL


def test_a_mistake_that_is_none(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    shutil.copy(directory / "solution.sh", directory / "mistakes/still-open.sh")
    mistake = _run(directory, lab_cluster, "mistake/still-open")
    assert mistake.outcome is Outcome.FAIL


def test_a_mistake_with_other_feedback(copy: Callable[[str], Path], lab_cluster: Cluster) -> None:
    directory = copy(FAIL_CLOSED)
    shutil.copy(directory / "mistakes/old-address.sh", directory / "mistakes/still-open.sh")
    mistake = _run(directory, lab_cluster, "mistake/still-open")
    assert mistake.outcome is Outcome.FAIL
    assert "other-address" in mistake.problem
