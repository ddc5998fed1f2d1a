"""The gateway between a client and an API server made of plain values: who may use it, what is handed on, and how."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from lab.cluster.existing.gateway import Gateway
from lab.cluster.existing.overlay import OWNER_LABEL, SELECT_LABEL, Overlay
from lab.cluster.existing.upstream import Upstream
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
FIRST = Overlay(run="3f9a1c", count=1)
TEMPLATE = "/apis/templates.gatekeeper.sh/v1/constrainttemplates/k8sasked"


@dataclass
class FakeCluster:
    """An API server that remembers what it was asked, and answers what it was told to."""

    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        text = await request.text()
        self.asked.append((request.method, str(request.rel_url), yaml.safe_load(text) if text else None))
        self.headers.append(dict(request.headers))
        if "watch" in request.query:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for line in self.lines:
                await response.write(line.encode())
            return response
        answer = self.answers.get(f"{request.method} {request.path}", self.answers.get(request.path))
        if answer is None:
            return web.json_response({"kind": "Status", "message": "not found"}, status=404)
        return web.json_response(answer)


@dataclass
class Served:
    """A gateway in front of a fake cluster."""

    cluster: FakeCluster
    gateway: Gateway
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.gateway.token if token is None else token}"}
        headers |= options.pop("headers", {})
        url = f"https://127.0.0.1:{self.gateway.port}{path}"
        async with self.session.request(method, url, headers=headers, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") and text.count("\n") < 2 else text


@asynccontextmanager
async def _served(directory: Path, overlay: Overlay) -> AsyncIterator[Served]:
    cluster = FakeCluster()
    runner = web.ServerRunner(web.Server(cluster), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = Upstream(_kubeconfig(directory, f"http://127.0.0.1:{runner.addresses[0][1]}"))
    gateway = Gateway(upstream, overlay, directory=directory)
    await gateway.start()
    trust = ssl.create_default_context(cadata=gateway.authority_pem.decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        yield Served(cluster=cluster, gateway=gateway, session=session)
    await gateway.stop()
    await upstream.close()
    await runner.cleanup()


def _kubeconfig(directory: Path, server: str) -> Path:
    path = directory / "theirs"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "of-the-person"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[Callable[[Served], Awaitable[None]]], None]:
    def run(test: Callable[[Served], Awaitable[None]], overlay: Overlay = FIRST) -> None:
        async def inside() -> None:
            async with _served(tmp_path, overlay) as served:
                await test(served)

        asyncio.run(inside())

    return run


Serve = Any


def test_only_who_has_the_token_may_use_it(serve: Serve) -> None:
    async def test(served: Served) -> None:
        for token in ("", "of-the-person", "x"):
            status, _ = await served.ask("GET", "/api/v1/namespaces/default/pods", token=token)
            assert status == 401
        assert served.cluster.asked == []

    serve(test)


def test_it_asks_with_the_rights_of_the_kubeconfig_and_under_the_other_names(serve: Serve) -> None:
    async def test(served: Served) -> None:
        path = "/api/v1/namespaces/lab-3f9a1c-1-default/pods/web"
        served.cluster.answers[path] = {"metadata": {"name": "web", "namespace": "lab-3f9a1c-1-default"}}
        headers = {"Audit-ID": "7", "Impersonate-User": "system:serviceaccount:default:web"}
        status, pod = await served.ask("GET", "/api/v1/namespaces/default/pods/web?resourceVersion=0", headers=headers)
        assert (status, pod) == (200, {"metadata": {"name": "web", "namespace": "default"}})
        assert served.cluster.asked == [("GET", f"{path}?resourceVersion=0", None)]
        (sent,) = served.cluster.headers
        assert sent["Authorization"] == "Bearer of-the-person"
        assert sent["Audit-ID"] == "7"
        assert sent["Impersonate-User"] == "system:serviceaccount:lab-3f9a1c-1-default:web"

    serve(test)


def test_what_would_reach_beyond_is_refused_and_not_sent(serve: Serve) -> None:
    async def test(served: Served) -> None:
        status, answer = await served.ask("DELETE", "/api/v1/nodes/one")
        assert (status, answer["kind"], answer["reason"]) == (403, "Status", "Forbidden")
        assert answer["message"].startswith("the lab's overlay: nodes one belongs to the whole cluster")
        protobuf = {"Content-Type": "application/vnd.kubernetes.protobuf"}
        for path, body in (("/api/v1/namespaces", b"{}"), (BINDINGS, b"k8s\x00\x12\x05\x0a\x03\x0a\x01a")):
            status, answer = await served.ask("POST", path, data=body, headers=protobuf)
            assert (status, answer["reason"]) == (403, "Forbidden")
        assert served.cluster.asked == []

    serve(test)


def test_a_patch_of_a_binding_is_rehearsed_and_narrowed(serve: Serve) -> None:
    async def test(served: Served) -> None:
        there = f"{BINDINGS}/lab-3f9a1c-1-trusted"
        widened = {
            "metadata": {"name": "lab-3f9a1c-1-trusted", "resourceVersion": "9", "uid": "u", "managedFields": []},
            "spec": {"policyName": "lab-3f9a1c-1-trusted", "matchResources": {}},
        }
        served.cluster.answers |= {f"PATCH {there}": widened, f"PUT {there}": {"metadata": {}}}
        patch = [{"op": "remove", "path": "/spec/matchResources/namespaceSelector"}]
        status, _ = await served.ask(
            "PATCH",
            f"{BINDINGS}/trusted?fieldManager=kubectl",
            json=patch,
            headers={"Content-Type": "application/json-patch+json", "Accept": "application/json;as=Table"},
        )
        assert status == 200
        rehearsal, change = served.cluster.asked
        assert rehearsal == ("PATCH", f"{there}?fieldManager=kubectl&dryRun=All", patch)
        assert served.cluster.headers[0]["Accept"] == "application/json"
        method, path, manifest = change
        assert (method, path) == ("PUT", f"{there}?fieldManager=kubectl")
        assert manifest["metadata"] == {
            "name": "lab-3f9a1c-1-trusted", "resourceVersion": "9", "labels": {OWNER_LABEL: "3f9a1c"}
        }  # fmt: skip
        ours = {"key": SELECT_LABEL, "operator": "In", "values": ["3f9a1c-1"]}
        assert manifest["spec"]["matchResources"] == {"namespaceSelector": {"matchExpressions": [ours]}}

    serve(test)


@pytest.mark.parametrize(("owner", "status"), [("3f9a1c", 200), ("ffffff", 403), ("", 403)])
def test_an_object_whose_name_cannot_vary_is_changed_only_if_it_is_the_labs(
    serve: Serve, owner: str, status: int
) -> None:
    async def test(served: Served) -> None:
        labels = {OWNER_LABEL: owner} if owner else {}
        served.cluster.answers[TEMPLATE] = {"metadata": {"name": "k8sasked", "labels": labels}}
        answered, _ = await served.ask("DELETE", TEMPLATE)
        assert answered == status
        assert ("DELETE", TEMPLATE, None) in served.cluster.asked or status == 403
        assert len(served.cluster.asked) == (2 if status == 200 else 1)

    serve(test, Overlay(run="3f9a1c", count=1, has_gatekeeper=True))


def test_a_watch_goes_on_line_by_line(serve: Serve) -> None:
    async def test(served: Served) -> None:
        def line(namespace: str) -> str:
            return json.dumps({"type": "ADDED", "object": {"metadata": {"name": "a", "namespace": namespace}}}) + "\n"

        text = line("kube-system") + line("lab-3f9a1c-1-shop") + line("lab-3f9a1c-1-default")
        served.cluster.lines = [text[:100], text[100:]]
        _, seen = await served.ask("GET", "/api/v1/pods?watch=true")
        assert [json.loads(one)["object"]["metadata"]["namespace"] for one in seen.splitlines()] == ["shop", "default"]

    serve(test)


def test_a_cluster_that_does_not_answer_is_told_as_such(tmp_path: Path) -> None:
    async def test() -> None:
        upstream = Upstream(_kubeconfig(tmp_path, "http://127.0.0.1:1"))
        try:
            await upstream.call("GET", "/version")
        finally:
            await upstream.close()

    with pytest.raises(LabError) as raised:
        asyncio.run(test())
    assert raised.value.code == "api-server-unreachable"


def test_a_context_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    async def test() -> None:
        Upstream(_kubeconfig(tmp_path, "http://127.0.0.1:1"), context="none")

    with pytest.raises(InputError) as raised:
        asyncio.run(test())
    assert raised.value.code == "kubeconfig-unusable"
