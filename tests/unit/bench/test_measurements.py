from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest

from lab.bench.measurements import PRACTISED, Measurement, measure
from lab.bench.memory import MemorySample
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.bench.report import Row
    from tests.unit.bench.conftest import Lab

UP = "up enforced+bouncer"
UP_ON_KIND, DOWN_ON_KIND = f"{UP} on kind", "down on kind"
UP_WITH_GATEKEEPER = "up enforced+bouncer+gatekeeper"


def values(row: Row) -> tuple[float, ...]:
    assert row.figures is not None
    return row.figures.values


def test_the_lab_and_its_peer_take_turns_after_a_start_that_is_not_measured(lab: Lab) -> None:
    lab.subject.takes[UP] = deque([9.0, 3.0, 5.0])

    beside_kwokctl, beside_kind, *others = measure(lab.bench, [Measurement.UP])

    assert lab.calls == [UP, "down", UP, "down", "kwokctl", UP, "down", "kwokctl"]
    assert values(beside_kwokctl) == (3.0, 5.0)
    assert beside_kwokctl.ratios == (1.5, 2.5)
    assert beside_kwokctl.met is False
    assert beside_kind.peer is not None
    assert (beside_kind.peer.figures, beside_kind.peer.missing) == (None, "no Docker")
    assert [row.met for row in (beside_kind, *others)] == [None] * 3


def test_kind_takes_its_turn_where_docker_runs_bare_and_as_far_as_the_lab_goes(lab: Lab) -> None:
    lab.kind.why_missing = lab.kind_working.why_missing = ""
    lab.on_kind.takes[UP] = deque([30.0, 8.0, 16.0])

    _, beside_kind, _, beside_a_lab_on_kind = measure(lab.bench, [Measurement.UP])

    assert lab.calls[2:4] == [UP_ON_KIND, DOWN_ON_KIND]
    assert lab.calls[4:] == [UP, "down", "kwokctl", "kind --wait", "kind until ready", UP_ON_KIND, DOWN_ON_KIND] * 2
    assert beside_kind.ratio == 0.5
    assert beside_kind.met is False  # the target is an eighth
    assert beside_a_lab_on_kind.ratios == (1 / 8, 1 / 16)
    assert beside_a_lab_on_kind.met is True


def test_a_lab_on_kind_takes_turns_with_kind_alone(lab: Lab) -> None:
    lab.kind.why_missing = ""
    lab.on_kind.takes[UP] = deque([30.0, 2.2, 2.0])

    beside_bare, beside_ready = measure(lab.bench, [Measurement.UP_KIND])

    turn = [UP_ON_KIND, DOWN_ON_KIND]
    assert lab.calls == [*turn, *[*turn, "kind", "kind --wait"] * 2]
    assert beside_bare.ratios == beside_ready.ratios == (1.1, 1.0)
    assert beside_bare.met is True
    assert [row.peer.name for row in (beside_bare, beside_ready) if row.peer] == ["kind", "kind --wait"]


def test_a_lab_on_kind_is_left_out_with_the_reason_where_there_is_no_docker(lab: Lab) -> None:
    (row,) = measure(lab.bench, [Measurement.UP_KIND])

    assert lab.calls == []
    assert (row.figures, row.missing, row.ratio, row.met) == (None, "no Docker", None, None)


def test_nothing_stands_in_for_a_peer_that_is_not_there(lab: Lab) -> None:
    lab.kwokctl.why_missing = "not in the store: kwokctl"

    rows = measure(lab.bench, [Measurement.UP])

    assert [(row.ratio, row.met) for row in rows] == [(None, None)] * 4


def test_edit_reset_and_memory_share_a_lab_for_each_state(lab: Lab) -> None:
    measure(lab.bench, [Measurement.EDIT, Measurement.RESET, Measurement.MEMORY])

    turns = ["reset", "restart"]
    assert lab.calls == [
        UP, "settle", *["memory"] * 2, *["edit"] * 2, *turns * 2, "down",
        UP_WITH_GATEKEEPER, "settle", *["memory"] * 2, *[*turns, "gatekeeper enforced+bouncer+gatekeeper"] * 2, "down",
    ]  # fmt: skip


def test_an_edit_alone_needs_no_gatekeeper(lab: Lab) -> None:
    (row,) = measure(lab.bench, [Measurement.EDIT])

    assert lab.calls == [UP, "edit", "edit", "down"]
    assert row.peer is not None
    assert row.peer.missing == "no Docker"
    assert row.met is True


