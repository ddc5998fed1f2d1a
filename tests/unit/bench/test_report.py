from __future__ import annotations

import json

import click
import pytest

from lab.bench.machine import Machine
from lab.bench.memory import Footprint, alone
from lab.bench.rendering import amount, render
from lab.bench.report import BenchReport, Peer, Row, Target
from lab.bench.series import Series, take_turns

MACHINE = Machine(system="Debian", kernel="6.1", cores=2, memory_bytes=24 * 2**30, load_before=0.1, load_after=2.0)


def seconds(*values: float) -> Series:
    return Series(unit="s", values=values)


def row(*values: float, peer: tuple[float, ...] = (), target: Target) -> Row:
    other = Peer(name="the peer", figures=seconds(*peer)) if peer else Peer(name="the peer", missing="no Docker")
    return Row(measurement="up", what="lab up", figures=seconds(*values), peer=other, target=target)


def report(*rows: Row, machine: Machine = MACHINE) -> BenchReport:
    return BenchReport(started="2026-11-21T00:00:00Z", rounds=3, machine=machine, rows=rows)


def test_a_series_has_median_least_and_greatest() -> None:
    series = seconds(3.0, 1.0, 8.0)

    assert (series.median, series.minimum, series.maximum) == (3.0, 1.0, 8.0)
    assert seconds(1.0, 2.0).median == 1.5


def test_ratios_are_of_the_same_round_so_their_median_is_not_that_of_the_medians() -> None:
    measured = row(2.0, 9.0, 4.0, peer=(1.0, 10.0, 8.0), target=Target(ratio=1.0))

    assert measured.ratios == (2.0, 0.9, 0.5)
    assert measured.ratio == 0.9
    assert measured.met is True


def test_series_of_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        seconds(1.0, 2.0).ratios(seconds(1.0))


@pytest.mark.parametrize(
    ("measured", "met"),
    [
        (row(1.5, peer=(1.0,), target=Target(ratio=1.5)), True),
        (row(1.6, peer=(1.0,), target=Target(ratio=1.5)), False),
        (row(1.0, target=Target(ratio=1.5)), None),
        (row(2.0, target=Target(value=2.0)), True),
        (row(2.1, target=Target(value=2.0)), False),
        (row(2.1, target=Target()), None),
    ],
)
def test_a_target_is_met_missed_or_open(measured: Row, *, met: bool | None) -> None:
    assert measured.met is met


def test_what_was_not_measured_has_its_reason_in_place_of_figures() -> None:
    skipped = Row(measurement="up-kind", what="lab up on kind", missing="no Docker", target=Target(ratio=1.2))

    lines = render(report(skipped, row(1.0, target=Target(value=2.0))), width=None)
    document = report(skipped).as_json()["rows"][0]

    assert "not measured" in lines[1]
    assert "open" in lines[1]
    assert "lab up on kind: not measured here: no Docker" in lines
    assert (document["figures"], document["missing"], document["met"]) == (None, "no Docker", None)


def test_turns_are_taken_in_the_same_order_each_round() -> None:
    calls: list[str] = []

    def action(name: str, value: float) -> float:
        calls.append(name)
        return value

    taken = take_turns({"a": lambda: action("a", 1.0), "b": lambda: action("b", 2.0)}, rounds=3)

    assert calls == ["a", "b"] * 3
    assert {name: series.values for name, series in taken.items()} == {"a": (1.0,) * 3, "b": (2.0,) * 3}


def test_the_table_tells_figures_peer_ratio_target_and_verdict() -> None:
    measured = row(3.0, 5.0, 4.0, peer=(2.0, 2.0, 2.0), target=Target(ratio=1.0))

    lines = [click.unstyle(line) for line in render(report(measured), width=None)]

    assert lines[1].split("  ") == [
        "lab up", "4.00 s", "3.00 s - 5.00 s", "2.00 s", "2.00 (1.50 - 2.50)", "ratio <= 1", "missed",
    ]  # fmt: skip
    assert "peer of lab up: the peer (in the same rounds)" in lines
    assert lines[-1] == (
        "3 rounds, 2026-11-21T00:00:00Z, 2 cores, 24 GiB, Debian, Linux 6.1; load 0.1 before, 2.0 after"
    )


def test_a_peer_that_was_not_measured_is_told_with_the_reason() -> None:
    lines = [click.unstyle(line) for line in render(report(row(3.0, target=Target(ratio=1.0))), width=None)]

    assert lines[1].endswith("not measured  -      ratio <= 1  open")
    assert "peer of lab up: the peer (not measured here: no Docker)" in lines


def test_parts_and_notes_follow_the_table() -> None:
    measured = Row(
        measurement="memory", what="idle", figures=Series(unit="bytes", values=(472e6,)), target=Target(value=700e6),
        parts=(("etcd", 33e6),), notes=("mind this",),
    )  # fmt: skip

    lines = [click.unstyle(line) for line in render(report(measured), width=None)]

    assert "<= 700 MB" in lines[1]
    assert lines[lines.index("idle:") + 1].split() == ["etcd", "33", "MB"]
    assert "note: idle: mind this" in lines


def test_a_busy_machine_is_told() -> None:
    busy = Machine(system="Debian", kernel="6.1", cores=2, memory_bytes=1, load_before=1.1, load_after=2.0)

    assert "others were using" in render(report(row(1.0, target=Target()), machine=busy), width=None)[-1]
    assert "others were using" not in "\n".join(render(report(row(1.0, target=Target())), width=None))


@pytest.mark.parametrize(
    ("value", "unit", "text"), [(0.0834, "s", "0.08 s"), (3.405, "s", "3.40 s"), (471.6e6, "bytes", "472 MB")]
)
def test_amounts_have_their_unit(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_json_has_every_figure_unrounded() -> None:
    measured = row(3.0, 5.5, peer=(2.0, 2.0), target=Target(ratio=1.0))

    document = json.loads(json.dumps(report(measured, row(1.0, target=Target(value=2.0))).as_json()))

    assert document["format"] == 1
    assert document["machine"]["load_before"] == 0.1
    first, second = document["rows"]
    assert first["figures"] == {"median": 4.25, "min": 3.0, "max": 5.5, "values": [3.0, 5.5]}
    assert first["peer"]["figures"]["values"] == [2.0, 2.0]
    assert (first["ratios"], first["ratio"], first["met"]) == ([1.5, 2.75], 2.125, False)
    assert second["peer"] == {"name": "the peer", "figures": None, "missing": "no Docker"}
    assert second["target"] == {"ratio": None, "value": 2.0}


def test_files_of_one_program_are_counted_once() -> None:
    manager, etcd = (1, 10), (1, 20)

    assert (
        alone(
            [
                Footprint(program=manager, own=5, file=30),
                Footprint(program=manager, own=6, file=40),
                Footprint(program=etcd, own=7, file=20),
            ]
        )
        == (5 + 6 + 7) + 40 + 20
    )
