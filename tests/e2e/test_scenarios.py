"""Every scenario under scenarios/: its solution solves it, its start state does not, every mistake is found.

The verdicts that a solution gets are those that its walkthrough prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docs.walkthroughs import recording
from lab.testing.scenarios import SOLUTION

if TYPE_CHECKING:
    from lab.testing.scenarios import CaseRun


def test_scenario(lab_scenario: CaseRun) -> None:
    lab_scenario.verify()
    if lab_scenario.case.name == SOLUTION:
        drift = recording.drift(lab_scenario.result, recording.load())
        if drift:
            pytest.fail(f"its walkthrough prints other verdicts:\n{drift}", pytrace=False)
