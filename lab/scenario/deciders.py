r"""Who decided about a request, read from the exact shape of the API server's Status.

Every shape is one row of a table; its comment names the source that prints it. The first row that fits tells the
decider. A Status that fits none is told as undecided: the caller makes that an ERROR, never a guess.

Sources are those of Kubernetes 1.37. What an admission plugin denies is printed by ``NewForbidden`` of k8s.io/apiserver
pkg/admission/errors.go: ``RESOURCE "NAME" is forbidden: ERROR``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lab.scenario.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IMAGE_POLICY_BACKEND = "image-policy-backend"
"""ImagePolicyWebhook's backend answered: not allowed."""
IMAGE_POLICY_FAILED_CLOSED = "image-policy-failed-closed"
"""ImagePolicyWebhook got no answer that it could use, and ``defaultAllow`` is false."""
SCHEMA = "schema"
AUTHORIZATION = "authorization"
API_SERVER = "api-server"
GATEKEEPER_WEBHOOK = "validation.gatekeeper.sh"

_WEBHOOK_PREFIXES = ("validating-webhook:", "mutating-webhook:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The part of a ``metav1.Status`` that tells a cause.

    Attributes:
        code: HTTP status.
        reason: for example ``Forbidden``.
        message: what kubectl prints.
        causes: the reasons in ``details.causes``.
    """

    code: int
    reason: str = ""
    message: str = ""
    causes: tuple[str, ...] = ()


NO_STATUS = Status(code=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What a Status proves.

    Attributes:
        verdict: DENIED or ERROR.
        deciders: who decided; empty when that is not proved.
        proof: the sentence that says why, or what is missing.
    """

    verdict: Verdict
    deciders: frozenset[str]
    proof: str


_Decide: TypeAlias = "Callable[[re.Match[str], Mapping[str, str]], frozenset[str]]"


def cause_of(status: Status, *, webhooks: Mapping[str, str], image_policy_on: bool | None) -> Cause:
    """Who decided.

    Args:
        status: of a request that did not succeed.
        webhooks: name -> ``validating`` or ``mutating``; the message of a denial does not tell which.
        image_policy_on: whether ImagePolicyWebhook runs; some failures of its backend carry no sign of it.
    """
    for pattern, decide in _SHAPES:
        match = pattern.fullmatch(status.message)
        if match is None:
            continue
        found = decide(match, webhooks)
        if not found:
            return _undecided(f"{status.message!r} names a webhook that no configuration names.")
        return Cause(verdict=Verdict.DENIED, deciders=found, proof="the message has that decider's own shape")
    return _without_shape(status, image_policy_on=image_policy_on)


def webhook_of(decider: str) -> str:
    """The webhook that a decider proves to have been asked; empty when it is no webhook."""
    if decider.startswith("gatekeeper:"):
        return GATEKEEPER_WEBHOOK
    for prefix in _WEBHOOK_PREFIXES:
        if decider.startswith(prefix):
            return decider.removeprefix(prefix)
    return ""


def _without_shape(status: Status, *, image_policy_on: bool | None) -> Cause:
    """Who decided, where the message alone does not tell."""
    if _is_backend_failure(status) and not image_policy_on:
        return _undecided("a call to a backend failed, and it is not known that ImagePolicyWebhook runs.")
    if _is_backend_failure(status):
        proof = "ImagePolicyWebhook runs, and the message is that of a failed call to its backend"
        return Cause(verdict=Verdict.DENIED, deciders=frozenset({IMAGE_POLICY_FAILED_CLOSED}), proof=proof)
    if status.code in _SCHEMA_CODES:
        return Cause(verdict=Verdict.DENIED, deciders=frozenset({SCHEMA}), proof="the object does not fit its schema")
    if status.code in _GIVEN_UP:
        proof = f"the API server gave up with status {status.code}"
        return Cause(verdict=Verdict.ERROR, deciders=frozenset({API_SERVER}), proof=proof)
    return _undecided(f"the message {status.message!r} has the shape of no known decider.")


def _undecided(proof: str) -> Cause:
    return Cause(verdict=Verdict.DENIED, deciders=frozenset(), proof=proof)


def _fixed(decider: str) -> _Decide:
    return lambda _match, _webhooks: frozenset({decider})


def _webhook(match: re.Match[str], webhooks: Mapping[str, str]) -> frozenset[str]:
    """A webhook's denial; Gatekeeper's names its constraints, one line each."""
    name = match["webhook"]
    if name == GATEKEEPER_WEBHOOK:
        constraints = _CONSTRAINT_LINE.findall(match["text"] or "")
        if constraints and (match["text"] or "").startswith("["):
            return frozenset(f"gatekeeper:{constraint}" for constraint in constraints)
    kind = webhooks.get(name)
    return frozenset({f"{kind}-webhook:{name}"}) if kind else frozenset()


def _policy(match: re.Match[str], _webhooks: Mapping[str, str]) -> frozenset[str]:
    binding = f"/{match['binding']}" if match["binding"] else ""
    return frozenset({f"validating-admission-policy:{match['policy']}{binding}"})


def _failed_closed(match: re.Match[str], _webhooks: Mapping[str, str]) -> frozenset[str]:
    return frozenset({f"webhook-failed-closed:{match['webhook']}"})


_FORBIDDEN = r'\S+ "[^"]*" is forbidden: '
_CONSTRAINT_LINE = re.compile(r"^\[([a-z0-9](?:[-.a-z0-9]*[a-z0-9])?)\] ", re.MULTILINE)


def _shape(pattern: str, decide: _Decide) -> tuple[re.Pattern[str], _Decide]:
    return re.compile(pattern, re.DOTALL), decide


_SHAPES: tuple[tuple[re.Pattern[str], _Decide], ...] = (
    # ToStatusErr, k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go
    _shape(
        r'admission webhook "(?P<webhook>[^"]+)" denied the request(?:: (?P<text>.*)| without explanation)', _webhook
    ),
    # ErrCallingWebhook, k8s.io/apiserver pkg/util/webhook/error.go
    _shape(r'Internal error occurred: failed calling webhook "(?P<webhook>[^"]+)"[:;] .*', _failed_closed),
    # pkg/admission/plugin/policy/validating/dispatcher.go
    _shape(
        _FORBIDDEN
        + r"ValidatingAdmissionPolicy '(?P<policy>[^']+)'(?: with binding '(?P<binding>[^']+)')? denied request: .*",
        _policy,
    ),
    # admitPod, kubernetes plugin/pkg/admission/imagepolicy/admission.go
    _shape(_FORBIDDEN + "image policy webhook backend denied one or more images: .+", _fixed(IMAGE_POLICY_BACKEND)),
    _shape(_FORBIDDEN + "one or more images rejected by webhook backend", _fixed(IMAGE_POLICY_BACKEND)),
    # net/url.Error around whatever stopped the call: name, connection, TLS, time-out
    _shape(r'pods "[^"]*" is forbidden: Post "https?://[^"]*": .+', _fixed(IMAGE_POLICY_FAILED_CLOSED)),
    _shape(r'pods "[^"]*" is forbidden: Error contacting webhook: \d+', _fixed(IMAGE_POLICY_FAILED_CLOSED)),
    # k8s.io/apiserver pkg/endpoints/handlers/responsewriters/errors.go
    _shape(r'(?:\S+ "[^"]*"|\S+) is forbidden: User "[^"]*" cannot .*', _fixed(AUTHORIZATION)),
    # kubernetes plugin/pkg/admission/noderestriction/admission.go
    _shape(
        _FORBIDDEN
        + r'(?:pod does not have "[^"]+" annotation, )?node "?[^" ]+"? (?:can only|cannot|is not allowed) .*',
        _fixed("admission-plugin:NodeRestriction"),
    ),
    # k8s.io/pod-security-admission admission/admission.go
    _shape(_FORBIDDEN + 'violates PodSecurity "[^"]+": .*', _fixed("admission-plugin:PodSecurity")),
    # kubernetes plugin/pkg/admission/serviceaccount, resourcequota, limitranger; apiserver plugin/namespace/lifecycle
    _shape(_FORBIDDEN + "error looking up service account .*", _fixed("admission-plugin:ServiceAccount")),
    _shape(_FORBIDDEN + "(?:exceeded|failed) quota: .*", _fixed("admission-plugin:ResourceQuota")),
    _shape(_FORBIDDEN + r"\[?(?:maximum|minimum) \S+ (?:usage|limit) per .*", _fixed("admission-plugin:LimitRanger")),
    _shape(
        _FORBIDDEN + r"unable to create new content in namespace \S+ because it is being terminated",
        _fixed("admission-plugin:NamespaceLifecycle"),
    ),
)

_UNWRAPPED = "UnexpectedServerResponse"
"""Cause that client-go adds to an answer which is no Status: a 403 of the backend passes through unwrapped."""

# The generic texts of NewGenericServerResponse, k8s.io/apimachinery pkg/api/errors/errors.go, for an answer of the
# backend that is not 2xx; ImagePolicyWebhook wraps them without saying whose answer it was.
_BACKEND_FAILURE = re.compile(
    r'pods "[^"]*" is forbidden: (?:'
    r"an error on the server \(.*\) has prevented the request from succeeding"
    r"|the server has received too many requests and has asked us to try again later"
    r"|the server could not find the requested resource"
    r"|the server has asked for the client to provide credentials"
    r"|the server rejected our request .*"
    r"|the server is currently unable to handle the request"
    r"|the server was unable to return a response in the time allotted, but may still be processing the request"
    r"|the server does not allow this method on the requested resource"
    r"|couldn't get version/kind; json parse error: .*"
    r"|no kind \".*\" is registered for version \".*\" in scheme .*"
    r"|unable to decode .*|context deadline exceeded|timed out waiting for the condition"
    r")",
    re.DOTALL,
)

_SCHEMA_CODES = frozenset({400, 422})
_GIVEN_UP = frozenset({404, 409, 410, 429, 500, 503, 504})


def _is_backend_failure(status: Status) -> bool:
    passed_through = status.code == 403 and _UNWRAPPED in status.causes  # noqa: PLR2004  # Forbidden
    return passed_through or _BACKEND_FAILURE.fullmatch(status.message) is not None
