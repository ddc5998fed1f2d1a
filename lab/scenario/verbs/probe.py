"""The verb ``probe``: a request to the API server, and the verdict that it gets, with its cause.

One probe is one request, sent once. Its audit event is found by the Audit-ID that it carries, the bouncer's reviews of
it by the namespace that it has to itself.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lab.errors import LabError, WaitError
from lab.scenario.api import HTTP_NOT_FOUND, KIND_NOT_SERVED, Request, Response
from lab.scenario.deciders import API_SERVER, Status
from lab.scenario.evidence import POLL_S
from lab.scenario.result import Expected, Observed, Outcome, ProbeResult, Verdict
from lab.scenario.sighting import Sighting
from lab.scenario.verbs.api_server import plugins_on
from lab.scenario.verbs.request import FRESH, Target, as_typed, manifests_in, request_of, target_of
from lab.scenario.verdict import Evidence, Judgement, Review, judge, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lab.scenario.schema.verbs import Probe
    from lab.scenario.sighting import Context

NAMESPACE_WAIT_S = 60.0
REVIEW_WAIT_S = 1.0
"""A review is logged before it is answered; a node agent may hand the line on a moment later."""
RECORD_WINDOW_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A request that was sent, with all evidence about it."""

    answer: Response
    evidence: Evidence
    raw: dict[str, object]


def look(spec: Probe, context: Context) -> Sighting:
    """Send the request, find out who decided, and compare."""
    expected = expected_of(spec)
    try:
        target = target_of(spec, context)
    except LabError as error:
        if error.code != KIND_NOT_SERVED:
            raise
        return _not_served(spec, expected, error, context)
    sent = _send(spec, target, context)
    observed = observe(sent.evidence)
    if observed.failed_open is None and observed.verdict is Verdict.ALLOWED and spec.bracket is not None:
        sent = _bracketed(spec, target, context)
        observed = observe(sent.evidence)
    judgement = judge(expected, observed, prove=context.prove)
    return _sighting(spec, expected, observed, judgement, sent.raw, stored=_stored(sent.answer))


def measure(spec: Probe, context: Context, *, then: Callable[[str, Observed], None] | None = None) -> Observed:
    """Send the request and find out who decided, without comparing it with anything.

    Args:
        spec: the probe; of what it expects, only ``asked`` and ``reviewedImages`` matter: they ask for that evidence.
        context: where.
        then: called while what the request made is still there, with its namespace and what was observed.

    Raises:
        LabError: it could not be sent, or whatever ``then`` raises.
    """
    return observe(_send(spec, target_of(spec, context), context, then=then).evidence)


def expected_of(spec: Probe) -> Expected:
    """What a probe has to get."""
    expect = spec.expect
    return Expected(
        verdict=Verdict(expect.verdict),
        deciders=expect.deciders,
        message=expect.message,
        message_pattern=expect.message_pattern,
        asked=None if expect.asked is None else frozenset(expect.asked),
        reviewed_images=expect.reviewed_images,
        failed_open=expect.failed_open,
    )


def _not_served(spec: Probe, expected: Expected, error: LabError, context: Context) -> Sighting:
    """The API server has said that it has no such kind: an answer about the cluster, and no failure to look."""
    observed = Observed(
        verdict=Verdict.ERROR,
        deciders=frozenset({API_SERVER}),
        message=error.message,
        reason="NotFound",
        http_status=HTTP_NOT_FOUND,
        proof=("the API server was asked which kinds it serves",),
    )
    return _sighting(spec, expected, observed, judge(expected, observed, prove=context.prove), {})


def _stored(answer: Response) -> Mapping[str, object] | None:
    """The object in the answer to an allowed request; to a deletion it may be a Status."""
    return answer.body if answer.ok and answer.body.get("kind", "Status") != "Status" else None


