"""What a controller made of an object: the Pod, or the API server's answer in the event FailedCreate."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.errors import WaitError
from lab.matrix.consequences import WITHIN_S, consequence_of
from lab.matrix.model import UNTRUSTED_IMAGE, Operation, Place, Row, Workload
from lab.scenario.api import Api, Request, Response
from lab.scenario.result import Verdict
from lab.scenario.sighting import Context

DEPLOYMENT = Row(workload=Workload.DEPLOYMENT, operation=Operation.CREATE, place=Place.CONTAINER)
CRON_JOB = Row(workload=Workload.CRON_JOB, operation=Operation.CREATE, place=Place.CONTAINER)
DENIAL = 'pods "app-1" is forbidden: image policy webhook backend denied one or more images: no'
WEBHOOK_DENIAL = 'admission webhook "images.supply-chain.lab" denied the request: no'


def kinds(*served: tuple[str, str]) -> dict[str, Any]:
    return {"resources": [{"kind": kind, "name": name, "namespaced": True} for kind, name in served]}


@dataclass
class Server:
    """Answers from lists of Pods and events."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    patches: list[Request] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        if request.method == "PATCH":
            self.patches.append(request)
            return Response(status=200, text="{}")
        return Response(status=200, text=json.dumps(self._get(request.path)))

    def _get(self, path: str) -> dict[str, Any]:
        where = urlsplit(path)
        if where.path == "/api/v1":
            return kinds(("Pod", "pods"), ("Event", "events"))
        if where.path == "/apis/batch/v1":
            return kinds(("CronJob", "cronjobs"))
        if where.path.startswith("/apis/admissionregistration"):
            names = [("ValidatingWebhookConfiguration", "v"), ("MutatingWebhookConfiguration", "m")]
            webhooks = [{"webhooks": [{"name": "images.supply-chain.lab"}]}]
            return {"items": webhooks} if where.path.endswith("/v") else {**kinds(*names), "items": []}
        if where.path.endswith("/events"):
            (selector,) = parse_qs(where.query)["fieldSelector"]
            return {"items": [event for event in self.events if f"reason={event['reason']}" == selector]}
        assert where.path == "/api/v1/namespaces/n/pods"
        return {"items": self.pods}


@dataclass
class Audit:
    """The audit log: the creations of Pods that it tells of."""

    created: list[dict[str, Any]] = field(default_factory=list)
    readable: bool = True

    def creations(self, resource: str, *, namespace: str) -> tuple[dict[str, Any], ...]:
        assert (resource, namespace) == ("pods", "n")
        return tuple(self.created)


@dataclass
class World:
    server: Server = field(default_factory=Server)
    audit: Audit = field(default_factory=Audit)
    now: float = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds

    @property
    def context(self) -> Context:
        unused = cast("Any", None)
        return Context(
            scenario=unused,
            cluster=unused,
            api=Api(self.server),
            audit=cast("Any", self.audit),
            record=unused,
            clock=lambda: self.now,
            pause=self.pause,
        )


@pytest.fixture
def world() -> World:
    return World()


def pod(image: str) -> dict[str, Any]:
    return {"metadata": {"name": "app-1"}, "spec": {"containers": [{"name": "app", "image": image}]}}


def refusal(message: str, *, kind: str = "ReplicaSet", reason: str = "FailedCreate") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"kind": kind, "name": "app-95b4"}}


def test_a_pod_with_the_image_came_in(world: World) -> None:
    world.server.pods = [pod("docker.io/library/nginx"), pod(UNTRUSTED_IMAGE)]
    world.audit.created = [{"annotations": {}}, {}]
    consequence = consequence_of(DEPLOYMENT, world.context, namespace="n")
    assert consequence.about == "Pod app-1"
    assert consequence.observed.verdict is Verdict.ALLOWED
    assert consequence.observed.failed_open == ()


def test_a_pod_that_came_in_because_a_webhook_failed_open_is_told(world: World) -> None:
    world.server.pods = [pod(UNTRUSTED_IMAGE)]
    key = "failed-open.validating.webhook.admission.k8s.io/round_0_index_0"
    world.audit.created = [{"annotations": {key: "validation.gatekeeper.sh"}}]
    assert consequence_of(DEPLOYMENT, world.context, namespace="n").observed.failed_open == (
        "validation.gatekeeper.sh",
    )


@pytest.mark.parametrize("readable", [True, False])
def test_without_the_audit_event_of_the_pod_nothing_is_proved(world: World, *, readable: bool) -> None:
    world.server.pods = [pod("docker.io/library/nginx"), pod(UNTRUSTED_IMAGE)]
    world.audit.created = [{"annotations": {}}]
    world.audit.readable = readable
    assert consequence_of(DEPLOYMENT, world.context, namespace="n").observed.failed_open is None


@pytest.mark.parametrize(
    ("prefix", "kind", "message", "decider"),
    [
        ("Error creating: ", "ReplicaSet", DENIAL, "image-policy-backend"),
        ("Error creating: ", "Job", WEBHOOK_DENIAL, "validating-webhook:images.supply-chain.lab"),
        ("Error creating job: ", "CronJob", WEBHOOK_DENIAL, "validating-webhook:images.supply-chain.lab"),
    ],
)
def test_the_decider_is_read_from_the_event(world: World, prefix: str, kind: str, message: str, decider: str) -> None:
    world.server.events = [refusal(prefix + message, kind=kind)]
    consequence = consequence_of(DEPLOYMENT, world.context, namespace="n")
    assert consequence.about == f"FailedCreate of {kind} app-95b4"
    assert consequence.observed.verdict is Verdict.DENIED
    assert consequence.observed.deciders == {decider}
    assert consequence.observed.message == message
    assert "bouncer" not in consequence.observed.asked, "a controller that tries again may be answered from the cache"


def test_a_failure_of_another_kind_is_not_taken_for_a_denial(world: World) -> None:
    world.server.events = [refusal("Error creating: the server is currently unable to handle the request")]
    assert consequence_of(DEPLOYMENT, world.context, namespace="n").observed.deciders == frozenset()


def test_neither_a_pod_nor_a_refusal_is_an_error_that_says_what_was_seen(world: World) -> None:
    world.server.pods = [pod("docker.io/library/nginx")]
    world.server.events = [refusal("Scaled up", reason="ScalingReplicaSet")]
    with pytest.raises(WaitError) as error:
        consequence_of(DEPLOYMENT, world.context, namespace="n")
    assert "1 Pods without the image" in error.value.context["last seen"]
    assert world.now >= WITHIN_S


def test_a_run_of_a_cron_job_is_made_due(world: World) -> None:
    world.server.pods = [pod(UNTRUSTED_IMAGE)]
    world.audit.created = [{}]
    consequence_of(CRON_JOB, world.context, namespace="n")
    (patch,) = world.server.patches
    assert patch.path == "/apis/batch/v1/namespaces/n/cronjobs/app/status"
    assert "lastScheduleTime" in json.dumps(patch.body)
