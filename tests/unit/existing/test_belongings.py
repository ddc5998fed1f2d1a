"""What is removed from somebody else's cluster is what bears the lab's label, deciders first, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.cluster.existing.belongings import Belongings
from lab.cluster.existing.overlay import OWNER_LABEL, SELECT_LABEL, Overlay
from lab.cluster.existing.upstream import METADATA_LIST, Answer, Upstream
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACES = "/api/v1/namespaces"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
TEMPLATES = "/apis/templates.gatekeeper.sh/v1/constrainttemplates"
GATEKEEPER = (
    f"{NAMESPACES}/gatekeeper-system",
    f"{CRDS}/constrainttemplates.templates.gatekeeper.sh",
    f"{CRDS}/configs.config.gatekeeper.sh",
    f"{ADMISSION}/validatingwebhookconfigurations/gatekeeper-validating-webhook-configuration",
    f"{ADMISSION}/mutatingwebhookconfigurations/gatekeeper-mutating-webhook-configuration",
    f"{RBAC}/clusterroles/gatekeeper-manager-role",
    f"{RBAC}/clusterrolebindings/gatekeeper-manager-rolebinding",
)


@dataclass
class FakeCluster:
    """A store of objects by path; what is deleted is gone at once."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    forbidden: str = ""

    def add(self, *paths: str, owner: str = "") -> None:
        for path in paths:
            labels = {OWNER_LABEL: owner} if owner else {}
            self.objects[path] = {"metadata": {"name": path.rpartition("/")[2], "labels": labels}}

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> Answer:
        url = urlsplit(path)
        if method == "POST":
            made = cast("dict[str, Any]", dict(body or {}))
            self.objects[f"{url.path}/{made['metadata']['name']}"] = made
            self.add(f"{url.path}/{made['metadata']['name']}/serviceaccounts/default")
            return Answer(status=201, body=made)
        if method == "DELETE":
            if self.forbidden and self.forbidden in path:
                return Answer(status=403, body={"message": "no"})
            gone = [place for place in self.objects if path in (place, place.rpartition("/")[0])]
            self.deleted += gone
            for place in gone:
                del self.objects[place]
            return Answer(status=200 if gone else 404, body={})
        if url.path in self.objects:
            return Answer(status=200, body=self.objects[url.path])
        if not url.path.endswith("s") or url.path.count("/") > (4 if url.path.startswith("/apis") else 3):
            return Answer(status=404, body={})
        key, _, value = parse_qs(url.query).get("labelSelector", ["="])[0].partition("=")
        return Answer(
            status=200,
            body={
                "items": [
                    {"metadata": thing["metadata"]} if accept == METADATA_LIST else thing
                    for place, thing in self.objects.items()
                    if place.rpartition("/")[0] == url.path
                    and (not key or thing["metadata"].get("labels", {}).get(key) == value)
                ]
            },
        )


@pytest.fixture
def cluster() -> FakeCluster:
    """Things of others, some of which look like the lab's."""
    cluster = FakeCluster()
    cluster.add(
        f"{NAMESPACES}/default",
        f"{NAMESPACES}/kube-system",
        f"{NAMESPACES}/lab-3f9a1c-2-shop",
        f"{ADMISSION}/validatingwebhookconfigurations/theirs",
        f"{RBAC}/clusterroles/admin",
        f"{CRDS}/widgets.example.com",
    )
    cluster.add(f"{NAMESPACES}/lab-ffffff-1-default", owner="ffffff")
    return cluster


def _belongings(cluster: FakeCluster) -> Belongings:
    return Belongings(cast("Upstream", cluster), "3f9a1c")


def test_the_labs_own_goes_and_nothing_else_and_what_decides_goes_first(cluster: FakeCluster) -> None:
    others = dict(cluster.objects)
    namespace = f"{NAMESPACES}/lab-3f9a1c-1-default"
    webhook = f"{ADMISSION}/validatingwebhookconfigurations/lab-3f9a1c-1-police"
    binding = f"{ADMISSION}/validatingadmissionpolicybindings/lab-3f9a1c-1-trusted"
    cluster.add(namespace, webhook, binding, owner="3f9a1c")
    asyncio.run(_belongings(cluster).remove())
    assert cluster.objects == others
    assert cluster.deleted == [binding, webhook, namespace]


def test_the_pods_of_a_namespace_go_before_it_does_and_who_makes_them_before_them(cluster: FakeCluster) -> None:
    name = "lab-3f9a1c-1-default"
    deployment, pod = f"/apis/apps/v1/namespaces/{name}/deployments/web", f"{NAMESPACES}/{name}/pods/web-1"
    theirs = f"{NAMESPACES}/default/pods/web-1"
    cluster.add(f"{NAMESPACES}/{name}", owner="3f9a1c")
    cluster.add(pod, deployment, theirs)
    asyncio.run(_belongings(cluster).remove())
    assert cluster.deleted == [deployment, pod, f"{NAMESPACES}/{name}"]
    assert theirs in cluster.objects