def test_an_edit_takes_turns_with_one_on_kind(lab: Lab) -> None:
    lab.kind.why_missing = ""

    (row,) = measure(lab.bench, [Measurement.EDIT])

    assert lab.calls == [UP, UP_ON_KIND, *["edit", "edit on kind"] * 2, DOWN_ON_KIND, "down"]
    assert row.ratios == (1.0, 1.0)
    assert row.met is True


def test_reset_is_compared_with_the_restart_of_the_same_round(lab: Lab) -> None:
    lab.subject.takes |= {"reset": deque([3.0, 8.0]), "restart": deque([2.0, 4.0])}

    row, _ = measure(lab.bench, [Measurement.RESET])

    assert row.ratios == (1.5, 2.0)
    assert row.met is False


def test_with_gatekeeper_its_own_time_is_allowed_on_top(lab: Lab) -> None:
    lab.subject.takes |= {
        "reset": deque([1.0, 1.0, 5.0, 6.0]),
        "restart": deque([1.0, 1.0, 2.0, 2.0]),
        "gatekeeper enforced+bouncer+gatekeeper": deque([2.0, 3.0]),
    }

    _, row = measure(lab.bench, [Measurement.RESET])

    assert row.peer is not None
    assert row.peer.figures is not None
    assert row.peer.figures.values == (1.5 * 2.0 + 2.0, 1.5 * 2.0 + 3.0)
    assert row.met is True
    assert [value for _, value in row.parts] == [2.0, 2.5]


def test_memory_that_others_are_charged_with_is_counted_and_told(lab: Lab) -> None:
    lab.subject.sample = MemorySample(processes=(("etcd", 400_000_000),), shared_with=7, alone=710_000_000)

    row, with_gatekeeper = measure(lab.bench, [Measurement.MEMORY])

    assert values(row) == (710e6, 710e6)
    assert row.met is False
    assert with_gatekeeper.met is True
    assert row.notes == (
        "7 processes of others run the same programs: counted as if they did not; lab status shows 400 MB now",
    )


def test_memory_that_nobody_shares_needs_no_note(lab: Lab) -> None:
    row, _ = measure(lab.bench, [Measurement.MEMORY])

    assert row.notes == ()
    assert row.parts == (("etcd", 50e6),)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), LabError("x", "y", hint="z")])
def test_an_interrupted_measurement_leaves_no_lab(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    def fail() -> float:
        raise interrupt

    monkeypatch.setattr(lab.kwokctl.__class__, "create", lambda _: fail())
    with pytest.raises(type(interrupt)):
        measure(lab.bench, [Measurement.UP])

    assert lab.calls[-1] == "down"


def test_a_lab_that_does_not_come_up_is_removed_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(lab.subject.__class__, "up", fail)
    with pytest.raises(KeyboardInterrupt):
        measure(lab.bench, [Measurement.MEMORY])

    assert lab.calls == ["down"]


def test_help_is_called_once_before_it_is_measured(lab: Lab) -> None:
    (row,) = measure(lab.bench, [Measurement.HELP])

    assert lab.calls == ["help", *["help", "interpreter"] * 2]
    assert len(values(row)) == 2


def test_each_start_is_that_of_a_lab_which_is_not_there_and_the_first_one_does_not_count(lab: Lab) -> None:
    lab.subject.takes[f"start {PRACTISED}"] = deque([9.0, 4.0, 6.0])

    (row,) = measure(lab.bench, [Measurement.START])

    assert lab.calls == [f"start {PRACTISED}", "down"] * 3
    assert values(row) == (4.0, 6.0)
    assert row.met is True


def test_a_check_is_that_of_work_which_is_done(lab: Lab) -> None:
    lab.subject.takes["check"] = deque([3.0, 2.0])

    (row,) = measure(lab.bench, [Measurement.CHECK])

    assert lab.calls == [f"start {PRACTISED}", f"solve {PRACTISED}", "check", "check", "down"]
    assert values(row) == (3.0, 2.0)
    assert row.met is False


def test_rows_come_in_the_order_of_the_measurements(lab: Lab) -> None:
    rows = measure(lab.bench, reversed(Measurement))

    assert [row.measurement for row in rows] == [
        "help", *["up"] * 4, "up-kind", "start", "check", "edit", "reset", "reset", "memory", "memory",
    ]  # fmt: skip
