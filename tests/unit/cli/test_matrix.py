"""The command ``lab matrix``: what is chosen, in which labs, which reports, which exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.matrix.measure import Measured
from lab.matrix.model import Cell, Finding
from lab.scenario.result import Observed, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lab.matrix.model import Row
    from lab.scenario.load import Scenario
    from lab.scenario.run import Event
    from tests.unit.cli.conftest import FakeCluster, Lab, Labs


class Engine:
    """Stands in for the measuring: everything comes in, unless the test says that it is not known."""

    def __init__(self) -> None:
        self.measured: list[tuple[str, str, bool]] = []
        self.rows: Sequence[Row] = ()
        self.finding = Finding.CAME_IN

    def measure(
        self,
        scenario: Scenario,
        rows: Sequence[Row],
        cluster: FakeCluster,
        *,
        fresh: bool,
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> Measured:
        del on_event, pause
        self.measured.append((scenario.name, cluster.name, fresh))
        self.rows = rows
        observed = Observed(
            verdict=Verdict.ALLOWED, deciders=frozenset({"nobody"}), message="", reason="", http_status=201
        )
        cells = [
            Cell(row=row, point=scenario.name, finding=self.finding, request="kubectl", observed=observed, problem="?")
            for row in rows
        ]
        return Measured(cells=tuple(cells), kubernetes="v1.37.0")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr("lab.matrix.measure.measure", made.measure)
    return made


def test_all_is_measured_in_labs_of_its_own_that_are_removed(run: Lab, engine: Engine, labs: Labs) -> None:
    result = run("matrix", "--workers", "1")
    assert result.exit_code == 0, result.stderr
    assert sorted(name for name, _, _ in engine.measured) == [
        "admission-policy",
        "gatekeeper-course",
        "gatekeeper-full",
        "image-policy",
        "none",
        "webhook-full",
        "webhook-pods",
    ]
    assert len(engine.rows) == 33
    (cluster,) = labs.clusters.values()
    assert cluster.name.startswith("matrix-")
    assert cluster.calls == [("up", "off"), ("down",)]
    assert [fresh for _, _, fresh in engine.measured] == [True] + [False] * 6
    assert "231 requests on embedded, Kubernetes v1.37.0" in result.stdout


def test_a_part_is_measured_in_the_order_of_the_table(run: Lab, engine: Engine) -> None:
    result = run(
        "matrix", "--workers", "1", "--point", "webhook-pods", "--point", "none", "--kind", "job", "--kind", "Pod"
    )
    assert result.exit_code == 0, result.stderr
    assert [name for name, _, _ in engine.measured] == ["none", "webhook-pods"]
    assert [row.workload for row in engine.rows] == ["Pod"] * 9 + ["Job"] * 8


def test_two_labs_are_made_for_two_workers_and_no_more_than_there_is_to_do(
    run: Lab, engine: Engine, labs: Labs
) -> None:
    run("matrix", "--workers", "2", "--kind", "Pod")
    assert len(labs.clusters) == 2
    labs.clusters.clear()
    run("matrix", "--workers", "2", "--point", "none")
    assert len(labs.clusters) == 1
    assert {name for name, _, _ in engine.measured} >= {"none"}


def test_a_running_lab_is_used_and_stays(run: Lab, engine: Engine, labs: Labs) -> None:
    lab = labs.add("mine", phase="running")
    assert run("matrix", "--name", "mine", "--point", "none", "--kind", "Pod").exit_code == 0
    assert engine.measured == [("none", "mine", False)]
    assert lab.calls == []


def test_the_reports_are_written(run: Lab, engine: Engine, tmp_path: Path) -> None:
    page, report = tmp_path / "a" / "matrix.html", tmp_path / "b" / "matrix.json"
    result = run("matrix", "--point", "none", "--kind", "Pod", "--html", str(page), "--json", str(report))
    assert result.exit_code == 0, result.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert len(json.loads(report.read_text())["cells"]) == len(engine.rows) == 9


def test_a_cell_that_is_not_known_ends_with_3(run: Lab, engine: Engine) -> None:
    engine.finding = Finding.UNKNOWN
    assert run("matrix", "--point", "none", "--kind", "Pod").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--point", "nobody"), "there is no decision point 'nobody'"),
        (("--kind", "DaemonSet"), "the matrix has no kind 'DaemonSet'"),
        (("--name", "mine", "--workers", "2"), "--workers 2 needs 2 labs"),
    ],
)
def test_what_there_is_not_is_bad_input(
    run: Lab, engine: Engine, labs: Labs, arguments: tuple[str, ...], says: str
) -> None:
    result = run("matrix", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert engine.measured == []
    assert labs.clusters == {}


def test_a_backend_that_cannot_put_back_is_told_before_anything_is_made(run: Lab, engine: Engine, labs: Labs) -> None:
    lab = labs.add("mine", can_reset=False)
    result = run("matrix", "--name", "mine")
    assert result.exit_code == 2
    assert "[matrix-needs-reset]" in result.stderr
    assert engine.measured == []
    assert lab.calls == []
