"""Reports of two replays that differ as a test says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lab.scenario.report.json_report import json_report
from lab.scenario.result import (
    CheckResult,
    Expected,
    Feedback,
    Mismatch,
    Observed,
    Outcome,
    PhaseKind,
    PhaseResult,
    ProbeResult,
    ScenarioResult,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = dict[str, Any]
    MakeReport = Callable[..., Report]

DECIDER = "image-policy-failed-closed"
MESSAGE = (
    'pods "podx" is forbidden: Post "https://image-bouncer-webhook:30080/check-image?timeout=30s": dial tcp: '
    "lookup image-bouncer-webhook on {resolver}: no such host"
)


def check(*, resolver: str, uid: str, namespace: str, digest: str) -> tuple[CheckResult, ...]:
    """A denied probe, an allowed one, and a look at an object."""
    message = MESSAGE.format(resolver=resolver)
    denied = ProbeResult(
        request="kubectl run podx --image=nginx",
        expected=Expected(verdict=Verdict.DENIED, deciders=frozenset({DECIDER}), message_pattern=".* no such host"),
        observed=Observed(
            verdict=Verdict.DENIED,
            deciders=frozenset({DECIDER}),
            message=message,
            reason="Forbidden",
            http_status=403,
            failed_open=(),
        ),
    )
    allowed = ProbeResult(
        request="kubectl run podx --image=docker.io/nginx",
        expected=Expected(verdict=Verdict.ALLOWED, deciders=frozenset({"nobody"})),
        observed=Observed(
            verdict=Verdict.ALLOWED,
            deciders=frozenset({"nobody"}),
            message="",
            reason="",
            http_status=201,
            failed_open=(),
        ),
        stored={
            "kind": "Pod",
            "metadata": {"name": "podx", "namespace": namespace, "uid": uid, "resourceVersion": uid[:4]},
            "spec": {"containers": [{"name": "podx", "image": "docker.io/nginx", "args": ["a", "b"]}]},
        },
    )
    return (
        CheckResult(id="closed", title="No Pod", verb="probe", outcome=Outcome.PASS, points=1, probe=denied),
        CheckResult(id="open", title="A Pod", verb="probe", outcome=Outcome.PASS, points=1, probe=allowed),
        CheckResult(
            id="digest",
            title="By digest",
            verb="resource",
            outcome=Outcome.FAIL,
            points=1,
            mismatches=(Mismatch(what=f"image nginx@sha256:{digest}", expected="another", actual="at that moment"),),
            feedback=Feedback(id="other-digest", text="Another digest."),
        ),
    )


def scenario(name: str, backend: str, checks: tuple[CheckResult, ...]) -> ScenarioResult:
    return ScenarioResult(
        name=name,
        topic="imagepolicy",
        title="Fail closed",
        backend=backend,
        phases=(PhaseResult(kind=PhaseKind.SOLUTION, name="solution", outcome=Outcome.PASS, checks=checks),),
    )


def _report(backend: str, checks: tuple[CheckResult, ...], names: tuple[str, ...]) -> Report:
    report: Report = json.loads(json_report([scenario(name, backend, checks) for name in names]))
    return report


@pytest.fixture
def embedded() -> MakeReport:
    """A report of the one backend."""

    def make(*names: str) -> Report:
        checks = check(
            resolver="169.254.169.254:53",
            uid="11111111-2222-4333-8444-555555555555",
            namespace="probe-0123456789",
            digest="a" * 64,
        )
        return _report("embedded", checks, names or ("closed",))

    return make


@pytest.fixture
def kind() -> MakeReport:
    """A report of the other, in which nothing differs but what has to."""

    def make(*names: str) -> Report:
        checks = check(
            resolver="[fd00::1]:53",
            uid="99999999-2222-4333-8444-555555555555",
            namespace="probe-abcdefabcd",
            digest="b" * 64,
        )
        return _report("kind", checks, names or ("closed",))

    return make