def test_gatekeeper_of_the_lab_goes_with_all_that_it_has_made(cluster: FakeCluster) -> None:
    others = dict(cluster.objects)
    cluster.add(*GATEKEEPER, f"{TEMPLATES}/k8sasked", owner="3f9a1c")
    cluster.add(f"{CRDS}/k8sasked.constraints.gatekeeper.sh")
    assert asyncio.run(_belongings(cluster).gatekeepers_owner()) == "3f9a1c"
    asyncio.run(_belongings(cluster).remove())
    assert {path: thing for path, thing in cluster.objects.items() if not path.startswith(TEMPLATES)} == others


@pytest.mark.parametrize("owner", ["", "ffffff"])
@pytest.mark.parametrize("trace", [GATEKEEPER, (f"{CRDS}/k8sold.constraints.gatekeeper.sh",)])
def test_gatekeeper_of_others_stays_and_is_known_as_theirs(
    cluster: FakeCluster, owner: str, trace: tuple[str, ...]
) -> None:
    cluster.add(*trace, f"{TEMPLATES}/k8sold", owner=owner)
    before = dict(cluster.objects)
    assert asyncio.run(_belongings(cluster).gatekeepers_owner()) == owner
    asyncio.run(_belongings(cluster).remove())
    assert cluster.objects == before
    assert cluster.deleted == []


def test_where_nobody_has_gatekeeper_it_has_no_owner(cluster: FakeCluster) -> None:
    assert asyncio.run(_belongings(cluster).gatekeepers_owner()) is None


def test_a_removal_that_was_cut_off_is_gone_on_with(cluster: FakeCluster) -> None:
    others = dict(cluster.objects)
    cluster.add(f"{CRDS}/configs.config.gatekeeper.sh", f"{RBAC}/clusterroles/gatekeeper-manager-role", owner="3f9a1c")
    asyncio.run(_belongings(cluster).remove())
    assert cluster.objects == others


def test_the_policies_of_a_start_state_go_and_gatekeeper_stays(cluster: FakeCluster) -> None:
    policy = f"{ADMISSION}/validatingadmissionpolicies/lab-3f9a1c-1-trusted"
    cluster.add(*GATEKEEPER, policy, f"{NAMESPACES}/lab-3f9a1c-1-default", owner="3f9a1c")
    asyncio.run(_belongings(cluster).remove_policies())
    assert cluster.deleted == [policy, f"{NAMESPACES}/lab-3f9a1c-1-default"]


def test_a_change_of_gatekeeper_itself_shows_in_its_shape(cluster: FakeCluster) -> None:
    deployment = "/apis/apps/v1/namespaces/gatekeeper-system/deployments/gatekeeper-audit"
    cluster.add(*GATEKEEPER, deployment, owner="3f9a1c")

    def shape() -> str:
        return asyncio.run(_belongings(cluster).gatekeepers_shape())

    webhooks = cluster.objects[GATEKEEPER[3]]
    webhooks["webhooks"] = [{"name": "validation.gatekeeper.sh", "rules": []}]
    before = shape()
    webhooks["webhooks"][0]["clientConfig"] = {"caBundle": "Y2E="}
    webhooks["metadata"]["generation"] = 2
    assert shape() == before, "its certificate comes by itself"
    webhooks["webhooks"][0]["failurePolicy"] = "Fail"
    assert shape() != before
    del webhooks["webhooks"][0]["failurePolicy"]
    cluster.objects[deployment]["metadata"]["generation"] = 2
    assert shape() != before


def test_a_cluster_that_lets_nothing_go_is_an_error(cluster: FakeCluster) -> None:
    cluster.add(f"{NAMESPACES}/lab-3f9a1c-1-default", owner="3f9a1c")
    cluster.forbidden = "lab-3f9a1c"
    with pytest.raises(LabError) as raised:
        asyncio.run(_belongings(cluster).remove())
    assert raised.value.code == "cleanup-refused"


def test_stand_ins_are_made_with_both_labels(cluster: FakeCluster) -> None:
    overlay = Overlay(run="3f9a1c", count=1)
    asyncio.run(_belongings(cluster).make_namespaces(overlay, ("default",)))
    made = cluster.objects[f"{NAMESPACES}/lab-3f9a1c-1-default"]
    assert made["metadata"]["labels"] == {OWNER_LABEL: "3f9a1c", SELECT_LABEL: "3f9a1c-1"}
