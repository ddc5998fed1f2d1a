from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lab.bench import cli
from lab.bench.machine import describe
from lab.bench.report import BenchReport, Row, Target
from lab.bench.series import Series

if TYPE_CHECKING:
    from lab.bench.measurements import Measurement


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """What was to be measured, and how often; the figure misses its target."""
    asked: list[tuple[list[str], int]] = []

    def run_bench(chosen: list[Measurement], *, rounds: int) -> BenchReport:
        asked.append(([each.value for each in chosen], rounds))
        row = Row(measurement="edit", what="edited", figures=Series(unit="s", values=(3.0,)), target=Target(value=2.0))
        return BenchReport(started="2026-11-21T00:00:00Z", rounds=rounds, machine=describe(), rows=(row,))

    monkeypatch.setattr(cli, "run_bench", run_bench)
    return asked


def test_everything_is_measured_three_times_unless_told_otherwise(asked: list[tuple[list[str], int]]) -> None:
    CliRunner().invoke(cli.bench_command, [], catch_exceptions=False)
    CliRunner().invoke(cli.bench_command, ["reset", "up", "-n", "7"], catch_exceptions=False)

    everything = ["help", "up", "up-kind", "start", "check", "edit", "reset", "memory"]
    assert asked == [(everything, 3), (["reset", "up"], 7)]


def test_a_missed_target_is_reported_and_no_error(asked: list[tuple[list[str], int]]) -> None:
    result = CliRunner().invoke(cli.bench_command, ["edit"], catch_exceptions=False)

    assert asked
    assert result.exit_code == 0
    assert "missed" in result.stdout


def test_json_is_all_that_is_printed(asked: list[tuple[list[str], int]]) -> None:
    result = CliRunner().invoke(cli.bench_command, ["--json"], catch_exceptions=False)

    assert asked
    document = json.loads(result.stdout)
    assert document["rows"][0]["met"] is False
    assert document["machine"]["cores"] >= 1


@pytest.mark.parametrize("arguments", [["speed"], ["-n", "0"], ["-n", "101"]])
def test_wrong_usage_measures_nothing(asked: list[tuple[list[str], int]], arguments: list[str]) -> None:
    assert CliRunner().invoke(cli.bench_command, arguments).exit_code == 2
    assert asked == []
