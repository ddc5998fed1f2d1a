"""A verdict has a cause: who decided about a request, told from the evidence, and compared with what was expected.

Pure functions over evidence. `observe` says what is proved and nothing more; `judge` compares: what is proved wrong is
FAIL, what is not proved is ERROR, and only what is proved right is PASS. So a time-out or a TLS error can never pass
for a denial, an allowed request never passes while something may have failed open, and who denied is part of it.

Who decided is read from the exact shape of the API server's message; the shapes are in `lab.scenario.deciders`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.scenario import deciders
from lab.scenario.result import Expected, Mismatch, Observed, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.scenario.deciders import Status

BOUNCER = "bouncer"
"""Name of the image bouncer in ``asked``; any other name there is that of an admission webhook."""

IMAGE_POLICY_PREFIX = "imagepolicywebhook.image-policy.k8s.io/"
"""Audit annotations of ImagePolicyWebhook (kubernetes, plugin/pkg/admission/imagepolicy/admission.go)."""
IMAGE_POLICY_FAILED_OPEN = IMAGE_POLICY_PREFIX + "failed-open"
WEBHOOK_FAILED_OPEN = re.compile(r"failed-open\.(validating|mutation)\.webhook\.admission\.k8s\.io/round_\d+_index_\d+")
"""Audit annotations of admission webhooks (k8s.io/apiserver, pkg/admission/plugin/webhook)."""

SUCCESS = range(200, 300)
NOBODY = frozenset({"nobody"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One question that the bouncer answered, from its own record.

    Attributes:
        namespace: of the object under review.
        images: what it was shown.
        allowed: what it said.
    """

    namespace: str
    images: tuple[str, ...]
    allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was gathered about one request. None stands for evidence that could not be had, never for "no".

    Attributes:
        http_status: of the API server's answer.
        status: the Status object in it; empty for a request that succeeded.
        fresh: whether nothing could have answered it from a cache.
        annotations: of its audit event.
        reviews: the bouncer's record of reviews that belong to this request.
        webhooks: the admission webhooks that are configured: name -> ``validating`` or ``mutating``.
        image_policy_on: whether the running API server has ImagePolicyWebhook enabled.
        bracketed: whether probes before and after it were denied by the decision point in question.
    """

    http_status: int
    status: Status = field(default_factory=lambda: deciders.NO_STATUS)
    fresh: bool = True
    annotations: Mapping[str, str] | None = None
    reviews: tuple[Review, ...] | None = None
    webhooks: Mapping[str, str] | None = None
    image_policy_on: bool | None = None
    bracketed: bool = False


def observe(evidence: Evidence) -> Observed:
    """What the evidence proves about a request."""
    if evidence.http_status in SUCCESS:
        verdict, decided_by, message, reason = Verdict.ALLOWED, NOBODY, "", ""
        failed_open, proof = _failed_open(evidence)
    else:
        cause = deciders.cause_of(
            evidence.status, webhooks=evidence.webhooks or {}, image_policy_on=evidence.image_policy_on
        )
        verdict, decided_by = cause.verdict, cause.deciders
        message, reason = evidence.status.message, evidence.status.reason
        failed_open, _ = _failed_open(evidence) if evidence.annotations is not None else (None, "")
        proof = cause.proof
    asked, not_asked, images, asked_proof = _asked(evidence, decided_by)
    return Observed(
        verdict=verdict,
        deciders=decided_by,
        message=message,
        reason=reason,
        http_status=evidence.http_status,
        asked=asked,
        not_asked=not_asked,
        reviewed_images=images,
        failed_open=failed_open,
        proof=tuple(sentence for sentence in (proof, *asked_proof) if sentence),
    )


def _failed_open(evidence: Evidence) -> tuple[tuple[str, ...] | None, str]:
    """Which decision points failed open, and how that is known."""
    if evidence.annotations is not None:
        open_points = sorted(_open_points(evidence.annotations))
        if open_points:
            return tuple(open_points), f"the audit event says that {', '.join(open_points)} failed open"
        return (), "the audit event has no failed-open annotation"
    if evidence.bracketed:
        return (), "the same decision point denied a probe just before and just after"
    if evidence.webhooks == {} and evidence.image_policy_on is False:
        return (), "there is no webhook that could fail open"
    if evidence.webhooks == {} and evidence.reviews and all(review.allowed for review in evidence.reviews):
        return (), "the bouncer's record shows that it allowed this request"
    return None, "no audit event, no bracket and no record: nothing proves that no decision point failed open"


def _open_points(annotations: Mapping[str, str]) -> Iterable[str]:
    for key, value in annotations.items():
        if key == IMAGE_POLICY_FAILED_OPEN:
            yield "ImagePolicyWebhook"
        elif WEBHOOK_FAILED_OPEN.fullmatch(key):
            yield value


def _asked(
    evidence: Evidence, decided_by: frozenset[str]
) -> tuple[frozenset[str], frozenset[str], tuple[str, ...] | None, list[str]]:
    """Who was proved to be asked, who was proved not to be, the images shown, and how that is known."""
    asked: set[str] = set()
    not_asked: set[str] = set()
    images: tuple[str, ...] | None = None
    proof: list[str] = []
    if evidence.reviews is not None:
        (asked if evidence.reviews else not_asked).add(BOUNCER)
        images = tuple(sorted({image for review in evidence.reviews for image in review.images}))
        proof.append(f"the bouncer's record has {len(evidence.reviews)} review(s) of this request")
    elif deciders.IMAGE_POLICY_BACKEND in decided_by and evidence.fresh:
        asked.add(BOUNCER)
        proof.append("the denial is the backend's own, and no cache could have held it")
    elif evidence.fresh and any(_from_backend(key) for key in evidence.annotations or {}):
        asked.add(BOUNCER)
        proof.append("the audit event carries annotations of the backend's answer")
    if evidence.image_policy_on is False and evidence.webhooks == {}:
        not_asked |= {BOUNCER} - asked
    for name in evidence.webhooks or {}:
        if any(key.startswith(f"{name}/") for key in evidence.annotations or {}):
            asked.add(name)
    asked |= {name for decider in decided_by if (name := deciders.webhook_of(decider))}
    return frozenset(asked), frozenset(not_asked), images, proof


def _from_backend(key: str) -> bool:
    return key.startswith(IMAGE_POLICY_PREFIX) and key != IMAGE_POLICY_FAILED_OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How an observation compares with what was expected.

    Attributes:
        outcome: PASS, FAIL or ERROR.
        mismatches: what is proved wrong.
        unproved: what could not be proved, one sentence each.
    """

    outcome: Outcome
    mismatches: tuple[Mismatch, ...] = ()
    unproved: tuple[str, ...] = ()