def _sighting(
    spec: Probe,
    expected: Expected,
    observed: Observed,
    judgement: Judgement,
    evidence: Mapping[str, object],
    *,
    stored: Mapping[str, object] | None = None,
) -> Sighting:
    return Sighting(
        facts={
            "verdict": observed.verdict.value,
            "decider": ", ".join(sorted(observed.deciders)),
            "message": observed.message,
            "httpStatus": str(observed.http_status),
            "reason": observed.reason,
            "failedOpen": ", ".join(observed.failed_open or ()),
            "asked": ", ".join(sorted(observed.asked)),
            "reviewedImages": ", ".join(observed.reviewed_images or ()),
        },
        mismatches=judgement.mismatches,
        problem="; ".join(f"not proved: {what}" for what in judgement.unproved),
        probe=ProbeResult(
            request=as_typed(spec), expected=expected, observed=observed, stored=stored, evidence=evidence
        ),
    )


def _bracketed(spec: Probe, target: Target, context: Context) -> _Sent:
    """Send the request between two that must be denied: what denies both was not open in between."""
    bracket = next(check.probe for check in context.scenario.document.checks if check.id == spec.bracket)
    if bracket is None:
        raise LabError("bracket-no-probe", f"the check {spec.bracket} is no probe", hint="name a check with a probe")
    before = look(bracket, context)
    sent = _send(spec, target, context)
    after = look(bracket, context)
    held = before.outcome is Outcome.PASS and after.outcome is Outcome.PASS
    raw = {**sent.raw, "bracket": {"check": spec.bracket, "before": before.outcome.value, "after": after.outcome.value}}
    return replace(sent, evidence=replace(sent.evidence, bracketed=held), raw=raw)


def _send(
    spec: Probe, target: Target, context: Context, *, then: Callable[[str, Observed], None] | None = None
) -> _Sent:
    with _namespace(spec, target, context) as namespace:
        for file in spec.given:
            for manifest in manifests_in(context, file):
                context.api.apply(_without_namespace(manifest), namespace=namespace)
        audit_id = str(uuid.uuid4())
        request = request_of(spec, target, namespace=namespace, audit_id=audit_id, api=context.api)
        earlier = _reviews(spec, context, namespace) if spec.namespace != FRESH or spec.given else ()
        answer = context.api.transport.send(request)
        try:
            sent = _gather(spec, context, answer, namespace=namespace, audit_id=audit_id, earlier=earlier)
            if then is not None:
                then(namespace, observe(sent.evidence))
            return sent
        finally:
            if answer.ok and target.creates and not spec.dry_run and not _is_fresh(spec, target):
                _remove(context, target.kind.path(namespace=namespace, name=target.name), propagation="Background")


def _gather(
    spec: Probe,
    context: Context,
    answer: Response,
    *,
    namespace: str,
    audit_id: str,
    earlier: tuple[Review, ...] | None,
) -> _Sent:
    """All evidence about a request, as cheaply as it can be had."""
    event = context.audit.event(audit_id) if answer.ok else context.audit.event(audit_id, wait_s=0.0)
    annotations = None if event is None else dict(event.get("annotations") or {})
    evidence = Evidence(
        http_status=answer.status,
        status=_status(answer),
        fresh=spec.namespace == FRESH,
        annotations=annotations,
    )
    observed = observe(evidence)
    if not observed.deciders or (answer.ok and annotations is None):
        evidence = replace(evidence, webhooks=context.api.webhooks(), image_policy_on=_image_policy_on(context))
    wants_record = spec.expect.asked is not None or spec.expect.reviewed_images is not None
    if wants_record or (answer.ok and annotations is None):
        evidence = replace(evidence, reviews=_new_reviews(spec, context, namespace, earlier))
    reviews = None if evidence.reviews is None else [_as_raw(review) for review in evidence.reviews]
    raw: dict[str, object] = {
        "auditId": audit_id,
        "namespace": namespace,
        "httpStatus": answer.status,
        "status": {} if answer.ok else answer.body,
        "auditEvent": event,
        "reviews": reviews,
    }
    return _Sent(answer=answer, evidence=evidence, raw=raw)


