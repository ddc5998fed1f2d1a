"""The decision points: who may decide about an image, each with its start state and its policy.

The start of each is written as that of a scenario, so that it is made, and waited for, as every other one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.matrix.model import TRUSTED, UNTRUSTED_IMAGE, Column
from lab.matrix.requests import DIRECTORY
from lab.scenario.load import Scenario
from lab.scenario.schema.scenario import Metadata, ScenarioDocument, Start

if TYPE_CHECKING:
    from collections.abc import Sequence

READY_WITHIN_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPoint:
    """Somebody who may decide.

    Attributes:
        column: how the table shows it.
        start: its start state, in the words of a scenario file.
    """

    column: Column
    start: dict[str, Any]

    @property
    def scenario(self) -> Scenario:
        """A scenario that has nothing but this start state."""
        document = ScenarioDocument.model_construct(
            api_version="lab.supply-chain/v1alpha1",
            kind="Scenario",
            metadata=Metadata(
                name=self.column.key,
                topic="matrix",
                title=self.column.title,
                reason="a decision point of the verdict matrix",
                difficulty="easy",
                weight=1,
                timeMinutes=1,
            ),
            # As JSON, because the models are strict and a list in a file is a tuple in them.
            start=Start.model_validate_json(json.dumps(self.start)),
            hints=(),
            checks=(),
            mistakes=(),
        )
        return Scenario(directory=DIRECTORY, document=document)


def _column(key: str, title: str, heading: Sequence[str], about: str, *, policy: str = "") -> Column:
    text = (DIRECTORY / policy).read_text(encoding="utf-8") if policy else ""
    return Column(key=key, title=title, heading=tuple(heading), about=about, policy=text)


def _until_denied_by(decider: str) -> dict[str, Any]:
    """A new policy is not there at once; it is when it denies what it must."""
    return {
        "title": f"{decider} to deny a Pod",
        "timeoutSeconds": READY_WITHIN_S,
        "probe": {
            "run": {"name": "first", "image": UNTRUSTED_IMAGE},
            "expect": {"verdict": "denied", "decider": decider, "messagePattern": ".+"},
        },
    }


def _until_enforced(constraint: str) -> dict[str, Any]:
    """Every Pod of Gatekeeper learns of a constraint by itself, and any of them may be asked."""
    enforced = f"kubectl get {constraint} -o jsonpath='{{.status.byPod[?(@.enforced==true)].id}}' | wc -w"
    pods = "kubectl get pods -n gatekeeper-system -o name | wc -l"
    return {
        "title": f"every Pod of Gatekeeper to enforce {constraint}",
        "timeoutSeconds": READY_WITHIN_S,
        "exec": {"script": f'test "$({enforced})" -eq "$({pods})"'},
    }


def _webhook(policy: str) -> dict[str, Any]:
    return {
        "addons": ["bouncer"],
        "manifests": [policy],
        "scripts": ["policies/trust-bouncer.sh"],
        "waits": [_until_denied_by("validating-webhook:images.supply-chain.lab")],
    }


def _gatekeeper(policy: str, *, kind: str, constraint: str) -> dict[str, Any]:
    return {
        "addons": ["gatekeeper"],
        "manifests": [policy],
        "waits": [_until_enforced(f"{kind}/{constraint}"), _until_denied_by(f"gatekeeper:{constraint}")],
    }


POINTS: tuple[DecisionPoint, ...] = (
    DecisionPoint(
        column=_column(
            "none",
            "no policy",
            ("no", "policy"),
            "Nobody is asked. What the API does not allow here, it allows nowhere.",
        ),
        start={},
    ),
    DecisionPoint(
        column=_column(
            "image-policy",
            "ImagePolicyWebhook with the bouncer",
            ("image", "policy"),
            f"The API server's own plugin, defaultAllow false; the bouncer trusts {' and '.join(TRUSTED)}.",
        ),
        start={
            "imagePolicy": "enforced",
            "addons": ["bouncer"],
            "waits": [_until_denied_by("image-policy-backend")],
        },
    ),
    DecisionPoint(
        column=_column(
            "webhook-pods",
            "validating webhook, a rule on pods",
            ("hook", "pods"),
            "The same bouncer at /validate, asked about creation and update of pods and of nothing else.",
            policy="policies/webhook-pods.yaml",
        ),
        start=_webhook("policies/webhook-pods.yaml"),
    ),
    DecisionPoint(
        column=_column(
            "webhook-full",
            "validating webhook, a full rule",
            ("hook", "full"),
            "The same, asked about pods/ephemeralcontainers and everything that makes Pods as well.",
            policy="policies/webhook-full.yaml",
        ),
        start=_webhook("policies/webhook-full.yaml"),
    ),
    DecisionPoint(
        column=_column(
            "gatekeeper-course",
            "Gatekeeper, the course's template",
            ("gatek.", "course"),
            "The template of the course: the containers of Pods.",
            policy="policies/gatekeeper-course.yaml",
        ),
        start=_gatekeeper("policies/gatekeeper-course.yaml", kind="k8strustedimages", constraint="pod-trusted-images"),
    ),
    DecisionPoint(
        column=_column(
            "gatekeeper-full",
            "Gatekeeper, a full template",
            ("gatek.", "full"),
            "A template that looks at every place of an image, in Pods and in whatever makes Pods.",
            policy="policies/gatekeeper-full.yaml",
        ),
        start=_gatekeeper(
            "policies/gatekeeper-full.yaml",
            kind="k8strustedimageseverywhere",
            constraint="trusted-images-everywhere",
        ),
    ),
    DecisionPoint(
        column=_column(
            "admission-policy",
            "ValidatingAdmissionPolicy",
            ("CEL", "policy"),
            "The same in CEL, decided in the API server itself.",
            policy="policies/admission-policy.yaml",
        ),
        start={
            "manifests": ["policies/admission-policy.yaml"],
            "waits": [_until_denied_by("validating-admission-policy:trusted-images/trusted-images")],
        },
    ),
)
"""In the order of the columns."""

KEYS = tuple(point.column.key for point in POINTS)
