"""What a reset does to the objects of a cluster, against an API server that keeps them in memory."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.kind import objects
from lab.errors import WaitError

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def item(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "uid": f"u-{name}", "resourceVersion": "1"}, **more}


class Server:
    """Serves ConfigMaps, Pods and Leases of one namespace."""

    def __init__(self, **kinds: list[dict[str, Any]]) -> None:
        self.kinds: dict[str, dict[str, dict[str, Any]]] = {
            kind: {found["metadata"]["name"]: found for found in kinds.get(kind, [])}
            for kind in ("configmaps", "pods", "leases", "deployments", "replicasets", "jobs", "namespaces")
        }
        self.log: list[str] = []
        self.held: set[str] = set()
        self.immutable: set[str] = set()

    async def get(self, path: str, params: dict[str, str] | None = None) -> dict[str, Any]:
        if params is not None:
            key, _, value = params["labelSelector"].partition("=")
            found = self.kinds[path.rsplit("/", 1)[1]].values()
            return {"items": [one for one in found if one["metadata"].get("labels", {}).get(key) == value]}
        if path == "/apis":
            return {"groups": []}
        if path == "/api/v1":
            names = {"configmaps": "ConfigMap", "pods": "Pod", "leases": "Lease"}
            verbs = ["create", "delete", "list"]
            return {
                "resources": [{"name": name, "kind": kind, "verbs": verbs} for name, kind in names.items()]
                + [{"name": "bindings", "kind": "Binding", "verbs": ["create"]}]
            }
        if "/namespaces/" not in path:
            return {"items": copy.deepcopy(list(self.kinds[path.rsplit("/", 1)[1]].values()))}
        kind, name = path.split("/")[-2:]
        if name not in self.kinds[kind]:
            raise self._refusal(404)
        return copy.deepcopy(self.kinds[kind][name])

    async def create(self, path: str, body: dict[str, Any]) -> None:
        self.log.append(f"create {body['metadata']['name']}")
        assert "uid" not in body["metadata"]
        self.kinds[path.rsplit("/", 1)[1]][body["metadata"]["name"]] = body

    async def update(self, path: str, body: dict[str, Any]) -> None:
        kind, name = path.split("/")[-2:]
        if name in self.immutable:
            raise self._refusal(422)
        self.log.append(f"update {name}")
        self.kinds[kind][name] = body

    async def delete(self, path: str, body: dict[str, Any]) -> None:
        kind, name = path.split("/")[-2:]
        self.log.append(f"delete {name}")
        assert body["gracePeriodSeconds"] == 1
        if name not in self.held:
            self.kinds[kind].pop(name, None)

    async def patch(self, path: str, body: dict[str, Any]) -> None:
        self.log.append(f"patch {path.rsplit('/', 1)[1]} {body}")
        self.held.discard(path.rsplit("/", 1)[1])

    @staticmethod
    def _refusal(status: int) -> ApiError:
        return ApiError(request="", status=status, reason="", message=f"status {status}", body={})


def read(server: Server) -> objects.Objects:
    return asyncio.run(objects.read(server))  # type: ignore[arg-type]  # all that is asked of it


def compare(server: Server, wanted: objects.Objects) -> objects.Difference:
    return asyncio.run(objects.compare(server, wanted))  # type: ignore[arg-type]


def put_back(server: Server, wanted: objects.Objects) -> set[str]:
    return asyncio.run(objects.put_back(server, wanted))  # type: ignore[arg-type]


def test_what_somebody_else_makes_again_is_not_remembered() -> None:
    owned = item("owned")
    owned["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet"}]
    server = Server(configmaps=[item("one")], pods=[owned, item("naked")], leases=[item("lease")])
    found = read(server)
    assert set(found) == {f"{CONFIGMAPS}/one", f"{PODS}/naked"}
    assert (found[f"{PODS}/naked"]["apiVersion"], found[f"{PODS}/naked"]["kind"]) == ("v1", "Pod")


def test_what_is_extra_goes_what_is_missing_comes_and_what_was_changed_is_put_back() -> None:
    server = Server(configmaps=[item("kept"), item("changed", data={"a": "1"}), item("gone")])
    wanted = read(server)
    server.kinds["configmaps"]["changed"]["data"] = {"a": "2"}
    del server.kinds["configmaps"]["gone"]
    server.kinds["pods"]["extra"] = item("extra")
    assert put_back(server, wanted) == {f"{CONFIGMAPS}/changed", f"{CONFIGMAPS}/gone", f"{PODS}/extra"}
    assert server.log == ["delete extra", "update changed", "create gone"]
    assert compare(server, wanted) == objects.Difference(extra={}, changed={})


def test_what_runs_because_of_something_extra_goes_with_it_and_is_waited_for() -> None:
    server = Server(deployments=[item("webhook")])
    for kind, owner in (("replicasets", "u-webhook"), ("pods", "u-webhook-1")):
        one = item({"replicasets": "webhook-1", "pods": "webhook-1-a"}[kind])
        one["metadata"]["ownerReferences"] = [{"uid": owner}]
        server.kinds[kind][one["metadata"]["name"]] = one
    other = item("other-1-a")
    other["metadata"]["ownerReferences"] = [{"uid": "u-other-1"}]
    server.kinds["pods"]["other-1-a"] = other

    deployments = "/apis/apps/v1/namespaces/default/deployments"
    asyncio.run(objects._remove(server, {f"{deployments}/webhook": item("webhook")}))  # type: ignore[arg-type]

    assert server.log == ["delete webhook", "delete webhook-1", "delete webhook-1-a"]
    assert list(server.kinds["pods"]) == ["other-1-a"]


def test_a_namespace_goes_when_none_of_its_pods_is_left() -> None:
    """And what its controllers make in it again and again goes with it."""
    server = Server(namespaces=[item("team")], deployments=[item("web")], configmaps=[item("kube-root-ca.crt")])
    pod = item("web-1")
    pod["metadata"]["ownerReferences"] = [{"uid": "u-web"}]
    server.kinds["pods"]["web-1"] = pod
    delete = server.delete

    async def as_kubernetes_does(path: str, body: dict[str, Any]) -> None:
        await delete(path, body)
        if path.endswith("/team"):
            assert not server.kinds["pods"]
            server.kinds["configmaps"].clear()
        else:
            server.kinds["configmaps"].setdefault("kube-root-ca.crt", item("kube-root-ca.crt"))

    server.delete = as_kubernetes_does  # type: ignore[method-assign]
    extra = {
        "/api/v1/namespaces/team": item("team"),
        "/apis/apps/v1/namespaces/team/deployments/web": item("web"),
        "/api/v1/namespaces/team/configmaps/kube-root-ca.crt": item("kube-root-ca.crt"),
    }
    asyncio.run(objects._remove(server, extra))  # type: ignore[arg-type]
    assert server.log[-1] == "delete team"
    assert not server.kinds["namespaces"]


def test_a_cluster_that_is_as_it_was_is_left_alone() -> None:
    server = Server(configmaps=[item("one")])
    wanted = read(server)
    server.kinds["configmaps"]["one"]["metadata"] |= {"resourceVersion": "9", "generation": 3}
    server.kinds["configmaps"]["one"]["status"] = {"seen": True}
    assert put_back(server, wanted) == set()
    assert server.log == []


def test_what_cannot_be_changed_is_made_anew() -> None:
    server = Server(pods=[item("pod", spec={"image": "a"})])
    wanted = read(server)
    server.kinds["pods"]["pod"]["spec"] = {"image": "b"}
    server.immutable.add("pod")
    put_back(server, wanted)
    assert server.log == ["delete pod", "create pod"]
    assert server.kinds["pods"]["pod"]["spec"] == {"image": "a"}


def test_what_a_finalizer_holds_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_FINALIZERS_S", 0.0)
    server = Server(configmaps=[item("held")])
    server.held.add("held")
    put_back(server, {})
    assert server.log == ["delete held", "patch held {'metadata': {'finalizers': None}}", "delete held"]


def test_a_deployment_is_taken_away_with_its_pods_and_no_other() -> None:
    mine = {"metadata": {"labels": {"app": "one"}}}
    server = Server(
        deployments=[item("one")],
        replicasets=[{"metadata": {"name": "one-1", **mine["metadata"]}}],
        pods=[{"metadata": {"name": "one-1-a", **mine["metadata"]}}, item("other")],
    )
    asyncio.run(objects.take_away(server, "default", "one", label="app=one"))  # type: ignore[arg-type]
    assert server.log == ["delete one", "delete one-1", "delete one-1-a"]
    assert [*server.kinds["pods"]] == ["other"]


def test_a_pod_that_does_not_go_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_GONE_S", 0.0)
    server = Server(pods=[{"metadata": {"name": "one-1-a", "labels": {"app": "one"}}}])
    server.held.add("one-1-a")
    with pytest.raises(WaitError, match=r"pods/one-1-a"):
        asyncio.run(objects.take_away(server, "default", "one", label="app=one"))  # type: ignore[arg-type]