def _as_raw(review: Review) -> dict[str, object]:
    return {"namespace": review.namespace, "images": list(review.images), "allowed": review.allowed}


def _status(answer: Response) -> Status:
    body = answer.body
    causes = (body.get("details") or {}).get("causes") or []
    return Status(
        code=answer.status,
        reason=str(body.get("reason", "")),
        message="" if answer.ok else answer.message,
        causes=tuple(str(cause.get("reason", "")) for cause in causes),
    )


def _image_policy_on(context: Context) -> bool | None:
    """Whether the running API server has the plugin; None where its flags cannot be seen."""
    flags = context.cluster.status().api_server.flags
    return "ImagePolicyWebhook" in plugins_on(flags) if flags else None


def _reviews(spec: Probe, context: Context, namespace: str) -> tuple[Review, ...] | None:
    if spec.expect.asked is None and spec.expect.reviewed_images is None:
        return ()
    return context.record.reviews(namespace=namespace, since_seconds=RECORD_WINDOW_S)


def _new_reviews(
    spec: Probe, context: Context, namespace: str, earlier: tuple[Review, ...] | None
) -> tuple[Review, ...] | None:
    """The reviews that this request caused; in a namespace that others use, those since it was sent."""
    if earlier is None or (spec.namespace != FRESH and spec.expect.asked is None):
        return None
    deadline = context.clock() + REVIEW_WAIT_S
    while True:
        record = context.record.reviews(namespace=namespace, since_seconds=RECORD_WINDOW_S)
        new = None if record is None else record[len(earlier) :]
        if new is None or new or context.clock() >= deadline:
            return new
        context.pause(POLL_S)


def _is_fresh(spec: Probe, target: Target) -> bool:
    return spec.namespace == FRESH and target.kind.namespaced


@contextlib.contextmanager
def _namespace(spec: Probe, target: Target, context: Context) -> Iterator[str]:
    """The probe's namespace; one of its own is removed afterwards with all that is in it."""
    if not _is_fresh(spec, target):
        yield "" if spec.namespace == FRESH else spec.namespace
        return
    name = f"probe-{uuid.uuid4().hex[:10]}"
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"lab.supply-chain/probe": "true"}},
    }
    answer = context.api.transport.send(Request(method="POST", path="/api/v1/namespaces", body=manifest))
    if not answer.ok:
        raise LabError(
            "probe-namespace-denied",
            f"a namespace for the probe could not be made: {answer.message}",
            hint="see who denied it; while Gatekeeper is down, its webhook on namespaces denies every new one",
        )
    try:
        _wait_for_service_account(context, name)
        yield name
    finally:
        _remove(context, f"/api/v1/namespaces/{name}", propagation="Background")


def _wait_for_service_account(context: Context, namespace: str) -> None:
    """A Pod needs the namespace's default ServiceAccount, which a controller makes."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    deadline = context.clock() + NAMESPACE_WAIT_S
    while not (answer := context.api.transport.send(Request(method="GET", path=path))).ok:
        if context.clock() >= deadline:
            raise WaitError(
                what=f"the default ServiceAccount of namespace {namespace}",
                timeout_s=NAMESPACE_WAIT_S,
                last_seen=answer.message,
                hint="see `lab logs kube-controller-manager`",
            )
        context.pause(POLL_S)


def _remove(context: Context, path: str, *, propagation: str) -> None:
    """Delete what a probe made; nobody waits for the controllers that clean up behind it."""
    options = {"gracePeriodSeconds": 0, "propagationPolicy": propagation}
    answer = context.api.transport.send(Request(method="DELETE", path=path, body=options))
    if not answer.ok and answer.status not in (HTTP_NOT_FOUND, 409):
        raise LabError(
            "probe-cleanup-failed",
            f"what the probe made could not be removed ({path}): {answer.message}",
            hint="remove it with kubectl, then run again",
        )


def _without_namespace(manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in manifest.get("metadata", {}).items() if key != "namespace"}
    return {**manifest, "metadata": metadata}
