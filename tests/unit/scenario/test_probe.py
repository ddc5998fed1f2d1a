"""Probes against an API server with real texts: a scenario that expects the wrong thing never passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.scenario.api import Api
from lab.scenario.checks import run_check
from lab.scenario.evidence import BouncerRecord
from lab.scenario.load import load
from lab.scenario.result import CheckResult, Observed, Outcome, Verdict
from lab.scenario.verbs.probe import measure

if TYPE_CHECKING:
    from lab.scenario.api import Request
    from lab.scenario.sighting import Context
    from tests.unit.scenario.conftest import FakeApiServer, FakeSnapshotCluster, Write


def result_of(context: Context, index: int = 0) -> CheckResult:
    return run_check(context.scenario.document.checks[index], context, deadline=context.clock())


def test_a_denial_with_the_exact_message_passes(context: Context, api: FakeApiServer) -> None:
    api.decide = api.bouncer
    result = result_of(context)
    assert result.outcome is Outcome.PASS
    assert result.probe is not None
    assert result.probe.request == "kubectl run podx --image=gcr.io/x"
    assert result.earned == 3


def test_an_allowance_with_a_clean_audit_event_passes(context: Context, api: FakeApiServer) -> None:
    api.decide = api.bouncer
    assert result_of(context, 1).outcome is Outcome.PASS


def test_what_an_allowed_request_stored_is_kept_and_a_denied_one_stores_nothing(
    context: Context, api: FakeApiServer
) -> None:
    api.decide = api.bouncer
    denied, allowed = result_of(context).probe, result_of(context, 1).probe
    assert denied is not None
    assert denied.stored is None
    assert allowed is not None
    assert allowed.stored is not None
    assert allowed.stored["kind"] == "Pod"


def test_a_bouncer_that_is_down_fails_the_denial(context: Context, api: FakeApiServer) -> None:
    api.decide = api.bouncer_down
    result = result_of(context)
    assert result.outcome is Outcome.FAIL
    assert [mismatch.what for mismatch in result.mismatches] == ["decider", "message"]
    assert result.feedback is not None
    assert result.feedback.id == "not-asked"


def test_an_allowed_case_that_is_denied_fails(context: Context, api: FakeApiServer) -> None:
    api.decide = api.bouncer_down
    assert result_of(context, 1).outcome is Outcome.FAIL


def test_a_denied_case_that_is_allowed_fails_with_its_feedback(context: Context) -> None:
    result = result_of(context)
    assert result.outcome is Outcome.FAIL
    assert result.feedback is not None
    assert result.feedback.id == "let-in"


def test_a_kind_that_is_not_served_fails_a_denial(context: Context, api: FakeApiServer, write: Write) -> None:
    unserved = ("run: {name: podx, image: gcr.io/x}", "object: {apiVersion: x.dev/v1, kind: Lock, metadata: {name: a}}")
    result = result_of(replace(context, scenario=load(write(unserved))))
    assert result.outcome is Outcome.FAIL
    assert result.observed["verdict"] == "error"
    assert result.observed["decider"] == "api-server"
    assert result.observed["message"] == "the API server serves no Lock of x.dev/v1"
    assert not api.sent_probes()


def test_an_allowance_that_failed_open_fails(context: Context, api: FakeApiServer) -> None:
    api.annotations = {api.FAILED_OPEN: "true"}
    result = result_of(context, 1)
    assert result.outcome is Outcome.FAIL
    assert result.mismatches[0].actual == "ImagePolicyWebhook"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("decider: image-policy-backend", "decider: gatekeeper:pod-trusted-images"),
        ("decider: image-policy-backend", "decider: image-policy-failed-closed"),
        ("which is not in the whitelist docker.io, k8s.gcr.io", "which is not in the whitelist quay.io"),
        ("verdict: denied", "verdict: error"),
    ],
)
def test_a_mutated_expectation_is_caught(
    context: Context, api: FakeApiServer, write: Write, old: str, new: str
) -> None:
    api.decide = api.bouncer
    unbracketed = ("      bracket: other-registry-denied\n", "")
    mutated = replace(context, scenario=load(write((old, new), unbracketed)))
    assert result_of(mutated).outcome is Outcome.FAIL


def test_without_an_audit_event_an_allowance_is_bracketed_by_the_denied_probe(
    context: Context, api: FakeApiServer
) -> None:
    api.decide = api.bouncer
    api.audited = False
    assert result_of(context, 1).outcome is Outcome.PASS
    images = [api.image_of(request) for request in api.sent_probes()]
    assert images == ["docker.io/nginx", "gcr.io/x", "docker.io/nginx", "gcr.io/x"]


def test_without_an_audit_event_and_with_an_open_bracket_the_cause_is_not_proved(
    context: Context, api: FakeApiServer
) -> None:
    api.audited = False
    result = result_of(context, 1)
    assert result.outcome is Outcome.ERROR
    assert "failed open" in result.problem


def test_without_an_audit_event_and_without_a_bracket_the_cause_is_not_proved(
    context: Context, api: FakeApiServer, write: Write
) -> None:
    api.audited = False
    unbracketed = load(write(("      bracket: other-registry-denied\n", "")))
    assert result_of(replace(context, scenario=unbracketed), 1).outcome is Outcome.ERROR


def record(api: FakeApiServer, *, images: str = '["docker.io/nginx"]') -> None:
    """Let the bouncer write what it was asked, in the namespace of the request."""

    def line(request: Request) -> str:
        namespace = request.path.split("/")[4]
        return f'kind="ImageReview" namespace="{namespace}" images={images} verdict="allowed" ms=0.3'

    api.reviewed = line
    api.objects["/api/v1/namespaces/default/pods"] = [{"metadata": {"name": "image-bouncer-webhook-1"}}]


EXPECT_ASKED = ("expect: {verdict: allowed}", "expect: {verdict: allowed, asked: [bouncer]}")


def test_the_bouncers_record_proves_that_it_was_asked(context: Context, api: FakeApiServer, write: Write) -> None:
    asked = replace(context, scenario=load(write(EXPECT_ASKED)))
    record(api)
    assert result_of(asked, 1).outcome is Outcome.PASS
    api.reviewed = lambda _request: 'kind="ImageReview" namespace="another" images=["x"] verdict="allowed"'
    assert result_of(asked, 1).outcome is Outcome.FAIL


def test_without_a_record_it_is_not_proved_that_the_bouncer_was_asked(
    context: Context, api: FakeApiServer, write: Write
) -> None:
    assert not api.objects
    assert result_of(replace(context, scenario=load(write(EXPECT_ASKED))), 1).outcome is Outcome.ERROR


def test_the_record_stands_in_for_the_audit_log(context: Context, api: FakeApiServer) -> None:
    api.audited = False
    record(api)
    assert result_of(context, 1).outcome is Outcome.PASS
    assert len(api.sent_probes()) == 1


def test_images_that_the_backend_never_saw_are_told(context: Context, api: FakeApiServer, write: Write) -> None:
    wanted = ("expect: {verdict: allowed}", "expect: {verdict: allowed, reviewedImages: [docker.io/nginx]}")
    seen = replace(context, scenario=load(write(wanted)))
    record(api)
    assert result_of(seen, 1).outcome is Outcome.PASS
    record(api, images='["docker.io/nginx", "docker.io/sidecar"]')
    assert result_of(seen, 1).outcome is Outcome.FAIL


def test_a_fresh_namespace_is_made_for_each_probe_and_removed(context: Context, api: FakeApiServer) -> None:
    result_of(context)
    result_of(context)
    made = [r.body["metadata"]["name"] for r in api.requests if r.path == "/api/v1/namespaces"]  # type: ignore[index]
    removed = [r.path.rpartition("/")[2] for r in api.requests if r.method == "DELETE"]
    assert len(set(made)) == 2
    assert removed == made


def test_a_probe_whose_namespace_is_denied_could_not_run(context: Context, cluster: FakeSnapshotCluster) -> None:
    text = (
        'Internal error occurred: failed calling webhook "check-ignore-label.gatekeeper.sh": failed to call webhook: '
        "no endpoints available"
    )

    class Closed:
        def send(self, request: Request) -> object:
            if request.path == "/api/v1/namespaces":
                return cluster.api.status(text, code=500, reason="InternalError")
            return cluster.api.send(request)

    result = result_of(replace(context, api=Api(Closed())))  # type: ignore[arg-type]
    assert result.outcome is Outcome.ERROR
    assert "check-ignore-label.gatekeeper.sh" in result.problem


def test_an_api_server_that_does_not_answer_is_an_error(context: Context) -> None:
    class Silent:
        def send(self, request: Request) -> object:
            raise LabError("api-server-unreachable", f"no answer to {request.path}", hint="see lab status")

    result = result_of(replace(context, api=Api(Silent())))  # type: ignore[arg-type]
    assert result.outcome is Outcome.ERROR
    assert "api-server-unreachable" in result.problem


def test_a_named_namespace_is_used_and_what_was_made_in_it_is_removed(
    context: Context, api: FakeApiServer, write: Write
) -> None:
    named = load(write(("bracket: other-registry-denied", "namespace: team-a")))
    result = result_of(replace(context, scenario=named), 1)
    assert api.sent_probes()[0].path.startswith("/api/v1/namespaces/team-a/pods?")
    assert result.probe is not None
    assert result.probe.request == "kubectl run podx --image=docker.io/nginx --namespace=team-a"
    assert [r.path for r in api.requests if r.method == "DELETE"] == ["/api/v1/namespaces/team-a/pods/podx"]


def test_a_debug_probe_patches_the_ephemeral_containers(context: Context, api: FakeApiServer, write: Write) -> None:
    scenario = load(write(("run: {name: podx, image: docker.io/nginx}", "debug: {pod: web, image: docker.io/nginx}")))
    result = result_of(replace(context, scenario=scenario), 1)
    (sent,) = api.sent_probes()
    assert sent.method == "PATCH"
    assert "/pods/web/ephemeralcontainers?" in sent.path
    assert sent.content_type == "application/strategic-merge-patch+json"
    assert result.probe is not None
    assert result.probe.request == "kubectl debug web --image=docker.io/nginx"


def test_a_manifest_probe_sends_the_file_into_the_probes_namespace(
    context: Context, api: FakeApiServer, write: Write
) -> None:
    directory = write(("run: {name: podx, image: docker.io/nginx}", "manifest: pod.yaml"))
    (directory / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: elsewhere}\n"
        "spec: {containers: [{name: c, image: docker.io/nginx}]}\n"
    )
    result_of(replace(context, scenario=load(directory)), 1)
    (sent,) = api.sent_probes()
    assert isinstance(sent.body, dict)
    assert sent.body["metadata"]["namespace"].startswith("probe-")
    assert "fieldValidation=Strict" in sent.path


def test_an_update_sends_the_objects_current_version(context: Context, api: FakeApiServer, write: Write) -> None:
    api.objects["/api/v1/namespaces/team-a/pods"] = [{"metadata": {"name": "web", "resourceVersion": "42"}}]
    inline = (
        "object: {apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: x}]}}"
        "\n      operation: update\n      namespace: team-a"
    )
    result_of(replace(context, scenario=load(write(("run: {name: podx, image: docker.io/nginx}", inline)))), 1)
    (sent,) = api.sent_probes()
    assert sent.method == "PUT"
    assert isinstance(sent.body, dict)
    assert sent.body["metadata"]["resourceVersion"] == "42"


def test_a_dry_run_as_another_user_is_asked_for_as_such(context: Context, api: FakeApiServer, write: Write) -> None:
    options = "run: {name: podx, image: docker.io/nginx}\n      dryRun: true\n      as: jane\n      asGroups: [a, b]"
    result_of(replace(context, scenario=load(write(("run: {name: podx, image: docker.io/nginx}", options)))), 1)
    (sent,) = api.sent_probes()
    assert "dryRun=All" in sent.path
    assert sent.headers[1:] == (("Impersonate-User", "jane"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))


def test_a_check_is_tried_again_until_its_time_is_over(context: Context, api: FakeApiServer) -> None:
    answers = iter([None, api.status(api.BACKEND_DENIAL)])
    api.decide = lambda _request: next(answers)
    check = context.scenario.document.checks[0]
    result = run_check(check, context, deadline=context.clock() + 5)
    assert result.outcome is Outcome.PASS
    assert result.attempts == 2
    assert result.waited_s > 0


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: docker.io/before}]}\n"


def test_the_reviews_of_what_is_given_are_none_of_the_probes(
    context: Context, api: FakeApiServer, write: Write
) -> None:
    given = "run: {name: podx, image: docker.io/nginx}\n      given: [pod.yaml]"
    wanted = ("expect: {verdict: allowed}", "expect: {verdict: allowed, reviewedImages: [docker.io/nginx]}")
    directory = write(("run: {name: podx, image: docker.io/nginx}", given), wanted)
    (directory / "pod.yaml").write_text(POD)
    record(api)

    class Reviewing:
        def send(self, request: Request) -> object:
            if "apply-patch" in request.content_type:
                namespace = request.path.split("/")[4]
                line = f'namespace="{namespace}" images=["docker.io/before"] verdict="allowed"'
                api.bouncer_log += f"2026-11-21T00:00:00.000Z info review {line}\n"
            return api.send(request)

    reviewed = Api(Reviewing())  # type: ignore[arg-type]
    probing = replace(context, scenario=load(directory), api=reviewed, record=BouncerRecord(reviewed))
    assert result_of(probing, 1).outcome is Outcome.PASS
    assert "docker.io/before" in api.bouncer_log


def test_measuring_looks_at_what_the_request_led_to_before_it_is_removed(context: Context, api: FakeApiServer) -> None:
    probe = context.scenario.document.checks[1].probe
    assert probe is not None
    seen: list[tuple[str, Verdict, list[str]]] = []

    def look(namespace: str, observed: Observed) -> None:
        seen.append((namespace, observed.verdict, [r.method for r in api.requests if r.method == "DELETE"]))

    observed = measure(probe, context, then=look)
    assert observed.verdict is Verdict.ALLOWED
    namespace = api.sent_probes()[0].path.split("/")[4]
    assert seen == [(namespace, Verdict.ALLOWED, [])]
    assert api.requests[-1].path == f"/api/v1/namespaces/{namespace}"


def test_measuring_judges_nothing(context: Context, api: FakeApiServer) -> None:
    api.decide = api.bouncer_down
    probe = context.scenario.document.checks[1].probe
    assert probe is not None
    assert measure(probe, context).deciders == {"image-policy-failed-closed"}
