"""What a controller makes of an object that was let in: a Pod with the image, or an event that says who denied it.

An object that makes Pods is only text until its controller asks for one, in a request of its own, which passes
admission by itself. The API server's answer to that request stands in the controller's event ``FailedCreate``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lab.bouncer.podimages import workload_images
from lab.errors import LabError, WaitError
from lab.matrix.model import UNTRUSTED_IMAGE, Consequence, Workload
from lab.scenario.api import HTTP_CREATED, PATCH_TYPES, Request
from lab.scenario.deciders import Status
from lab.scenario.evidence import AUDIT_WAIT_S, POLL_S
from lab.scenario.verdict import Evidence, observe

if TYPE_CHECKING:
    from lab.matrix.model import Row
    from lab.scenario.sighting import Context

WITHIN_S = 30.0
"""Controllers act within a tenth of a second; a busy machine may take a while longer."""

_FAILED_CREATE = re.compile(r"Error creating(?: job)?: ")
"""What ReplicaSet, Job and CronJob controllers write before the API server's message (kubernetes, pkg/controller)."""


def consequence_of(row: Row, context: Context, *, namespace: str) -> Consequence:
    """Wait for what the controller of an object makes of it.

    Args:
        row: the way in, whose object has just been let in.
        context: where to look.
        namespace: of the object, which has it to itself.

    Raises:
        LabError: the API server could not be asked, or a `WaitError` when neither a Pod nor a refusal came.
    """
    if row.workload is Workload.CRON_JOB:
        _make_due(context, namespace)
    pods = context.api.kind_of({"apiVersion": "v1", "kind": "Pod"})
    events = context.api.kind_of({"apiVersion": "v1", "kind": "Event"})
    deadline = context.clock() + WITHIN_S
    while True:
        found = context.api.find(pods, namespace=namespace)
        for pod in found:
            if UNTRUSTED_IMAGE in workload_images(group="", kind="Pod", manifest=pod):
                return _came(pod, context, namespace, pods=len(found))
        for event in context.api.find(events, namespace=namespace, field_selector="reason=FailedCreate"):
            return _denied(event, context)
        if context.clock() >= deadline:
            raise WaitError(
                what=f"a Pod of {row.workload.value} app, or an event that there cannot be one",
                timeout_s=WITHIN_S,
                last_seen=f"{len(found)} Pods without the image and no event FailedCreate",
                hint="see `lab logs kube-controller-manager`",
            )
        context.pause(POLL_S)


def _make_due(context: Context, namespace: str) -> None:
    """Have the CronJob controller find a run that it has missed, which it starts at once."""
    jobs = context.api.kind_of({"apiVersion": "batch/v1", "kind": "CronJob"})
    long_ago = (datetime.now(UTC) - timedelta(hours=1, minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = context.api.transport.send(
        Request(
            method="PATCH",
            path=jobs.path(namespace=namespace, name="app", subresource="status"),
            body={"status": {"lastScheduleTime": long_ago}},
            content_type=PATCH_TYPES["merge"],
        )
    )
    if not answer.ok:
        raise LabError(
            "cronjob-not-due",
            f"a run of the CronJob could not be made due: {answer.message}",
            hint="see who denied the change of its status",
        )


def _came(pod: dict[str, Any], context: Context, namespace: str, *, pods: int) -> Consequence:
    """The Pod is there; its audit event says whether something failed open."""
    annotations = _annotations(context, namespace, pods=pods)
    evidence = Evidence(http_status=HTTP_CREATED, fresh=False, annotations=annotations)
    return Consequence(about=f"Pod {pod['metadata']['name']}", observed=observe(evidence))


def _annotations(context: Context, namespace: str, *, pods: int) -> dict[str, str] | None:
    """Those of the creation of every Pod in the namespace; None until each has its event, or without an audit log."""
    deadline = context.clock() + AUDIT_WAIT_S
    while context.audit.readable:
        created = context.audit.creations("pods", namespace=namespace)
        if len(created) >= pods:
            return {key: value for event in created for key, value in (event.get("annotations") or {}).items()}
        if context.clock() >= deadline:
            return None
        context.pause(POLL_S)
    return None


def _denied(event: dict[str, Any], context: Context) -> Consequence:
    """The answer that the controller got: the event tells its message, from which the decider is read, and no more.

    It is not fresh: a controller tries again and again, and a backend's denial may have come from the cache.
    """
    about = event["involvedObject"]
    message = _FAILED_CREATE.sub("", event["message"], count=1)
    status = Status(code=0, message=message)
    evidence = Evidence(http_status=0, status=status, fresh=False, webhooks=context.api.webhooks())
    return Consequence(about=f"FailedCreate of {about['kind']} {about['name']}", observed=observe(evidence))
