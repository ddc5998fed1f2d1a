"""What a scenario says, and what the cluster hears: nothing that a scenario does reaches beyond its own namespaces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.cluster.existing.overlay import OWNER_LABEL, SELECT_LABEL, Overlay, OverlayError
from lab.cluster.existing.requests import Target, target_of

OVERLAY = Overlay(run="3f9a1c", count=2)
WITH_GATEKEEPER = Overlay(run="3f9a1c", count=2, has_gatekeeper=True)
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
OURS = {"key": SELECT_LABEL, "operator": "In", "values": ["3f9a1c-2"]}


def target(path: str) -> Target:
    found = target_of(path)
    assert found is not None
    return found


def sent(path: str, manifest: dict[str, Any], overlay: Overlay = OVERLAY) -> dict[str, Any]:
    return overlay.object(target(path), manifest)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/api/v1/namespaces/default/pods", "/api/v1/namespaces/lab-3f9a1c-2-default/pods"),
        ("/api/v1/namespaces/kube-system/pods/a", "/api/v1/namespaces/lab-3f9a1c-2-kube-system/pods/a"),
        ("/api/v1/namespaces/shop", "/api/v1/namespaces/lab-3f9a1c-2-shop"),
        ("/api/v1/namespaces/shop/status", "/api/v1/namespaces/lab-3f9a1c-2-shop/status"),
        (
            "/api/v1/namespaces/shop/pods/web/ephemeralcontainers",
            "/api/v1/namespaces/lab-3f9a1c-2-shop/pods/web/ephemeralcontainers",
        ),
        (f"{ADMISSION}/validatingadmissionpolicies/a", f"{ADMISSION}/validatingadmissionpolicies/lab-3f9a1c-2-a"),
        ("/api/v1/nodes/one", "/api/v1/nodes/one"),
        ("/api/v1/pods", "/api/v1/pods"),
        ("/api/v1/namespaces/gatekeeper-system/pods", "/api/v1/namespaces/lab-3f9a1c-2-gatekeeper-system/pods"),
    ],
)
def test_every_name_that_can_vary_has_the_prefix(path: str, there: str) -> None:
    assert OVERLAY.target(target(path)).path == there


@pytest.mark.parametrize(
    ("script", "there"),
    [
        ("-addext subjectAltName=DNS:a.shop.svc -keyout a", "-addext subjectAltName=DNS:a.{}shop.svc -keyout a"),
        ("DNS:a.shop.svc,DNS:a.shop.svc.cluster.local", "DNS:a.{0}shop.svc,DNS:a.{0}shop.svc.cluster.local"),
        ("DNS:webhook.example.com", "DNS:webhook.example.com"),
        ("curl https://a.shop.svc/", "curl https://a.shop.svc/"),
    ],
)  # fmt: skip
def test_a_certificate_is_for_the_name_by_which_a_service_is_called(script: str, there: str) -> None:
    assert OVERLAY.script(script) == there.format(OVERLAY.prefix)


def test_what_is_no_object_is_no_target() -> None:
    assert target_of("/version") is None
    assert target_of("/openapi/v3/apis/apps/v1") is None
    assert target_of("/apis/apps/v1") is None


def test_gatekeepers_names_stay_while_it_is_this_labs() -> None:
    webhooks = f"{ADMISSION}/validatingwebhookconfigurations/gatekeeper-validating-webhook-configuration"
    assert WITH_GATEKEEPER.target(target("/api/v1/namespaces/gatekeeper-system/pods")).namespace == "gatekeeper-system"
    assert WITH_GATEKEEPER.target(target(webhooks)).path == webhooks
    assert WITH_GATEKEEPER.has_fixed_name(target(webhooks))
    assert not OVERLAY.has_fixed_name(target(webhooks))


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("metadata.name=shop", "metadata.name=lab-3f9a1c-2-shop"),
        ("metadata.namespace!=shop", "metadata.namespace!=shop"),
        ("involvedObject.kind=Pod", "involvedObject.kind=Pod"),
    ],
)
def test_a_selection_by_name_has_the_prefix(query: str, there: str) -> None:
    assert OVERLAY.query(target("/api/v1/namespaces"), {"fieldSelector": query}) == {"fieldSelector": there}


BOUNCER = "docker.io/kainlite/kube-image-bouncer:latest"
SUPPLIED = Overlay(run="3f9a1c", count=2, place="registry.example:5000/lab/", images=frozenset({BOUNCER}))
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/bouncer"


def template(*images: str) -> dict[str, Any]:
    """What a Deployment with such containers has below its metadata."""
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    return {"template": {"spec": {"containers": containers[:1], "initContainers": containers[1:]}}}


class TestImagesOfTheUsersRegistry:
    @pytest.mark.parametrize(
        "written", [BOUNCER, "kainlite/kube-image-bouncer", "docker.io/kainlite/kube-image-bouncer"]
    )
    def test_a_template_gets_them_from_there_however_they_are_written(self, written: str) -> None:
        manifest = {"metadata": {"name": "bouncer"}, "spec": template(written, "docker.io/library/busybox:1.37")}
        made = sent(DEPLOYMENT, manifest, SUPPLIED)
        assert made["spec"] == template(f"registry.example:5000/lab/{BOUNCER}", "docker.io/library/busybox:1.37")
        assert manifest["spec"] == template(written, "docker.io/library/busybox:1.37"), "the scenario's stays"

    def test_an_init_container_and_the_template_of_a_cron_job_too(self) -> None:
        path = "/apis/batch/v1/namespaces/default/cronjobs/nightly"
        made = sent(path, {"metadata": {}, "spec": {"jobTemplate": {"spec": template("a", BOUNCER)}}}, SUPPLIED)
        assert made["spec"]["jobTemplate"]["spec"] == template("a", f"registry.example:5000/lab/{BOUNCER}")

    @pytest.mark.parametrize("image", ["docker.io/library/nginx", f"{BOUNCER}@sha256:{'a' * 64}", "Not An Image"])
    def test_other_images_stay_as_they_are(self, image: str) -> None:
        assert sent(DEPLOYMENT, {"metadata": {}, "spec": template(image)}, SUPPLIED)["spec"] == template(image)

    def test_a_pod_by_itself_is_asked_about_as_it_stands(self) -> None:
        pod = {"metadata": {"name": "podx"}, "spec": {"containers": [{"name": "podx", "image": BOUNCER}]}}
        assert sent("/api/v1/namespaces/default/pods", pod, SUPPLIED)["spec"] == pod["spec"]

    def test_without_a_registry_nothing_is_renamed(self) -> None:
        assert sent(DEPLOYMENT, {"metadata": {}, "spec": template(BOUNCER)})["spec"] == template(BOUNCER)

    def test_a_patch_is_about_them_too(self) -> None:
        merge = SUPPLIED.patch(target(DEPLOYMENT), json.dumps({"spec": template(BOUNCER)}).encode())
        assert json.loads(merge)["spec"] == template(f"registry.example:5000/lab/{BOUNCER}")
        path = "/spec/template/spec/containers/0/image"
        steps = [{"op": "replace", "path": path, "value": BOUNCER}, {"op": "remove", "path": "/spec/replicas"}]
        changed = json.loads(SUPPLIED.patch(target(DEPLOYMENT), json.dumps(steps).encode()))
        assert changed == [{**steps[0], "value": f"registry.example:5000/lab/{BOUNCER}"}, steps[1]]
        assert SUPPLIED.patch(target(DEPLOYMENT), b"no JSON") == b"no JSON"
        assert OVERLAY.patch(target(DEPLOYMENT), b"anything") == b"anything"

    def test_an_answer_has_the_scenarios_names(self) -> None:
        answer = f"Back-off pulling registry.example:5000/lab/{BOUNCER} in lab-3f9a1c-2-default"
        assert SUPPLIED.text(answer) == f"Back-off pulling {BOUNCER} in default"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("method", "path", "name"),
        [
            ("DELETE", "/api/v1/nodes/one", "one"),
            ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "all"),
            ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "configs.config.gatekeeper.sh"),
            ("DELETE", f"{ADMISSION}/validatingwebhookconfigurations", None),
            ("DELETE", "/api/v1/namespaces", None),
            ("GET", "/api/v1/namespaces/default/pods/a/exec", "a"),
            ("GET", "/api/v1/watch/pods", None),
            ("PATCH", "/apis/templates.gatekeeper.sh/v1/constrainttemplates/a", "a"),
        ],
    )
    def test_it_is_refused(self, method: str, path: str, name: str | None) -> None:
        with pytest.raises(OverlayError):
            OVERLAY.refuse(method, target(path), name)

    @pytest.mark.parametrize(
        ("method", "path", "name"),
        [
            ("GET", "/api/v1/nodes", None),
            ("POST", "/api/v1/namespaces", "shop"),
            ("DELETE", "/api/v1/namespaces/shop/pods", None),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", None),
        ],
    )
    def test_it_is_handed_on(self, method: str, path: str, name: str | None) -> None:
        OVERLAY.refuse(method, target(path), name)

    def test_gatekeepers_objects_are_handed_on_while_it_is_this_labs(self) -> None:
        crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        WITH_GATEKEEPER.refuse("POST", target(crd), "configs.config.gatekeeper.sh")
        with pytest.raises(OverlayError):
            WITH_GATEKEEPER.refuse("POST", target(crd), "widgets.example.com")
        with pytest.raises(OverlayError):
            WITH_GATEKEEPER.refuse("DELETE", target("/apis/rbac.authorization.k8s.io/v1/clusterroles/admin"), "admin")


class TestObjects:
    def test_a_namespace_is_labelled_as_the_labs_and_as_one_of_this_start_state(self) -> None:
        made = sent("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}})
        assert made["metadata"] == {
            "name": "lab-3f9a1c-2-shop",
            "labels": {"a": "b", OWNER_LABEL: "3f9a1c", SELECT_LABEL: "3f9a1c-2"},
        }

    def test_gatekeepers_namespace_is_the_labs_and_in_no_start_state(self) -> None:
        made = sent("/api/v1/namespaces", {"metadata": {"name": "gatekeeper-system"}}, WITH_GATEKEEPER)
        assert made["metadata"] == {"name": "gatekeeper-system", "labels": {OWNER_LABEL: "3f9a1c"}}

    def test_an_object_in_a_namespace_keeps_its_name_and_its_images(self) -> None:
        pod = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [{"image": "nginx"}]}}
        made = sent("/api/v1/namespaces/shop/pods", pod)
        assert made["metadata"] == {"name": "web", "namespace": "lab-3f9a1c-2-shop"}
        assert made["spec"] == pod["spec"]

    def test_a_webhook_is_asked_about_the_labs_namespaces_only_and_called_in_one(self) -> None:
        webhook = {
            "name": "images.example.com",
            "clientConfig": {"service": {"namespace": "default", "name": "police", "port": 443}, "caBundle": "Y2E="},
            "namespaceSelector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
                ]
            },
            "rules": [{"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"]}],
        }
        path = f"{ADMISSION}/validatingwebhookconfigurations"
        made = sent(path, {"metadata": {"name": "police"}, "webhooks": [webhook]})
        assert made["metadata"]["name"] == "lab-3f9a1c-2-police"
        (narrowed,) = made["webhooks"]
        assert narrowed["clientConfig"]["service"]["namespace"] == "lab-3f9a1c-2-default"
        assert narrowed["namespaceSelector"]["matchExpressions"] == [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["lab-3f9a1c-2-kube-system"]},
            OURS,
        ]
        assert narrowed["rules"] == [
            {"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"], "scope": "Namespaced"}
        ]

    def test_a_rule_for_cluster_scoped_objects_is_refused(self) -> None:
        rule = {"apiGroups": [""], "resources": ["nodes"], "operations": ["*"], "scope": "Cluster"}
        with pytest.raises(OverlayError, match="nodes"):
            sent(
                f"{ADMISSION}/mutatingwebhookconfigurations",
                {"metadata": {"name": "a"}, "webhooks": [{"rules": [rule]}]},
            )

    def test_a_rule_for_namespaces_is_held_by_the_selector(self) -> None:
        rule = {"apiGroups": [""], "resources": ["namespaces"], "operations": ["*"]}
        made = sent(f"{ADMISSION}/validatingwebhookconfigurations", {"metadata": {}, "webhooks": [{"rules": [rule]}]})
        assert made["webhooks"][0] == {"rules": [rule], "namespaceSelector": {"matchExpressions": [OURS]}}

    def test_gatekeepers_webhook_sees_the_whole_lab_and_its_own_objects(self) -> None:
        webhook = {
            "clientConfig": {"service": {"namespace": "gatekeeper-system", "name": "gatekeeper-webhook-service"}},
            "rules": [
                {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "pods/exec"], "operations": ["CREATE"]}
            ],
        }
        name = "gatekeeper-validating-webhook-configuration"
        path = f"{ADMISSION}/validatingwebhookconfigurations"
        made = sent(path, {"metadata": {"name": name}, "webhooks": [webhook]}, WITH_GATEKEEPER)
        assert made["metadata"]["name"] == name
        (narrowed,) = made["webhooks"]
        assert narrowed["clientConfig"] == webhook["clientConfig"]
        expression = {"key": OWNER_LABEL, "operator": "In", "values": ["3f9a1c"]}
        assert narrowed["namespaceSelector"] == {"matchExpressions": [expression]}
        everything, own = narrowed["rules"]
        assert everything["scope"] == "Namespaced"
        assert own["scope"] == "Cluster"
        assert all(group.endswith(".gatekeeper.sh") for group in own["apiGroups"])
        assert sent(path, made, WITH_GATEKEEPER) == made, "what was read and written again is narrowed once"

    def test_a_policy_and_its_binding_hold_in_the_labs_namespaces_only(self) -> None:
        rule = {"apiGroups": [""], "resources": ["pods"], "operations": ["CREATE"]}
        policy = sent(
            f"{ADMISSION}/validatingadmissionpolicies",
            {"metadata": {"name": "trusted"}, "spec": {"matchConstraints": {"resourceRules": [rule]}}},
        )
        assert policy["spec"]["matchConstraints"] == {
            "namespaceSelector": {"matchExpressions": [OURS]},
            "resourceRules": [rule | {"scope": "Namespaced"}],
        }
        binding = sent(
            f"{ADMISSION}/validatingadmissionpolicybindings",
            {"metadata": {"name": "trusted"}, "spec": {"policyName": "trusted", "validationActions": ["Deny"]}},
        )
        assert binding["spec"] == {
            "policyName": "lab-3f9a1c-2-trusted",
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchExpressions": [OURS]}},
        }

    @pytest.mark.parametrize(
        ("match", "namespaces"),
        [
            (None, ["lab-3f9a1c-2-*"]),
            ({}, ["lab-3f9a1c-2-*"]),
            ({"namespaces": ["by-gatekeeper", "team-*"]}, ["lab-3f9a1c-2-by-gatekeeper", "lab-3f9a1c-2-team-*"]),
            ({"namespaces": ["*"]}, ["lab-3f9a1c-2-*"]),
        ],
    )
    def test_a_constraint_matches_the_labs_namespaces_only(self, match: object, namespaces: list[str]) -> None:
        path = "/apis/constraints.gatekeeper.sh/v1beta1/k8strustedimages"
        made = sent(path, {"metadata": {"name": "a"}, "spec": {"match": match}}, WITH_GATEKEEPER)
        assert made["spec"]["match"]["namespaces"] == namespaces
        assert made["metadata"] == {"name": "a", "labels": {OWNER_LABEL: "3f9a1c"}}

    def test_a_constraint_on_any_ending_is_refused(self) -> None:
        path = "/apis/constraints.gatekeeper.sh/v1beta1/k8strustedimages"
        with pytest.raises(OverlayError, match=r"\*-system"):
            sent(path, {"metadata": {"name": "a"}, "spec": {"match": {"namespaces": ["*-system"]}}}, WITH_GATEKEEPER)

    def test_a_service_account_is_impersonated_in_its_namespace(self) -> None:
        assert OVERLAY.user("system:serviceaccount:shop:web") == "system:serviceaccount:lab-3f9a1c-2-shop:web"
        assert OVERLAY.user("system:serviceaccounts:shop") == "system:serviceaccounts:lab-3f9a1c-2-shop"
        assert OVERLAY.user("jane") == "jane"


class TestAnswers:
    def test_a_message_reads_as_the_scenario_has_it(self) -> None:
        said = (
            "pods \"podx\" is forbidden: ValidatingAdmissionPolicy 'lab-3f9a1c-2-trusted-images' with binding "
            "'lab-3f9a1c-2-trusted-images' denied request: not trusted image!"
        )
        assert OVERLAY.answer(target("/api/v1/namespaces/default/pods"), said) == (
            "pods \"podx\" is forbidden: ValidatingAdmissionPolicy 'trusted-images' with binding 'trusted-images' "
            "denied request: not trusted image!"
        )

    @pytest.mark.parametrize("as_table", [False, True])
    def test_a_list_of_all_namespaces_has_the_labs_objects_only(self, *, as_table: bool) -> None:
        things = [
            {"metadata": {"name": "web", "namespace": "lab-3f9a1c-2-shop"}},
            {"metadata": {"name": "web", "namespace": "lab-3f9a1c-1-shop"}},
            {"metadata": {"name": "coredns", "namespace": "kube-system"}},
        ]
        body = {"rows": [{"object": thing} for thing in things]} if as_table else {"items": things}
        seen = json.loads(OVERLAY.answer(target("/api/v1/pods"), json.dumps(body)))
        found = [row["object"] for row in seen["rows"]] if as_table else seen["items"]
        assert found == [{"metadata": {"name": "web", "namespace": "shop"}}]

    def test_webhooks_of_others_are_not_seen(self) -> None:
        body = {"items": [{"metadata": {"name": "theirs"}}, {"metadata": {"name": "lab-3f9a1c-2-ours"}}]}
        seen = OVERLAY.answer(target(f"{ADMISSION}/validatingwebhookconfigurations"), json.dumps(body))
        assert json.loads(seen) == {"items": [{"metadata": {"name": "ours"}}]}

    def test_a_watch_tells_of_the_labs_objects_only(self) -> None:
        def line(namespace: str, kind: str = "ADDED") -> str:
            return json.dumps({"type": kind, "object": {"metadata": {"name": "a", "namespace": namespace}}}) + "\n"

        pods = target("/api/v1/pods")
        assert OVERLAY.event(pods, line("kube-system")) is None
        assert (
            json.loads(OVERLAY.event(pods, line("lab-3f9a1c-2-shop")) or "")["object"]["metadata"]["namespace"]
            == "shop"
        )
        bookmark = json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}) + "\n"
        assert json.loads(OVERLAY.event(target("/api/v1/namespaces"), bookmark) or "")["type"] == "BOOKMARK"
