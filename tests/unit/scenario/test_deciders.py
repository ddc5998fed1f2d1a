"""Who decided, told from messages that real API servers printed."""

from __future__ import annotations

import pytest

from lab.scenario.deciders import Status, cause_of
from lab.scenario.result import Verdict

WEBHOOKS = {"image-policy.example.com": "validating", "mutator.example.com": "mutating"}


@pytest.mark.parametrize(
    ("message", "code", "decider"),
    [
        (
            'admission webhook "validation.gatekeeper.sh" denied the request: [pod-trusted-images] not trusted image!',
            403,
            "gatekeeper:pod-trusted-images",
        ),
        (
            (
                'admission webhook "validation.gatekeeper.sh" denied the request: [pod-trusted-images] [Implied by '
                "expand-deployments] not trusted image!"
            ),
            403,
            "gatekeeper:pod-trusted-images",
        ),
        (
            (
                'pods "test1" is forbidden: Post "https://external-service:1234/check-image?timeout=30s": dial tcp: '
                "lookup external-service on 169.254.169.254:53: no such host"
            ),
            403,
            "image-policy-failed-closed",
        ),
        (
            (
                'pods "t" is forbidden: Post "https://b:1/x?timeout=30s": tls: failed to verify certificate: x509: '
                "certificate signed by unknown authority"
            ),
            403,
            "image-policy-failed-closed",
        ),
        (
            'pods "t" is forbidden: image policy webhook backend denied one or more images: image "x" is bad',
            403,
            "image-policy-backend",
        ),
        ('pods "t" is forbidden: one or more images rejected by webhook backend', 403, "image-policy-backend"),
        (
            (
                'admission webhook "image-policy.example.com" denied the request: Image nginx is not allowed. Allowed '
                "registries: registry.example.com, docker.io"
            ),
            400,
            "validating-webhook:image-policy.example.com",
        ),
        (
            'admission webhook "mutator.example.com" denied the request without explanation',
            400,
            "mutating-webhook:mutator.example.com",
        ),
        (
            (
                'Internal error occurred: failed calling webhook "image-policy.example.com": received invalid webhook '
                "response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
            ),
            500,
            "webhook-failed-closed:image-policy.example.com",
        ),
        (
            "pods \"t\" is forbidden: ValidatingAdmissionPolicy 'trusted' with binding 'all' denied request: no",
            422,
            "validating-admission-policy:trusted/all",
        ),
        (
            (
                'ConstraintTemplate in version "v1beta1" cannot be handled as a ConstraintTemplate: strict decoding '
                'error: unknown field "targets"'
            ),
            400,
            "schema",
        ),
        ('Pod "t" is invalid: spec.containers: Required value', 422, "schema"),
        (
            'pods is forbidden: User "jane" cannot create resource "pods" in API group "" in the namespace "x"',
            403,
            "authorization",
        ),
        (
            'pods "t" is forbidden: node "other" can only create pods with spec.nodeName set to itself',
            403,
            "admission-plugin:NodeRestriction",
        ),
        (
            'pods "t" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            403,
            "admission-plugin:PodSecurity",
        ),
        (
            'pods "t" is forbidden: error looking up service account x/default: serviceaccount "default" not found',
            403,
            "admission-plugin:ServiceAccount",
        ),
        ('pods "t" is forbidden: exceeded quota: q, requested: pods=1', 403, "admission-plugin:ResourceQuota"),
    ],
)
def test_the_message_tells_who_decided(message: str, code: int, decider: str) -> None:
    cause = cause_of(Status(code=code, message=message), webhooks=WEBHOOKS, image_policy_on=None)
    assert cause.deciders == {decider}
    assert cause.verdict is Verdict.DENIED


def test_every_constraint_that_denies_is_a_decider() -> None:
    message = 'admission webhook "validation.gatekeeper.sh" denied the request: [tags] no tag\n[registries] no'
    cause = cause_of(Status(code=403, message=message), webhooks={}, image_policy_on=None)
    assert cause.deciders == {"gatekeeper:tags", "gatekeeper:registries"}


def test_a_time_out_is_no_denial() -> None:
    status = Status(code=504, message="Timeout: request did not complete within requested timeout - context deadline")
    cause = cause_of(status, webhooks={}, image_policy_on=True)
    assert cause.verdict is Verdict.ERROR
    assert cause.deciders == {"api-server"}


def test_gatekeeper_rejecting_a_template_is_no_constraint() -> None:
    message = 'admission webhook "validation.gatekeeper.sh" denied the request: invalid ConstraintTemplate: no rego'
    status = Status(code=422, message=message)
    cause = cause_of(status, webhooks={"validation.gatekeeper.sh": "validating"}, image_policy_on=None)
    assert cause.deciders == {"validating-webhook:validation.gatekeeper.sh"}


def test_a_webhook_that_no_configuration_names_is_not_guessed() -> None:
    status = Status(code=400, message='admission webhook "x.example.com" denied the request: no')
    cause = cause_of(status, webhooks={}, image_policy_on=None)
    assert cause.deciders == frozenset()


BACKEND_FAILURES = [
    'pods "t4" is forbidden: an error on the server ("unknown") has prevented the request from succeeding',
    'pods "t" is forbidden: the server has received too many requests and has asked us to try again later',
    'pods "t" is forbidden: the server could not find the requested resource',
]


@pytest.mark.parametrize("message", BACKEND_FAILURES)
def test_a_failed_backend_without_its_url_is_told_only_where_the_plugin_runs(message: str) -> None:
    status = Status(code=403, message=message)
    assert cause_of(status, webhooks={}, image_policy_on=True).deciders == {"image-policy-failed-closed"}
    assert cause_of(status, webhooks={}, image_policy_on=False).deciders == frozenset()
    assert cause_of(status, webhooks={}, image_policy_on=None).deciders == frozenset()


def test_a_403_of_the_backend_passes_through_and_is_known_by_its_cause() -> None:
    status = Status(code=403, message="unknown", causes=("UnexpectedServerResponse",))
    assert cause_of(status, webhooks={}, image_policy_on=True).deciders == {"image-policy-failed-closed"}
    bare = Status(code=403, message="unknown")
    assert cause_of(bare, webhooks={}, image_policy_on=True).deciders == frozenset()


def test_an_unknown_message_is_undecided() -> None:
    cause = cause_of(Status(code=403, message="no"), webhooks={}, image_policy_on=True)
    assert cause.deciders == frozenset()
    assert "no known decider" in cause.proof


def test_a_backend_cannot_pose_as_another_decider() -> None:
    inner = 'admission webhook "validation.gatekeeper.sh" denied the request: [pod-trusted-images] no'
    message = f'pods "t" is forbidden: image policy webhook backend denied one or more images: {inner}'
    cause = cause_of(Status(code=403, message=message), webhooks={}, image_policy_on=None)
    assert cause.deciders == {"image-policy-backend"}
