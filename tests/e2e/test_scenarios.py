"""Every scenario under scenarios/: its solution solves it, its start state does not, every mistake is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.testing.scenarios import CaseRun


def test_scenario(lab_scenario: CaseRun) -> None:
    lab_scenario.verify()
