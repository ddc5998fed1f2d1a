"""What is measured, in which order, and what each figure should be.

Targets are those of the project's first milestone. Each measurement has its own lab, made for it and removed after it,
also when it is interrupted.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.bench.report import Peer, Row, Target
from lab.bench.series import BYTES, SECONDS, Series, take_turns
from lab.cluster.protocol import DEFAULT_STATE, Addon, StartState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lab.bench.memory import MemorySample
    from lab.bench.peers import ClusterPeer
    from lab.bench.subject import Subject

GATEKEEPER_STATE = StartState(image_policy=DEFAULT_STATE.image_policy, addons=DEFAULT_STATE.addons | {Addon.GATEKEEPER})
SETTLE_S = 10.0
"""An idle lab: what it needed to start has been collected by then."""
RESET_FACTOR = 1.5
PRACTISED = "imagepolicy-enable"
"""The scenario that is started and graded: the course's own, with probes that prove who decided."""

_HELP = Target(value=0.3)
_UP_BESIDE_KWOKCTL = Target(ratio=1.0)
_UP_BESIDE_KIND = Target(ratio=1 / 8)
_UP_KIND_BESIDE_BARE = Target(ratio=1.2)
_START = Target(value=5.0)
_CHECK = Target(value=2.0)
_EDIT = Target(value=2.0)
_RESET = Target(ratio=RESET_FACTOR)
_RESET_WITH_GATEKEEPER = Target(ratio=1.0)
_MEMORY_OF = {
    DEFAULT_STATE: "idle lab, bouncer included (PSS)",
    GATEKEEPER_STATE: "idle lab with Gatekeeper as shipped (PSS)",
}
_SHARED = """\
{others} processes of others run the same programs: counted as if they did not; lab status shows {shown} MB now"""
_MEMORY = {DEFAULT_STATE: Target(value=700e6), GATEKEEPER_STATE: Target(value=1000e6)}


