"""Evidence in, outcome out: what is proved wrong fails, what is not proved is an error, the rest passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.scenario.deciders import Status
from lab.scenario.result import Expected, Outcome, Verdict
from lab.scenario.verdict import Evidence, Review, judge, observe

DENIAL = 'pods "x" is forbidden: image policy webhook backend denied one or more images: image "gcr.io/x" is bad'
CLOSED = 'pods "x" is forbidden: Post "https://b:30080/p?timeout=30s": dial tcp 127.0.0.1:30080: connect: refused'
FAILED_OPEN = "imagepolicywebhook.image-policy.k8s.io/failed-open"
WEBHOOK_FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io/round_0_index_0"

ALLOWED = Expected(verdict=Verdict.ALLOWED, deciders=frozenset({"nobody"}))
DENIED = Expected(verdict=Verdict.DENIED, deciders=frozenset({"image-policy-backend"}), message=DENIAL)


def denied(message: str, *, code: int = 403, **more: object) -> Evidence:
    return replace(Evidence(http_status=code, status=Status(code=code, message=message)), **more)  # type: ignore[arg-type]


def outcome(expected: Expected, evidence: Evidence, *, prove: bool = True) -> Outcome:
    return judge(expected, observe(evidence), prove=prove).outcome


def test_a_denial_by_the_right_decider_with_the_right_message_passes() -> None:
    assert outcome(DENIED, denied(DENIAL)) is Outcome.PASS


def test_the_wrong_message_fails_though_the_decider_is_right() -> None:
    judgement = judge(DENIED, observe(denied(DENIAL.replace("bad", "worse"))))
    assert judgement.outcome is Outcome.FAIL
    assert [mismatch.what for mismatch in judgement.mismatches] == ["message"]


def test_the_wrong_decider_fails() -> None:
    expected = replace(DENIED, deciders=frozenset({"gatekeeper:pod-trusted-images"}))
    judgement = judge(expected, observe(denied(DENIAL)))
    assert judgement.outcome is Outcome.FAIL
    assert [mismatch.what for mismatch in judgement.mismatches] == ["decider"]


def test_a_backend_that_is_down_is_never_taken_for_its_denial() -> None:
    loose = replace(DENIED, message=None, message_pattern=".*forbidden.*")
    assert outcome(loose, denied(CLOSED)) is Outcome.FAIL


def test_failed_closed_passes_where_exactly_that_is_expected() -> None:
    expected = Expected(
        verdict=Verdict.DENIED,
        deciders=frozenset({"image-policy-failed-closed"}),
        message_pattern=r'pods "x" is forbidden: Post "https://b:30080/p\?timeout=30s": dial tcp .*: connect: refused',
    )
    assert outcome(expected, denied(CLOSED)) is Outcome.PASS


def test_a_pattern_must_match_the_whole_message() -> None:
    expected = replace(DENIED, message=None, message_pattern="image policy webhook backend denied")
    assert outcome(expected, denied(DENIAL)) is Outcome.FAIL


def test_a_time_out_fails_where_a_denial_is_expected() -> None:
    timeout = denied("Timeout: request did not complete within requested timeout", code=504)
    assert outcome(DENIED, timeout) is Outcome.FAIL


def test_an_allowed_case_that_is_denied_fails() -> None:
    assert outcome(ALLOWED, denied(DENIAL)) is Outcome.FAIL


def test_a_denied_case_that_is_allowed_fails() -> None:
    assert outcome(DENIED, Evidence(http_status=201, annotations={})) is Outcome.FAIL


def test_an_undecided_cause_is_an_error_and_never_passes() -> None:
    expected = replace(DENIED, message=None, message_pattern=".*")
    judgement = judge(expected, observe(denied("who knows")))
    assert judgement.outcome is Outcome.ERROR
    assert "who decided" in judgement.unproved[0]


def test_an_allowed_request_with_a_clean_audit_event_passes() -> None:
    assert outcome(ALLOWED, Evidence(http_status=201, annotations={"other/annotation": "x"})) is Outcome.PASS


@pytest.mark.parametrize(
    ("key", "value", "who"),
    [
        (FAILED_OPEN, "true", "ImagePolicyWebhook"),
        (WEBHOOK_FAILED_OPEN, "validation.gatekeeper.sh", "validation.gatekeeper.sh"),
        ("failed-open.mutation.webhook.admission.k8s.io/round_1_index_2", "m.example.com", "m.example.com"),
    ],
)
def test_an_allowed_request_that_failed_open_fails(key: str, value: str, who: str) -> None:
    evidence = Evidence(http_status=201, annotations={key: value})
    judgement = judge(ALLOWED, observe(evidence))
    assert judgement.outcome is Outcome.FAIL
    assert judgement.mismatches[0].actual == who


def test_failing_open_can_be_what_is_expected() -> None:
    expected = replace(ALLOWED, failed_open=True)
    assert outcome(expected, Evidence(http_status=201, annotations={FAILED_OPEN: "true"})) is Outcome.PASS
    assert outcome(expected, Evidence(http_status=201, annotations={})) is Outcome.FAIL
    assert outcome(expected, Evidence(http_status=201)) is Outcome.ERROR


def test_without_an_audit_event_nothing_proves_that_it_did_not_fail_open() -> None:
    assert outcome(ALLOWED, Evidence(http_status=201)) is Outcome.ERROR
    assert outcome(ALLOWED, Evidence(http_status=201), prove=False) is Outcome.PASS


def test_without_proof_obligation_a_known_failing_open_still_fails() -> None:
    assert outcome(ALLOWED, Evidence(http_status=201, annotations={FAILED_OPEN: "true"}), prove=False) is Outcome.FAIL


def test_a_bracket_proves_what_the_audit_log_would() -> None:
    assert outcome(ALLOWED, Evidence(http_status=201, bracketed=True)) is Outcome.PASS


def test_without_any_decision_point_nothing_can_fail_open() -> None:
    nothing = Evidence(http_status=201, webhooks={}, image_policy_on=False)
    assert outcome(ALLOWED, nothing) is Outcome.PASS
    assert outcome(ALLOWED, replace(nothing, image_policy_on=None)) is Outcome.ERROR
    assert outcome(ALLOWED, replace(nothing, webhooks={"w": "validating"})) is Outcome.ERROR


REVIEW = Review(namespace="n", images=("docker.io/nginx",), allowed=True)


def test_the_bouncers_record_proves_an_allowance_only_where_no_webhook_could_fail_open() -> None:
    recorded = Evidence(http_status=201, webhooks={}, image_policy_on=True, reviews=(REVIEW,))
    assert outcome(ALLOWED, recorded) is Outcome.PASS
    assert outcome(ALLOWED, replace(recorded, webhooks={"w": "validating"})) is Outcome.ERROR
    assert outcome(ALLOWED, replace(recorded, reviews=())) is Outcome.ERROR
    assert outcome(ALLOWED, replace(recorded, reviews=(replace(REVIEW, allowed=False),))) is Outcome.ERROR


def test_who_was_asked_is_proved_by_the_record() -> None:
    asked = replace(ALLOWED, asked=frozenset({"bouncer"}))
    evidence = Evidence(http_status=201, annotations={}, reviews=(REVIEW,))
    assert outcome(asked, evidence) is Outcome.PASS
    assert outcome(asked, replace(evidence, reviews=())) is Outcome.FAIL
    assert outcome(asked, replace(evidence, reviews=None)) is Outcome.ERROR


def test_a_denial_proves_that_the_backend_was_asked_unless_a_cache_could_answer() -> None:
    asked = replace(DENIED, asked=frozenset({"bouncer"}))
    assert outcome(asked, denied(DENIAL)) is Outcome.PASS
    assert outcome(asked, denied(DENIAL, fresh=False)) is Outcome.ERROR


def test_annotations_of_the_backend_prove_that_it_was_asked() -> None:
    asked = replace(ALLOWED, asked=frozenset({"bouncer"}))
    annotations = {"imagepolicywebhook.image-policy.k8s.io/verdict": "allowed"}
    assert outcome(asked, Evidence(http_status=201, annotations=annotations)) is Outcome.PASS
    assert outcome(asked, Evidence(http_status=201, annotations=annotations, fresh=False)) is Outcome.ERROR


def test_an_answer_from_the_cache_asks_nobody() -> None:
    cached = replace(ALLOWED, asked=frozenset())
    assert outcome(cached, Evidence(http_status=201, annotations={}, reviews=())) is Outcome.PASS
    assert outcome(cached, Evidence(http_status=201, annotations={}, reviews=(REVIEW,))) is Outcome.FAIL
    assert outcome(cached, Evidence(http_status=201, annotations={})) is Outcome.ERROR


def test_the_images_that_the_backend_was_shown_are_compared() -> None:
    shown = replace(ALLOWED, reviewed_images=("docker.io/nginx",))
    evidence = Evidence(http_status=201, annotations={}, reviews=(REVIEW,))
    assert outcome(shown, evidence) is Outcome.PASS
    assert outcome(replace(shown, reviewed_images=("docker.io/nginx", "evil/x")), evidence) is Outcome.FAIL
    assert outcome(shown, replace(evidence, reviews=None)) is Outcome.ERROR


def test_a_webhooks_denial_proves_that_it_was_asked() -> None:
    message = 'admission webhook "validation.gatekeeper.sh" denied the request: [c] no'
    observed = observe(denied(message))
    assert observed.asked == {"validation.gatekeeper.sh"}
