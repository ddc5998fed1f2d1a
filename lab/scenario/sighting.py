"""What a verb is given and what it gives back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.scenario.result import Mismatch, Outcome, ProbeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.cluster.protocol import Cluster
    from lab.scenario.api import Api
    from lab.scenario.evidence import AuditLog, BouncerRecord
    from lab.scenario.load import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the verbs of one phase work with.

    Attributes:
        scenario: whose files they name.
        cluster: where they look.
        api: its API server.
        audit: its audit log.
        record: what its bouncer was asked.
        captures: values recorded at the start.
        prove: whether allowed probes must prove that nothing failed open.
        clock: monotonic, in seconds.
        pause: waits that many seconds.
    """

    scenario: Scenario
    cluster: Cluster
    api: Api
    audit: AuditLog
    record: BouncerRecord
    captures: Mapping[str, str] = field(default_factory=dict)
    prove: bool = True
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a verb saw.

    Attributes:
        facts: by name; those of `lab.scenario.schema.verbs.FACTS`.
        mismatches: what is not as it must be.
        problem: why it could not look, or could not prove what it saw.
        probe: the probe, if that is the verb.
    """

    facts: Mapping[str, str]
    mismatches: tuple[Mismatch, ...] = ()
    problem: str = ""
    probe: ProbeResult | None = None

    @property
    def outcome(self) -> Outcome:
        """FAIL for what is proved wrong, ERROR for what could not be seen, else PASS."""
        if self.mismatches:
            return Outcome.FAIL
        return Outcome.ERROR if self.problem else Outcome.PASS


def failed(facts: Mapping[str, str], mismatches: list[Mismatch]) -> Sighting:
    """A sighting whose fact ``problem`` names what is wrong, for feedback to be chosen by."""
    problem = ", ".join(mismatch.what for mismatch in mismatches)
    return Sighting(facts={**facts, "problem": problem}, mismatches=tuple(mismatches))
