"""A lab and peers that take the time they are told, and note what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from lab.bench.measurements import Bench
from lab.bench.memory import MemorySample

if TYPE_CHECKING:
    from collections import deque

    from lab.cluster.protocol import StartState


@dataclass(slots=True)
class FakeSubject:
    """Every step takes 1 s unless `takes` has other figures for it, one per call."""

    calls: list[str]
    takes: dict[str, deque[float]] = field(default_factory=dict)
    where: str = ""
    sample: MemorySample = field(
        default_factory=lambda: MemorySample(processes=(("etcd", 50_000_000),), shared_with=0, alone=50_000_000)
    )

    def _step(self, name: str) -> float:
        self.calls.append(f"{name}{self.where}")
        figures = self.takes.get(name)
        return figures.popleft() if figures else 1.0

    def help(self) -> float:
        return self._step("help")

    def interpreter(self) -> float:
        return self._step("interpreter")

    def up(self, state: StartState) -> float:
        return self._step(f"up {state.key}")

    def down(self) -> None:
        self._step("down")

    def start(self, scenario: str) -> float:
        return self._step(f"start {scenario}")

    def solve(self, scenario: str) -> None:
        self._step(f"solve {scenario}")

    def check(self) -> float:
        return self._step("check")

    def edit(self) -> float:
        return self._step("edit")

    def reset(self) -> float:
        return self._step("reset")

    def restart(self) -> float:
        return self._step("restart")

    def gatekeeper_restart(self, state: StartState) -> float:
        return self._step(f"gatekeeper {state.key}")

    def memory(self) -> MemorySample:
        self._step("memory")
        return self.sample


@dataclass(slots=True)
class FakePeer:
    calls: list[str]
    name: str
    why_missing: str = ""

    def missing(self) -> str:
        return self.why_missing

    def create(self) -> float:
        self.calls.append(self.name)
        return 2.0


@dataclass(slots=True)
class Lab:
    """What a test needs: the bench, and what happened in order."""

    bench: Bench
    subject: FakeSubject
    on_kind: FakeSubject
    kwokctl: FakePeer
    kind: FakePeer
    kind_unready: FakePeer
    kind_working: FakePeer
    calls: list[str]


@pytest.fixture
def lab() -> Lab:
    calls: list[str] = []
    subject, on_kind = FakeSubject(calls), FakeSubject(calls, where=" on kind")
    kwokctl = FakePeer(calls, "kwokctl")
    kind = FakePeer(calls, "kind --wait", why_missing="no Docker")
    kind_unready = FakePeer(calls, "kind", why_missing="no Docker")
    kind_working = FakePeer(calls, "kind until ready", why_missing="no Docker")
    bench = Bench(
        subject=subject, on_kind=on_kind, kwokctl=kwokctl, kind=kind, kind_unready=kind_unready,
        kind_working=kind_working, rounds=2, progress=lambda _: None, settle=lambda: calls.append("settle"),
    )  # fmt: skip
    return Lab(bench, subject, on_kind, kwokctl, kind, kind_unready, kind_working, calls)