def judge(expected: Expected, observed: Observed, *, prove: bool = True) -> Judgement:
    """Compare.

    Args:
        expected: what a probe had to get.
        observed: what it got.
        prove: whether an allowed request must be proved not to have failed open; not so in a state in which nobody is
            supposed to decide yet.
    """
    mismatches: list[Mismatch] = []
    unproved: list[str] = []
    if observed.verdict is not expected.verdict:
        mismatches.append(Mismatch(what="verdict", expected=expected.verdict, actual=observed.verdict))
    if observed.deciders and observed.deciders != expected.deciders:
        mismatches.append(Mismatch(what="decider", expected=named(expected.deciders), actual=named(observed.deciders)))
    if not observed.deciders:
        unproved.append(f"who decided: {' '.join(observed.proof)}")
    mismatches += _message_mismatch(expected, observed)
    for compare in (_compare_failed_open, _compare_asked, _compare_images):
        found, open_questions = compare(expected, observed)
        mismatches += found
        unproved += open_questions if prove else []
    if mismatches:
        return Judgement(outcome=Outcome.FAIL, mismatches=tuple(mismatches), unproved=tuple(unproved))
    return Judgement(outcome=Outcome.ERROR if unproved else Outcome.PASS, unproved=tuple(unproved))


def named(names: Iterable[str]) -> str:
    """Names for a person; a dash for none."""
    return ", ".join(sorted(names)) or "-"


def _message_mismatch(expected: Expected, observed: Observed) -> list[Mismatch]:
    if expected.message is not None and observed.message != expected.message:
        return [Mismatch(what="message", expected=expected.message, actual=observed.message or "-")]
    pattern = expected.message_pattern
    if pattern is not None and not re.fullmatch(pattern, observed.message, re.DOTALL):
        return [Mismatch(what="message", expected=f"matching {pattern}", actual=observed.message or "-")]
    return []


def _compare_failed_open(expected: Expected, observed: Observed) -> tuple[list[Mismatch], list[str]]:
    if expected.verdict is not Verdict.ALLOWED or observed.verdict is not Verdict.ALLOWED:
        return [], []
    if observed.failed_open is None:
        return [], [f"whether something failed open: {' '.join(observed.proof)}"]
    if bool(observed.failed_open) != expected.failed_open:
        wanted = "some decision point" if expected.failed_open else "-"
        return [Mismatch(what="failed open", expected=wanted, actual=named(observed.failed_open))], []
    return [], []


def _compare_asked(expected: Expected, observed: Observed) -> tuple[list[Mismatch], list[str]]:
    if expected.asked is None:
        return [], []
    missing, surplus = expected.asked & observed.not_asked, (observed.asked & {BOUNCER}) - expected.asked
    if missing or surplus:
        return [Mismatch(what="asked", expected=named(expected.asked), actual=named(observed.asked))], []
    unknown = expected.asked - observed.asked
    if BOUNCER not in expected.asked | observed.not_asked:
        unknown |= {BOUNCER}
    return [], [f"whether {name} was asked for this very request" for name in sorted(unknown)]


def _compare_images(expected: Expected, observed: Observed) -> tuple[list[Mismatch], list[str]]:
    if expected.reviewed_images is None:
        return [], []
    if observed.reviewed_images is None:
        return [], ["which images the backend was shown: its record cannot be read"]
    wanted = sorted(set(expected.reviewed_images))
    if list(observed.reviewed_images) != wanted:
        return [Mismatch(what="images shown", expected=named(wanted), actual=named(observed.reviewed_images))], []
    return [], []
