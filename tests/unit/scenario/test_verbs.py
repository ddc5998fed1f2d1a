"""What each verb sees, and what it says about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from lab.cluster.protocol import ExecResult
from lab.errors import WaitError
from lab.scenario import verbs
from lab.scenario.checks import choose, run_wait
from lab.scenario.result import Outcome
from lab.scenario.schema.scenario import FeedbackRule, Wait
from lab.scenario.schema.verbs import FACTS, VERBS, Verbs

if TYPE_CHECKING:
    from lab.scenario.sighting import Context, Sighting
    from tests.unit.scenario.conftest import FakeApiServer, FakeSnapshotCluster

DIGEST = "sha256:" + "a" * 64


def look(context: Context, verb: str, **spec: Any) -> Sighting:
    step = TypeAdapter(Verbs).validate_python({verb: spec}, strict=False)
    sighting = verbs.look(step, context)
    assert set(sighting.facts) <= FACTS[verb]
    return sighting


def whats(sighting: Sighting) -> list[tuple[str, str, str]]:
    return [(mismatch.what, mismatch.expected, mismatch.actual) for mismatch in sighting.mismatches]


def test_every_verb_of_the_format_has_its_module() -> None:
    assert set(verbs.LOOK) == set(VERBS) == set(FACTS)


# resource


@pytest.fixture
def deployed(api: FakeApiServer) -> dict[str, Any]:
    deployment: dict[str, Any] = {
        "metadata": {"name": "web", "generation": 2},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"image": f"docker.io/library/httpd@{DIGEST}"}]}},
        },
        "status": {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1},
    }
    api.objects["/apis/apps/v1/namespaces/default/deployments"] = [deployment]
    return deployment


WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


@pytest.mark.usefixtures("deployed")
def test_fields_of_a_resource_are_compared(context: Context) -> None:
    good = look(context, "resource", **WEB, fields=[{"path": ".spec.replicas", "equals": 1}])
    assert good.outcome is Outcome.PASS
    bad = look(context, "resource", **WEB, fields=[{"path": ".spec.replicas", "equals": 2}])
    assert whats(bad) == [("Deployment web .spec.replicas", "2", "1")]
    assert bad.facts["path"] == ".spec.replicas"


@pytest.mark.usefixtures("deployed")
def test_a_number_is_not_the_text_that_looks_like_it(context: Context) -> None:
    fields = [{"path": ".spec.replicas", "equals": "1"}, {"path": ".spec.replicas", "equals": True}]
    assert len(look(context, "resource", **WEB, fields=fields).mismatches) == 2


@pytest.mark.usefixtures("deployed")
def test_a_field_that_is_not_there_holds_for_no_quantifier(context: Context) -> None:
    for quantifier in ("all", "any"):
        field = {"path": ".spec.nothing", "equals": 1, "quantifier": quantifier}
        assert look(context, "resource", **WEB, fields=[field]).outcome is Outcome.FAIL
    gone = {"path": ".spec.nothing", "exists": False}
    assert look(context, "resource", **WEB, fields=[gone]).outcome is Outcome.PASS


def test_a_kind_that_is_not_served_has_no_objects(context: Context) -> None:
    unknown = {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "K8sTrustedImages", "name": "x"}
    assert look(context, "resource", **unknown).facts["exists"] == "false"
    assert look(context, "resource", **unknown, exists=False).outcome is Outcome.PASS


@pytest.mark.usefixtures("deployed")
def test_objects_are_counted(context: Context) -> None:
    selection = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "default"}
    assert look(context, "resource", **selection, count=1).outcome is Outcome.PASS
    assert whats(look(context, "resource", **selection, count=3)) == [("Deployment objects", "3", "1")]


# apiServer


def test_the_flags_of_the_process_count(context: Context, cluster: FakeSnapshotCluster) -> None:
    assert look(context, "apiServer", pluginsEnabled=["NodeRestriction"]).outcome is Outcome.PASS
    cluster.flags = ("--enable-admission-plugins=ImagePolicyWebhook", "--v=2")
    missing = look(context, "apiServer", pluginsEnabled=["NodeRestriction"], pluginsDisabled=["ImagePolicyWebhook"])
    assert whats(missing) == [
        ("admission plugins", "with NodeRestriction", "ImagePolicyWebhook"),
        ("admission plugins", "without ImagePolicyWebhook", "ImagePolicyWebhook"),
    ]
    flags = [{"name": "--v", "equals": "2"}, {"name": "--admission-control-config-file", "exists": False}]
    assert look(context, "apiServer", flags=flags).outcome is Outcome.PASS


def test_a_failed_api_server_is_told_with_its_own_error(context: Context, cluster: FakeSnapshotCluster) -> None:
    cluster.state, cluster.flags = "failed", ()
    cluster.error = "Error: unknown flag: --enable-swagger-ui"
    sighting = look(context, "apiServer")
    assert whats(sighting) == [("API server", "running", "failed: Error: unknown flag: --enable-swagger-ui")]
    assert look(context, "apiServer", state="failed", error="unknown flag").outcome is Outcome.PASS
    assert look(context, "apiServer", state="failed", error="no config").outcome is Outcome.FAIL


# nodeFile


def test_a_file_of_the_node_is_compared(context: Context, cluster: FakeSnapshotCluster) -> None:
    cluster.files["/x"] = b"plugins:\n- name: A\n  ttl: 50\n"
    assert look(context, "nodeFile", path="/x", content={"contains": ["name: A"]}).outcome is Outcome.PASS
    field = {"path": '.plugins[?(@.name=="A")].ttl', "equals": 50}
    assert look(context, "nodeFile", path="/x", fields=[field]).outcome is Outcome.PASS
    assert look(context, "nodeFile", path="/y").facts == {"exists": "false", "problem": "/y"}
    assert look(context, "nodeFile", path="/y", exists=False).outcome is Outcome.PASS
    cluster.files["/x"] = b"a: ["
    assert look(context, "nodeFile", path="/x", fields=[field]).mismatches[0].expected == "YAML"


def test_the_mode_of_a_file_is_compared(context: Context, cluster: FakeSnapshotCluster) -> None:
    cluster.files["/x"] = b""
    cluster.on_exec = lambda argv: ExecResult(argv=tuple(argv), exit_code=0, stdout="644\n", stderr="")
    assert whats(look(context, "nodeFile", path="/x", mode="0600")) == [("mode of /x", "0600", "0644")]
    assert look(context, "nodeFile", path="/x", mode="0644").outcome is Outcome.PASS


# rollout


def pods(api: FakeApiServer, *digests: str, **labels: str) -> None:
    api.objects["/api/v1/namespaces/default/pods"] = [
        {
            "metadata": {"name": f"web-{i}", "labels": labels},
            "status": {"containerStatuses": [{"imageID": f"docker.io/library/httpd@{digest}" if digest else ""}]},
        }
        for i, digest in enumerate(digests)
    ]


PINNED = {"name": "web", "pinned": True, "digest": {"equalsCapture": "digest-before"}}


@pytest.mark.usefixtures("deployed")
def test_a_pinned_rollout_runs_the_digest_that_it_ran_before(context: Context, api: FakeApiServer) -> None:
    pods(api, DIGEST, DIGEST)
    assert look(context, "rollout", **PINNED).outcome is Outcome.PASS
    pods(api, DIGEST, "sha256:" + "b" * 64)
    assert look(context, "rollout", **PINNED).facts["problem"] == "digest"


@pytest.mark.usefixtures("deployed")
def test_pods_without_a_digest_are_not_pinned(context: Context, api: FakeApiServer) -> None:
    pods(api, "")
    assert whats(look(context, "rollout", **PINNED)) == [("digest", DIGEST, "-")]
    pods(api)
    assert whats(look(context, "rollout", **PINNED)) == [("digest", DIGEST, "-")]


def test_a_tag_is_not_pinned(context: Context, api: FakeApiServer, deployed: dict[str, Any]) -> None:
    deployed["spec"]["template"]["spec"]["containers"][0]["image"] = "docker.io/library/httpd:2.4"
    pods(api, DIGEST)
    assert look(context, "rollout", **PINNED).facts["problem"] == "image"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"observedGeneration": 1}, "not yet seen by its controller"),
        ({"updatedReplicas": 0}, "0 of 1 replicas updated"),
        ({"availableReplicas": 0}, "0 of 1 replicas available"),
        ({"replicas": 2}, "old Pods are still there"),
    ],
)
def test_an_unfinished_rollout_is_told_with_its_reason(
    context: Context, api: FakeApiServer, deployed: dict[str, Any], status: dict[str, int], why: str
) -> None:
    pods(api, DIGEST)
    deployed["status"] |= status
    sighting = look(context, "rollout", name="web")
    assert whats(sighting) == [("Deployment web", "rolled out", why)]
    assert sighting.facts["complete"] == "false"


# exec, events


def test_a_command_is_compared_with_what_it_must_print(context: Context, cluster: FakeSnapshotCluster) -> None:
    cluster.on_exec = lambda argv: ExecResult(argv=tuple(argv), exit_code=0, stdout="a@sha256:1\nb\n", stderr="")
    good = look(context, "exec", script="x", stdout={"matches": "^b$", "lacks": ["c"]})
    assert good.outcome is Outcome.PASS
    bad = look(context, "exec", command=["x"], stdout={"eachLineMatches": ".*@sha256:.*", "equals": "a"}, exitCode=1)
    assert [mismatch[1] for mismatch in whats(bad)] == ["1", "a", "every line matching .*@sha256:.*"]


def test_no_line_at_all_is_no_match(context: Context) -> None:
    assert look(context, "exec", command=["x"], stdout={"eachLineMatches": ".*"}).outcome is Outcome.FAIL


def test_events_are_found_by_what_they_are_about(context: Context, api: FakeApiServer) -> None:
    api.objects["/api/v1/namespaces/default/events"] = [
        {"message": "Error creating: denied", "involvedObject": {"kind": "ReplicaSet", "name": "web-5d9"}},
        {"message": "other", "involvedObject": {"kind": "Pod", "name": "x"}},
    ]
    spec = {"namespace": "default", "reason": "FailedCreate", "kind": "ReplicaSet", "namePattern": "web-.*"}
    assert look(context, "events", **spec, message={"contains": ["denied"]}).outcome is Outcome.PASS
    assert look(context, "events", **spec, message={"contains": ["other"]}).outcome is Outcome.FAIL
    assert look(context, "events", **spec, exists=False).outcome is Outcome.FAIL
    assert api.requests[-1].path.endswith("fieldSelector=reason%3DFailedCreate")


# feedback and waits


def rule(id_: str, **when: str) -> FeedbackRule:
    return FeedbackRule(id=id_, when=when, say=id_)


def test_the_first_feedback_that_fits_is_chosen() -> None:
    rules = [rule("a", verdict="^denied$", decider="gate"), rule("b", verdict="denied"), rule("c")]
    assert choose(rules, {"verdict": "denied", "decider": "gatekeeper:x"}).id == "a"
    assert choose(rules, {"verdict": "denied", "decider": "nobody"}).id == "b"
    assert choose(rules, {"verdict": "allowed"}).id == "c"
    assert choose(rules, {}).id == "c"


def test_a_wait_that_runs_out_says_what_it_last_saw(context: Context, cluster: FakeSnapshotCluster) -> None:
    wait = TypeAdapter(Wait).validate_python(
        {"title": "the file", "timeoutSeconds": 3, "nodeFile": {"path": "/x"}}, strict=False
    )
    with pytest.raises(WaitError) as caught:
        run_wait(wait, context)
    assert caught.value.context["last seen"] == "/x: absent (must be present)"
    assert 2 < context.clock() <= 3
    cluster.files["/x"] = b""
    run_wait(wait, replace(context))
