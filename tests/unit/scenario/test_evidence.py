"""Where evidence is read from, and that what is missing is never taken for "no"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab.cluster.protocol import Capability, ExecResult
from lab.scenario.api import Api
from lab.scenario.evidence import AuditLog, BouncerRecord, reviews_in
from lab.scenario.verdict import Review

if TYPE_CHECKING:
    from tests.unit.scenario.conftest import Clock, FakeApiServer, FakeSnapshotCluster


def event(audit_id: str, *, stage: str = "ResponseComplete") -> str:
    return json.dumps({"auditID": audit_id, "stage": stage, "annotations": {"a": "b"}}) + "\n"


def test_an_event_is_found_by_its_id_among_what_was_appended(cluster: FakeSnapshotCluster, clock: Clock) -> None:
    cluster.api.audit_log = event("old")
    log = AuditLog(cluster, clock=clock, pause=clock.pause)
    log.skip_to_end()
    cluster.api.audit_log += event("one") + event("two")
    found = log.event("two")
    assert found is not None
    assert found["annotations"] == {"a": "b"}
    assert log.event("one") is not None
    assert log.event("old", wait_s=0) is None


def test_half_a_line_is_read_when_it_is_whole(cluster: FakeSnapshotCluster, clock: Clock) -> None:
    log = AuditLog(cluster, clock=clock, pause=clock.pause)
    whole = event("one")
    cluster.api.audit_log = whole[:20]
    assert log.event("one", wait_s=0) is None
    cluster.api.audit_log = whole
    assert log.event("one", wait_s=0) is not None


def test_an_earlier_stage_does_not_close_a_request(cluster: FakeSnapshotCluster, clock: Clock) -> None:
    cluster.api.audit_log = event("one", stage="RequestReceived")
    assert AuditLog(cluster, clock=clock, pause=clock.pause).event("one") is None
    assert clock() >= 2


def test_a_backend_without_an_audit_log_is_not_asked(cluster: FakeSnapshotCluster) -> None:
    cluster.capabilities = frozenset({Capability.NODE_FILES})
    log = AuditLog(cluster)
    log.skip_to_end()
    assert log.event("one") is None
    assert cluster.actions == []


def test_a_log_that_does_not_exist_yet_begins_at_its_start(cluster: FakeSnapshotCluster, clock: Clock) -> None:
    cluster.on_exec = lambda argv: ExecResult(argv=tuple(argv), exit_code=3, stdout="", stderr="no such file")
    log = AuditLog(cluster, clock=clock, pause=clock.pause)
    log.skip_to_end()
    assert log.event("one", wait_s=0.1) is None
    cluster.on_exec = lambda _argv: None
    cluster.api.audit_log = event("one")
    assert log.event("one") is not None


def creation(audit_id: str, *, resource: str = "pods", namespace: str = "n", code: int = 201, **about: str) -> str:
    return (
        json.dumps(
            {
                "auditID": audit_id,
                "stage": "ResponseComplete",
                "verb": "create",
                "objectRef": {"resource": resource, "namespace": namespace, **about},
                "responseStatus": {"code": code},
            }
        )
        + "\n"
    )


def test_creations_are_those_of_one_resource_in_one_namespace_that_succeeded(
    cluster: FakeSnapshotCluster, clock: Clock
) -> None:
    log = AuditLog(cluster, clock=clock, pause=clock.pause)
    cluster.api.audit_log = (
        creation("one")
        + creation("denied", code=403)
        + creation("elsewhere", namespace="other")
        + creation("binding", subresource="binding")
        + creation("set", resource="replicasets")
        + event("update")
        + creation("two")
    )
    assert [found["auditID"] for found in log.creations("pods", namespace="n")] == ["one", "two"]


def test_reviews_are_read_from_the_bouncers_log() -> None:
    log = (
        "2026-11-21T00:00:00.000Z info listening port=1323\n"
        '2026-11-21T00:00:01.000Z info review kind="ImageReview" path="/check-image" namespace="n" '
        'images=["docker.io/a", "b c=d"] verdict="denied" reason="image \\"x\\" namespace=\\"other\\"" ms=0.2\n'
        '2026-11-21T00:00:02.000Z debug review-document review={"kind": "ImageReview"}\n'
    )
    assert list(reviews_in(log)) == [Review(namespace="n", images=("docker.io/a", "b c=d"), allowed=False)]


def test_a_record_that_cannot_be_read_is_not_an_empty_one(api: FakeApiServer) -> None:
    record = BouncerRecord(Api(api))
    assert record.reviews(namespace="n", since_seconds=60) is None
    api.objects["/api/v1/namespaces/default/pods"] = [{"metadata": {"name": "bouncer"}}]
    assert record.reviews(namespace="n", since_seconds=60) == ()
