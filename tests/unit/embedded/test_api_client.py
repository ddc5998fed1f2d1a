"""The client against a server in the same event loop: requests as sent, refusals, broken streams, no thread."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web

from lab.admission.certificates import CertificateAuthority
from lab.cluster.embedded.api_client import ApiClient, WatchEvent
from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"{'https' if context else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


class Recorder:
    """Answers every request with an empty object, and keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str, str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        content_type = request.headers.get("Content-Type", "")
        self.requests.append((request.method, request.path, dict(request.query), content_type, body))
        return web.json_response(
            {"seen": request.headers.get("Authorization", ""), "agent": request.headers["User-Agent"]}
        )


def status_object(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def answering(status: int, body: object) -> Handler:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return handler


def streaming(*chunks: bytes, broken: bool = False) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if broken:
            assert request.transport is not None
            request.transport.abort()
        return response

    return handler


async def collected(client: ApiClient, into: list[WatchEvent]) -> None:
    async for event in client.watch("/api/v1/pods"):
        into.append(event)  # noqa: PERF401 - what came before an error must be kept


def test_every_verb_sends_the_method_query_and_content_type_that_the_api_wants() -> None:
    async def scenario() -> None:
        server = Recorder()
        async with serving(server) as url, ApiClient(url, None, bearer_token="t0ken", user_agent="unit") as client:
            answer = await client.get("/api/v1/pods", {"labelSelector": "a=b"})
            await client.create("/api/v1/namespaces", {"n": 1})
            await client.patch("/p", {"n": 2}, field_manager="unit")
            await client.patch("/p/status", [{"op": "add"}], content_type="application/json-patch+json")
            await client.apply("/p", {"n": 3}, field_manager="unit")
            await client.delete("/p", {"gracePeriodSeconds": 0})
        assert answer == {"seen": "Bearer t0ken", "agent": "unit"}
        assert server.requests == [
            ("GET", "/api/v1/pods", {"labelSelector": "a=b"}, "", ""),
            ("POST", "/api/v1/namespaces", {}, "application/json", '{"n": 1}'),
            ("PATCH", "/p", {"fieldManager": "unit"}, "application/merge-patch+json", '{"n": 2}'),
            ("PATCH", "/p/status", {}, "application/json-patch+json", '[{"op": "add"}]'),
            ("PATCH", "/p", {"fieldManager": "unit", "force": "true"}, "application/apply-patch+yaml", '{"n": 3}'),
            ("DELETE", "/p", {}, "application/json", '{"gracePeriodSeconds": 0}'),
        ]

    asyncio.run(scenario())


def test_a_refusal_carries_the_status_object() -> None:
    async def scenario() -> None:
        body = status_object(403, "Forbidden", 'pods "x" is forbidden')
        async with serving(answering(403, body)) as url, ApiClient(url, None) as client:
            with pytest.raises(ApiError) as caught:
                await client.create("/api/v1/namespaces/default/pods", {})
        assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
        assert caught.value.message == 'pods "x" is forbidden'
        assert not caught.value.outdated

    asyncio.run(scenario())


def test_a_refusal_that_is_no_status_object_keeps_its_text() -> None:
    async def scenario() -> None:
        async with serving(answering(500, "etcd failed")) as url, ApiClient(url, None) as client:
            with pytest.raises(ApiError, match="etcd failed"):
                await client.get("/readyz")

    asyncio.run(scenario())


def test_an_answer_that_is_no_json_object_is_an_error() -> None:
    async def scenario() -> None:
        async with serving(answering(200, ["a"])) as url, ApiClient(url, None) as client:
            with pytest.raises(LabError) as caught:
                await client.get("/api/v1/pods")
        assert caught.value.code == "api-answer-shape"

    asyncio.run(scenario())


def test_a_refused_connection_is_unavailability() -> None:
    async def scenario() -> None:
        async with serving(Recorder()) as url:
            pass
        async with ApiClient(url, None) as client:
            with pytest.raises(ApiUnavailable):
                await client.get("/readyz")
            with pytest.raises(ApiUnavailable):
                await collected(client, [])

    asyncio.run(scenario())


def test_a_watch_yields_events_however_the_stream_is_cut() -> None:
    events = [{"type": "ADDED", "object": {"n": n, "pad": "x" * 300_000}} for n in range(2)]
    whole = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    cuts = (whole[:1], whole[1:200_000], whole[200_000:300_100], whole[300_100:])

    async def scenario() -> None:
        seen: list[WatchEvent] = []
        async with serving(streaming(*cuts)) as url, ApiClient(url, None) as client:
            await collected(client, seen)
        assert [(event.type, event.object["n"]) for event in seen] == [("ADDED", 0), ("ADDED", 1)]

    asyncio.run(scenario())


def test_a_watch_that_breaks_off_is_unavailability_after_what_came_before() -> None:
    async def scenario() -> None:
        seen: list[WatchEvent] = []
        whole = b'{"type": "ADDED", "object": {}}\n'
        async with serving(streaming(whole, b'{"type": "MODI', broken=True)) as url, ApiClient(url, None) as client:
            with pytest.raises(ApiUnavailable):
                await collected(client, seen)
        assert [event.type for event in seen] == ["ADDED"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "outdated"),
    [
        (status_object(410, "Expired", "too old"), True),
        (status_object(504, "Timeout", "Too large", causes=[{"reason": "ResourceVersionTooLarge"}]), True),
        (status_object(500, "InternalError", "boom"), False),
    ],
)
def test_an_error_event_is_raised_and_tells_whether_to_list_again(status: dict[str, Any], outdated: bool) -> None:  # noqa: FBT001
    async def scenario() -> None:
        line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        async with serving(streaming(line)) as url, ApiClient(url, None) as client:
            with pytest.raises(ApiError) as caught:
                await collected(client, [])
        assert caught.value.outdated is outdated

    asyncio.run(scenario())


