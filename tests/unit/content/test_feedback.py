"""Each rule of feedback can be chosen: no other one hides it, and what it looks for can be observed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.scenario import deciders
from lab.scenario.result import Verdict

if TYPE_CHECKING:
    from tests.unit.content.conftest import Content

_BOOLEAN = ("true", "false")
VALUES = {
    "verdict": tuple(Verdict),
    "state": ("running", "starting", "failed", "absent"),
    "exists": _BOOLEAN,
    "complete": _BOOLEAN,
}
"""Facts with few possible values."""
DECIDERS = (
    "nobody",
    deciders.IMAGE_POLICY_BACKEND,
    deciders.IMAGE_POLICY_FAILED_CLOSED,
    deciders.SCHEMA,
    deciders.AUTHORIZATION,
    deciders.API_SERVER,
)
_KINDS_OF_DECIDER = re.compile(
    r"\^?\(?((validating|mutating)-webhook|webhook-failed-closed|gatekeeper|validating-admission-policy|admission-plugin)\b"
)


def test_no_rule_hides_a_later_one(content: Content) -> None:
    hidden = [
        (check.id, rule.id, earlier.id)
        for check in content.scenario.document.checks
        for i, rule in enumerate(check.feedback)
        for earlier in check.feedback[:i]
        if earlier.when.items() <= rule.when.items()
    ]
    assert hidden == []


def test_every_rule_looks_for_what_can_be_observed(content: Content) -> None:
    impossible = [
        (check.id, rule.id, fact, pattern)
        for check in content.scenario.document.checks
        for rule in check.feedback
        for fact, pattern in rule.when.items()
        if not _can_be(fact, pattern, content)
    ]
    assert impossible == []


def test_a_slip_of_the_pen_is_noticed(fail_closed: Content) -> None:
    assert _can_be("verdict", "allowed", fail_closed)
    assert not _can_be("verdict", "alowed", fail_closed)
    assert _can_be("decider", "image-policy-failed-closed", fail_closed)
    assert not _can_be("decider", "image-policy-fail-closed$", fail_closed)


def _can_be(fact: str, pattern: str, content: Content) -> bool:
    if fact in VALUES:
        return any(re.search(pattern, value) for value in VALUES[fact])
    if fact == "decider" and not _KINDS_OF_DECIDER.match(pattern):
        # A part of a name: of a webhook, a constraint or a policy that is named elsewhere too.
        named = content.substance.count(pattern) > sum(
            rule.when.get("decider") == pattern for check in content.scenario.document.checks for rule in check.feedback
        )
        return named or any(re.search(pattern, decider) for decider in DECIDERS)
    return True
