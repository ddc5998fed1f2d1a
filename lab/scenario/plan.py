"""Which phases a scenario goes through, decided before anything runs.

As a test: the untouched start state must not pass, the solution must, and every mistake must be found. As practice:
what is there is graded. What a backend cannot hold is skipped, by name and reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.cluster.protocol import Addon, Capability, Needs
from lab.scenario.result import PhaseKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from lab.scenario.load import Scenario
    from lab.scenario.schema.scenario import Mistake


class Mode(StrEnum):
    """What a scenario is run for."""

    TEST = "test"
    """Everything that it promises is proved."""
    CHECK = "check"
    """What a person did is graded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase to run.

    Attributes:
        kind: what it proves.
        name: ``untouched``, ``solution``, ``mistake/<id>`` or ``check``.
        fresh: whether the start state is put back first.
        mistake: the mistake to make.
        skip: why it cannot run on this backend; empty when it can.
    """

    kind: PhaseKind
    name: str
    fresh: bool = False
    mistake: Mistake | None = None
    skip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run for one scenario.

    Attributes:
        mode: what for.
        phases: in order.
        skip: why none of it can run on this backend; empty when it can.
    """

    mode: Mode
    phases: tuple[Phase, ...] = ()
    skip: str = ""


_TOLD_BY_IT = "which tells whether a decision point failed open"


def _tells_failing_open(scenario: Scenario, mistake: Mistake) -> bool:
    """Whether a mistake is known by feedback that depends on whether a decision point failed open."""
    check = next(check for check in scenario.document.checks if check.id == mistake.fails)
    return any("failedOpen" in rule.when for rule in check.feedback if rule.id == mistake.feedback)


def needs_of(scenario: Scenario) -> Needs:
    """What a scenario takes up in a cluster besides objects of its own."""
    start = scenario.document.start
    brings_gatekeeper = any(file.component == "gatekeeper-manifest" for file in start.files)
    return Needs(
        state=start.state,
        installs=frozenset({Addon.GATEKEEPER} if brings_gatekeeper else ()),
        images=start.images,
    )


def plan(
    scenario: Scenario,
    *,
    backend: str,
    capabilities: Collection[Capability],
    can_reset: bool,
    refusal: Callable[[Needs], str] | None = None,
    mode: Mode = Mode.TEST,
    mistakes: bool = True,
) -> Plan:
    """What to run.

    Args:
        scenario: the scenario.
        backend: name of the backend, for the reason of a skip.
        capabilities: what it can do.
        can_reset: whether it can put a start state back.
        refusal: asked why its cluster, which is not its own, cannot hold the scenario; None where it is.
        mode: what for.
        mistakes: whether to make the mistakes too; each takes a reset.
    """
    missing = sorted(set(scenario.document.requires) - set(capabilities))
    if missing:
        return Plan(mode=mode, skip=f"the backend {backend} lacks {', '.join(missing)}")
    if refusal is not None and (refused := refusal(needs_of(scenario))):
        return Plan(mode=mode, skip=refused)
    if mode is Mode.CHECK:
        return Plan(mode=mode, phases=(Phase(kind=PhaseKind.CHECK, name="check"),))
    phases = [
        Phase(kind=PhaseKind.UNTOUCHED, name="untouched", fresh=True),
        Phase(kind=PhaseKind.SOLUTION, name="solution"),
    ]
    no_reset = "" if can_reset else f"the backend {backend} cannot put the start state back"
    no_proof = "" if Capability.AUDIT_LOG in capabilities else f"the backend {backend} lacks audit-log, {_TOLD_BY_IT}"
    phases += [
        Phase(
            kind=PhaseKind.MISTAKE,
            name=f"mistake/{mistake.id}",
            fresh=True,
            mistake=mistake,
            skip=no_reset or (no_proof if _tells_failing_open(scenario, mistake) else ""),
        )
        for mistake in (scenario.document.mistakes if mistakes else ())
    ]
    return Plan(mode=mode, phases=tuple(phases))
