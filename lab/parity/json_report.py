"""The comparison for programs, in a versioned form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.parity.parity import count
from lab.parity.rules import RULES

if TYPE_CHECKING:
    from lab.parity.changes import VerdictChange
    from lab.parity.parity import Parity, ScenarioParity

API_VERSION = "lab.supply-chain/v1alpha1"
KIND = "ParityReport"


def json_parity(parity: Parity) -> str:
    """The comparison as JSON."""
    applied = parity.applied
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "exitCode": parity.exit_code,
        "left": parity.left,
        "right": parity.right,
        "summary": {outcome.value: number for outcome, number in count(parity).items()},
        "rules": [{"name": rule.name, "reason": rule.reason, "explained": applied[rule.name]} for rule in RULES],
        "scenarios": [_scenario(scenario) for scenario in parity.scenarios],
    }
    return json.dumps(document, indent=2) + "\n"


def _scenario(scenario: ScenarioParity) -> dict[str, Any]:
    changes = scenario.changes
    return {
        "name": scenario.name,
        "outcome": scenario.outcome.value,
        "compared": scenario.compared,
        "notes": list(scenario.notes),
        "different": [_verdict(change) for change in changes.verdicts],
        "outcomes": [{"phase": change.phase, "left": change.old, "right": change.new} for change in changes.outcomes],
        "onlyLeft": list(changes.gone),
        "onlyRight": list(changes.added),
        "explained": [_verdict(change) for change in changes.explained],
    }


def _verdict(change: VerdictChange) -> dict[str, Any]:
    return {
        "check": change.check,
        "facts": [
            {"fact": fact.fact, "left": fact.old, "right": fact.new, "rules": list(fact.rules)} for fact in change.facts
        ],
    }
