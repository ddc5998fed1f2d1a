from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.cluster.first_probe import wait_first_verdict
from lab.cluster.protocol import StartState
from lab.errors import LabError, WaitError

BACKEND = 'pods "x" is forbidden: image policy webhook backend denied one or more images: no'
CLOSED = 'pods "x" is forbidden: Post "https://image-bouncer-webhook:30080/check-image?timeout=30s": dial tcp: refused'
GATEKEEPER = 'admission webhook "validation.gatekeeper.sh" denied the request: invalid ConstraintTemplate'
NOT_YET = "the API server does not answer: refused"


def wait(state: str, pods: list[str | None], templates: list[str | None] | None = None) -> dict[str, int]:
    """Wait for a state whose requests are answered thus: None admits, a text refuses; the last answer stays."""
    answers = {"pods": list(pods), "constrainttemplates": list(templates or [])}
    asked = dict.fromkeys(answers, 0)

    async def create(collection: str, body: dict[str, Any]) -> None:
        kind = collection.rpartition("/")[2]
        asked[kind] += 1
        left = answers[kind]
        text = left.pop(0) if len(left) > 1 else left[0]
        assert body["metadata"]["name"]
        if text is not None:
            raise LabError("refused", text, hint="none")

    asyncio.run(wait_first_verdict(StartState.from_key(state), create, timeout_s=0.1))
    return asked


@pytest.mark.parametrize(
    ("state", "answers"),
    [
        ("off", [NOT_YET, None]),
        ("open", [NOT_YET, None]),
        ("off+bouncer", [None]),
        ("open+bouncer", [NOT_YET, None, BACKEND]),
        ("enforced+bouncer", [NOT_YET, CLOSED, BACKEND]),
        ("enforced", [NOT_YET, None, CLOSED]),
    ],
)
def test_a_state_holds_when_its_own_verdict_is_seen(state: str, answers: list[str | None]) -> None:
    assert wait(state, answers)["pods"] == len(answers)


def test_gatekeeper_must_deny_too() -> None:
    assert wait("off+gatekeeper", [None], [None, None, GATEKEEPER]) == {"pods": 1, "constrainttemplates": 3}


@pytest.mark.parametrize(
    ("state", "answer", "seen"),
    [
        ("enforced+bouncer", CLOSED, "dial tcp: refused"),
        ("enforced+bouncer", None, "allowed"),
        ("off", BACKEND, "backend denied"),
        ("enforced", BACKEND, "backend denied"),
    ],
)
def test_another_verdict_is_not_taken_for_it(state: str, answer: str | None, seen: str) -> None:
    with pytest.raises(WaitError) as raised:
        wait(state, [answer])
    assert seen in raised.value.context["last seen"]