class Measurement(StrEnum):
    """What can be measured."""

    HELP = "help"
    UP = "up"
    UP_KIND = "up-kind"
    START = "start"
    CHECK = "check"
    EDIT = "edit"
    RESET = "reset"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the measurements work with.

    Attributes:
        subject: the lab.
        on_kind: another one, on the backend kind; asked for nothing where the peer ``kind`` cannot be run.
        kwokctl: the peer that runs the same programs.
        kind: the peer that runs in Docker, waited for until its node is ready.
        kind_unready: the same, for as long as kind takes by itself.
        kind_working: the same, waited for until every Pod is ready.
        rounds: how often each thing is measured.
        progress: hears of each step.
        settle: waits until a lab that has just come up is idle.
    """

    subject: Subject
    on_kind: Subject
    kwokctl: ClusterPeer
    kind: ClusterPeer
    kind_unready: ClusterPeer
    kind_working: ClusterPeer
    rounds: int
    progress: Callable[[str], None]
    settle: Callable[[], None] = lambda: time.sleep(SETTLE_S)


def measure(bench: Bench, chosen: Iterable[Measurement]) -> tuple[Row, ...]:
    """Make the measurements, always in the order of `Measurement`.

    Raises:
        LabError: the lab or a peer could not be run; every lab is removed again.
    """
    wanted = set(chosen)
    rows: list[Row] = []
    if Measurement.HELP in wanted:
        rows += _help(bench)
    if Measurement.UP in wanted:
        rows += _up(bench)
    if Measurement.UP_KIND in wanted:
        rows += _up_kind(bench)
    if Measurement.START in wanted:
        rows += _start(bench)
    if Measurement.CHECK in wanted:
        rows += _check(bench)
    if wanted & {Measurement.EDIT, Measurement.RESET, Measurement.MEMORY}:
        with _lab(bench, bench.subject, DEFAULT_STATE):
            rows += _memory(bench, DEFAULT_STATE) if Measurement.MEMORY in wanted else []
            rows += _edit(bench) if Measurement.EDIT in wanted else []
            rows += _reset(bench) if Measurement.RESET in wanted else []
    if wanted & {Measurement.RESET, Measurement.MEMORY}:
        with _lab(bench, bench.subject, GATEKEEPER_STATE):
            rows += _memory(bench, GATEKEEPER_STATE) if Measurement.MEMORY in wanted else []
            rows += _reset_with_gatekeeper(bench) if Measurement.RESET in wanted else []
    order = list(Measurement)
    return tuple(sorted(rows, key=lambda row: order.index(Measurement(row.measurement))))


def _help(bench: Bench) -> list[Row]:
    bench.progress("lab --help, beside an interpreter that does nothing")
    subject = bench.subject
    subject.help()  # its modules are compiled and in the page cache from here on
    taken = take_turns({"lab": subject.help, "python": subject.interpreter}, rounds=bench.rounds)
    peer = Peer(name="python -c pass", figures=taken["python"])
    return [Row(measurement="help", what="lab --help", figures=taken["lab"], peer=peer, target=_HELP)]


def _up(bench: Bench) -> list[Row]:
    of_kind = (bench.kind, bench.kind_working, LabOnKind(bench))
    peers = [(bench.kwokctl, _UP_BESIDE_KWOKCTL), *((peer, _UP_BESIDE_KIND) for peer in of_kind)]
    missing = {peer.name: peer.missing() for peer, _ in peers}
    with _lab(bench, bench.subject, DEFAULT_STATE):
        pass  # the store and the template are warm from here on, which is not measured
    actions = {"lab": lambda: _up_and_down(bench.subject)}
    for peer, _ in peers:
        if not missing[peer.name]:
            actions[peer.name] = peer.create
    if LabOnKind.name in actions:
        _warm_on_kind(bench)
    bench.progress(f"in turns, {bench.rounds} times: lab up, {', '.join(list(actions)[1:]) or 'no peer'}")
    taken = take_turns(actions, rounds=bench.rounds)
    return [
        Row(
            measurement="up",
            what="lab up, warm, to the first enforced verdict",
            figures=taken["lab"],
            peer=Peer(name=peer.name, figures=taken.get(peer.name), missing=missing[peer.name]),
            target=target,
        )
        for peer, target in peers
    ]


def _up_kind(bench: Bench) -> list[Row]:
    what = "lab up --backend kind, images present, to the first enforced verdict"
    if missing := bench.kind.missing():
        return [Row(measurement="up-kind", what=what, missing=missing, target=_UP_KIND_BESIDE_BARE)]
    _warm_on_kind(bench)
    peers = (bench.kind_unready, bench.kind)
    bench.progress(f"in turns, {bench.rounds} times: lab up --backend kind, {', '.join(peer.name for peer in peers)}")
    actions = {"lab": LabOnKind(bench).create} | {peer.name: peer.create for peer in peers}
    taken = take_turns(actions, rounds=bench.rounds)
    return [
        Row(
            measurement="up-kind",
            what=what,
            figures=taken["lab"],
            peer=Peer(name=peer.name, figures=taken[peer.name]),
            target=_UP_KIND_BESIDE_BARE,
        )
        for peer in peers
    ]


class LabOnKind:
    """The lab on kind as a peer of the other backend: the same verdict, by real containers.

    Args:
        bench: what there is to measure with.
    """

    name = "lab up --backend kind, to its own first enforced verdict"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def missing(self) -> str:
        """What kind lacks here."""
        return self._bench.kind.missing()

    def create(self) -> float:
        """Bring the lab up and remove it."""
        return _up_and_down(self._bench.on_kind)


def _warm_on_kind(bench: Bench) -> None:
    with _lab(bench, bench.on_kind, DEFAULT_STATE):
        pass  # the images that it runs are made from here on, which is not measured


def _start(bench: Bench) -> list[Row]:
    bench.progress(f"lab start {PRACTISED} in a terminal, {bench.rounds} times; once before, not measured")
    _start_and_down(bench)
    figures = Series(unit=SECONDS, values=tuple(_start_and_down(bench) for _ in range(bench.rounds)))
    return [Row(measurement="start", what="lab start, warm, to a prompt", figures=figures, target=_START)]


def _check(bench: Bench) -> list[Row]:
    bench.progress(f"lab start {PRACTISED} and its solution, not measured; then lab check {bench.rounds} times")
    subject = bench.subject
    try:
        subject.start(PRACTISED)
        subject.solve(PRACTISED)
        figures = Series(unit=SECONDS, values=tuple(subject.check() for _ in range(bench.rounds)))
    finally:
        subject.down()
    return [Row(measurement="check", what="lab check, to full points", figures=figures, target=_CHECK)]


def _edit(bench: Bench) -> list[Row]:
    missing = bench.kind.missing()
    actions = {"lab": bench.subject.edit}
    with nullcontext() if missing else _lab(bench, bench.on_kind, DEFAULT_STATE):
        if not missing:
            actions["kind"] = bench.on_kind.edit
        bench.progress(f"editing the API server's manifest {bench.rounds} times; in turns: {', '.join(actions)}")
        taken = take_turns(actions, rounds=bench.rounds)
    peer = Peer(name="the same in a lab on kind", figures=taken.get("kind"), missing=missing)
    what = "API server manifest edited, until it answers so"
    return [Row(measurement="edit", what=what, figures=taken["lab"], peer=peer, target=_EDIT)]


def _reset(bench: Bench) -> list[Row]:
    bench.progress(f"in turns, {bench.rounds} times: lab reset, the API server killed")
    taken = take_turns({"lab": bench.subject.reset, "restart": bench.subject.restart}, rounds=bench.rounds)
    peer = Peer(name="API server killed, until its successor answers", figures=taken["restart"])
    what = "lab reset to the first verdict"
    return [Row(measurement="reset", what=what, figures=taken["lab"], peer=peer, target=_RESET)]


def _reset_with_gatekeeper(bench: Bench) -> list[Row]:
    bench.progress(f"with Gatekeeper, in turns, {bench.rounds} times: lab reset, API server killed, Gatekeeper killed")
    subject = bench.subject
    actions = {
        "lab": subject.reset,
        "restart": subject.restart,
        "gatekeeper": lambda: subject.gatekeeper_restart(GATEKEEPER_STATE),
    }
    taken = take_turns(actions, rounds=bench.rounds)
    allowed = tuple(
        RESET_FACTOR * restart + gatekeeper
        for restart, gatekeeper in zip(taken["restart"].values, taken["gatekeeper"].values, strict=True)
    )
    return [
        Row(
            measurement="reset",
            what="lab reset with Gatekeeper, to its first denial",
            figures=taken["lab"],
            peer=Peer(
                name=f"{RESET_FACTOR:g} x API server's restart + Gatekeeper killed, until it denies",
                figures=Series(unit=SECONDS, values=allowed),
            ),
            target=_RESET_WITH_GATEKEEPER,
            parts=(
                ("API server killed, until its successor answers (median)", taken["restart"].median),
                ("Gatekeeper killed, until it denies (median)", taken["gatekeeper"].median),
            ),
        )
    ]


def _memory(bench: Bench, state: StartState) -> list[Row]:
    bench.progress(f"letting the lab settle for {SETTLE_S:g} s, then reading its memory")
    bench.settle()
    samples = [bench.subject.memory() for _ in range(bench.rounds)]
    last = samples[-1]
    return [
        Row(
            measurement="memory",
            what=_MEMORY_OF[state],
            figures=Series(unit=BYTES, values=tuple(_size(sample) for sample in samples)),
            target=_MEMORY[state],
            parts=tuple((name, float(size)) for name, size in last.processes),
            notes=(_SHARED.format(others=last.shared_with, shown=round(last.total / 1e6)),) if last.shared_with else (),
        )
    ]


def _size(sample: MemorySample) -> float:
    """The memory of a lab that is measured alone, or about what it would be."""
    return float(sample.alone if sample.shared_with else sample.total)


def _up_and_down(subject: Subject) -> float:
    try:
        return subject.up(DEFAULT_STATE)
    finally:
        subject.down()


def _start_and_down(bench: Bench) -> float:
    try:
        return bench.subject.start(PRACTISED)
    finally:
        bench.subject.down()


@contextmanager
def _lab(bench: Bench, subject: Subject, state: StartState) -> Iterator[None]:
    """A lab in a start state for as long as the block lasts."""
    where = " on kind" if subject is bench.on_kind else ""
    bench.progress(f"a lab{where} in state {state.key} comes up, not measured")
    try:
        subject.up(state)
        yield
    finally:
        subject.down()
