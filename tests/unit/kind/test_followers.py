"""When Gatekeeper follows the API server that runs: its containers are younger than that, and ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.kind import followers
from lab.cluster.mirror_pods import MIRROR_ANNOTATION

if TYPE_CHECKING:
    from lab.cluster.embedded.api_client import ApiClient

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


class FakeApi:
    """An API server of one node, and its kubelet behind it."""

    def __init__(self, *, bound: list[dict[str, Any]], known: list[dict[str, Any]] | None) -> None:
        self._answers = {
            "/api/v1/nodes": [{"metadata": {"name": "one"}}],
            "/api/v1/pods": bound,
            "/api/v1/nodes/one/proxy/pods": known,
        }

    async def get(self, path: str, **_: Any) -> dict[str, Any]:
        return {"items": self._answers[path]}


BOUND = {"metadata": {"uid": "1"}}
SHOWN = {"metadata": {"uid": "2", "annotations": {MIRROR_ANNOTATION: "x"}}}
STATIC = {"metadata": {"uid": "3"}}


@pytest.mark.parametrize(
    ("bound", "known", "expected"),
    [
        pytest.param([BOUND, SHOWN], [STATIC, BOUND], True, id="a-bound-pod-is-known"),
        pytest.param([BOUND, SHOWN], [STATIC], False, id="only-static-ones"),
        pytest.param([BOUND], None, False, id="nothing-yet"),
        pytest.param([SHOWN], [STATIC], True, id="there-is-nothing-to-hear-of"),
    ],
)
def test_a_kubelet_has_heard_when_it_knows_what_only_the_api_server_tells(
    *, bound: list[dict[str, Any]], known: list[dict[str, Any]] | None, expected: bool
) -> None:
    api = cast("ApiClient", FakeApi(bound=bound, known=known))
    assert asyncio.run(followers.kubelet_hears(api)) is expected