def test_no_thread_is_ever_started() -> None:
    async def scenario() -> None:
        before = threading.active_count(), len(os.listdir("/proc/self/task"))  # noqa: PTH208
        async with serving(Recorder()) as url, ApiClient(url, None) as client:
            await client.get("/api/v1/pods")
            assert (threading.active_count(), len(os.listdir("/proc/self/task"))) == before  # noqa: PTH208

    asyncio.run(scenario())


def test_a_host_name_is_refused_because_it_would_need_a_thread() -> None:
    async def scenario() -> None:
        with pytest.raises(InputError) as caught:
            ApiClient("https://localhost:6443", None)
        assert caught.value.code == "api-server-address"

    asyncio.run(scenario())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def scenario() -> None:
        async with serving(Recorder()) as url, ApiClient(url, None) as client:
            assert await client.get("/x") != {}

    asyncio.run(scenario())


def kubeconfig(server: str, user: dict[str, str], cluster: dict[str, Any] | None = None) -> str:
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "u", "user": user}],
        }
    )


def test_a_kubeconfig_with_a_token_is_used(tmp_path: Path) -> None:
    file = tmp_path / "config"

    async def scenario() -> None:
        async with serving(Recorder()) as url:
            file.write_text(kubeconfig(url, {"token": "abc"}))
            async with ApiClient.from_kubeconfig(file) as client:
                assert (await client.get("/x"))["seen"] == "Bearer abc"

    asyncio.run(scenario())


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "in files"])
def test_a_client_certificate_of_a_kubeconfig_identifies_the_client(tmp_path: Path, *, embedded: bool) -> None:
    authority = CertificateAuthority.create("authority")
    admin, server = authority.issue_client(common_name="kubernetes-admin"), authority.issue_server(names=["127.0.0.1"])
    material = {
        "certificate-authority": authority.pair.certificate_pem,
        "client-certificate": admin.certificate_pem,
        "client-key": admin.key_pem,
    }
    for name, content in material.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "server.pem").write_bytes(server.certificate_pem + server.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "certificate-authority"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.pem")

    def field(name: str) -> dict[str, str]:
        return {f"{name}-data": base64.b64encode(material[name]).decode()} if embedded else {name: name}

    async def who(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        return web.json_response({"subject": request.transport.get_extra_info("peercert")["subject"]})

    async def scenario() -> None:
        async with serving(who, context) as url:
            user = field("client-certificate") | field("client-key")
            (tmp_path / "config").write_text(kubeconfig(url, user, field("certificate-authority")))
            async with ApiClient.from_kubeconfig(tmp_path / "config") as client:
                assert (await client.get("/whoami"))["subject"] == [[["commonName", "kubernetes-admin"]]]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "current-context: c\ncontexts: []",
        kubeconfig("https://127.0.0.1:1", {}, {"certificate-authority": "missing.crt"}),
        kubeconfig("https://127.0.0.1:1", {}, {"certificate-authority-data": base64.b64encode(b"junk").decode()}),
    ],
)
def test_an_unusable_kubeconfig_is_bad_input(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    async def scenario() -> None:
        with pytest.raises(InputError) as caught:
            ApiClient.from_kubeconfig(file)
        assert caught.value.code == "kubeconfig-invalid"

    asyncio.run(scenario())
