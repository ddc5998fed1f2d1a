"""When Gatekeeper follows the API server that runs: its containers are younger than that, and ready."""

from __future__ import annotations

from typing import Any

import pytest

from lab.cluster.kind import followers

SINCE_S = 1795298908.6
"""2026-11-21T22:08:28.6Z"""


def pod(began: str | None, *, ready: bool = True) -> dict[str, Any]:
    state = {"running": {"startedAt": began}} if began else {"waiting": {"reason": "CrashLoopBackOff"}}
    return {"status": {"containerStatuses": [{"ready": ready, "state": state}]}}


YOUNG, OLD = pod("2026-11-21T22:08:28Z"), pod("2026-11-21T22:08:27Z")


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([YOUNG, YOUNG], True, id="all-young"),
        pytest.param([YOUNG, OLD], False, id="one-older"),
        pytest.param([YOUNG, pod("2026-11-21T22:08:40Z", ready=False)], False, id="not-ready"),
        pytest.param([pod(None)], False, id="not-running"),
        pytest.param([YOUNG, {"status": {}}], False, id="not-started"),
        pytest.param([], False, id="none"),
    ],
)
def test_every_pod_must_be_ready_in_a_container_of_after_the_api_server(
    *, pods: list[dict[str, Any]], expected: bool
) -> None:
    assert followers.are_ready(pods, since_s=SINCE_S) is expected
