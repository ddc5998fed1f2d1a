"""The node's HTTPS server as a client meets it: real TLS, real client certificates, real upgrade requests."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.cluster.embedded.kubelet_api import HostedPod, KubeletServer, PodKind, ServingFiles
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.integration


# --- certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority with a directory for what it issues."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name: str, organisation: str = "") -> Pair:
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organisation:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        builder = self._builder(x509.Name(attributes), key).add_extension(address, critical=False)
        pair = Pair(
            certificate=self._directory / f"{common_name}.crt",
            key=self._directory / f"{common_name}.key",
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
        )


# --- the supervisor's side


def pod(name: str, *, waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"containers": [{"name": "c", "image": "x"}], "ephemeralContainers": [{"name": "debugger"}]},
        "status": {"containerStatuses": [{"name": "c", "state": state}]},
    }


@dataclass
class Pods:
    log: Path
    over: asyncio.Event = field(default_factory=asyncio.Event)
    hosted: dict[str, HostedPod] = field(
        default_factory=lambda: {
            "etcd-lab": HostedPod(kind=PodKind.STATIC, pod=pod("etcd-lab")),
            "bouncer": HostedPod(kind=PodKind.WORKLOAD, pod=pod("bouncer")),
            "stuck": HostedPod(kind=PodKind.WORKLOAD, pod=pod("stuck", waiting="ImagePullBackOff")),
            "nginx": HostedPod(kind=PodKind.PLAYED, pod=pod("nginx")),
        }
    )

    def hosted_pods(self) -> Sequence[HostedPod]:
        return list(self.hosted.values())

    def hosted_pod(self, namespace: str, name: str) -> HostedPod | None:
        return self.hosted.get(name) if namespace == "default" else None

    def log_path(self, namespace: str, name: str, container: str, *, previous: bool) -> Path | None:
        del namespace, container
        return None if previous or name == "stuck" else self.log

    def run_ended(self, namespace: str, name: str, container: str) -> bool:
        del namespace, name, container
        return self.over.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running server and who may speak with it."""

    port: int
    pods: Pods
    authority: Authority
    stranger: Authority

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def context(self, client: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if client:
            context.load_cert_chain(client.certificate, client.key)
        return context

    @asynccontextmanager
    async def session(self, client: Pair | None) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context(client))) as session:
            yield session

    async def get(self, path: str, client: Pair | None) -> tuple[int, str]:
        async with self.session(client) as session, session.get(self.url(path)) as response:
            return response.status, await response.text()

    @property
    def api_server(self) -> Pair:
        return self.authority.issue("kube-apiserver-kubelet-client", "kubeadm:cluster-admins")


def in_world(tmp_path: Path, test: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        (tmp_path / "stranger").mkdir()
        authority, stranger = Authority(tmp_path, "kubernetes"), Authority(tmp_path / "stranger", "kubernetes")
        serving = authority.issue("lab-node")
        log = tmp_path / "0.log"
        log.write_bytes(b"2026-01-01T00:00:00.000000000Z stdout F one\n2026-01-01T00:00:01.000000000Z stderr F two\n")
        pods = Pods(log=log)
        files = ServingFiles(certificate=serving.certificate, key=serving.key, client_ca=authority.file)
        server = KubeletServer(pods, files)
        port = await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(20):
                await test(World(port=port, pods=pods, authority=authority, stranger=stranger))
        finally:
            await server.stop()

    asyncio.run(run())


# --- who may ask


def test_only_the_api_server_and_administrators_are_served(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        admin = world.authority.issue("kubernetes-admin", "kubeadm:cluster-admins")
        user = world.authority.issue("jane", "developers")
        assert await world.get("/healthz", world.api_server) == (200, "ok")
        assert await world.get("/healthz", admin) == (200, "ok")
        assert await world.get("/healthz", None) == (401, "Unauthorized")
        status, text = await world.get("/healthz", user)
        assert (status, text) == (403, "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[proxy])")

    in_world(tmp_path, test)


def test_a_certificate_of_another_authority_is_refused_in_the_handshake(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        with pytest.raises(aiohttp.ClientError):
            await world.get("/healthz", world.stranger.issue("kube-apiserver-kubelet-client", "system:masters"))

    in_world(tmp_path, test)


def test_a_port_that_is_taken_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        serving = world.authority.issue("second")
        files = ServingFiles(certificate=serving.certificate, key=serving.key, client_ca=world.authority.file)
        with pytest.raises(LabError, match=f"cannot listen on 127.0.0.1:{world.port}"):
            await KubeletServer(world.pods, files).start("127.0.0.1", world.port)

    in_world(tmp_path, test)


# --- logs


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "one\ntwo\n"),
        ("?tailLines=1", "two\n"),
        ("?limitBytes=5", "one\nt"),
        ("?timestamps=true&tailLines=1", "2026-01-01T00:00:01.000000000Z two\n"),
        ("?sinceTime=2026-01-01T00:00:01Z", "two\n"),
        ("?stream=Stdout", "one\n"),
    ],
)
def test_logs_of_static_and_workload_pods(tmp_path: Path, query: str, text: str) -> None:
    async def test(world: World) -> None:
        for name in ("etcd-lab", "bouncer"):
            assert await world.get(f"/containerLogs/default/{name}/c{query}", world.api_server) == (200, text)

    in_world(tmp_path, test)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("default/gone/c", 404, 'pod "gone" does not exist'),
        ("other/bouncer/c", 404, 'pod "bouncer" does not exist'),
        ("default/bouncer/x", 404, 'container "x" not found in pod "bouncer"'),
        ("default/bouncer/c?previous=true", 400, 'previous terminated container "c" in pod "bouncer" not found'),
        ("default/bouncer/c?tailLines=-1", 422, "-1 is negative"),
        (
            "default/stuck/c",
            400,
            'container "c" in pod "stuck" is waiting to start: trying and failing to pull image',
        ),
        ("default/nginx/c", 400, "no process runs in pod default/nginx"),
        ("default/nginx/debugger", 400, "no process runs in pod default/nginx"),
    ],
)
def test_why_there_is_no_log(tmp_path: Path, path: str, status: int, words: str) -> None:
    async def test(world: World) -> None:
        got, text = await world.get(f"/containerLogs/{path}", world.api_server)
        assert got == status
        assert words in text

    in_world(tmp_path, test)


def test_a_followed_log_streams_until_the_run_ends(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        url = world.url("/containerLogs/default/bouncer/c?follow=true&tailLines=1")
        async with world.session(world.api_server) as session, session.get(url) as response:
            assert await response.content.readline() == b"two\n"
            with world.pods.log.open("ab") as log:
                log.write(b"2026-01-01T00:00:02.000000000Z stdout F three\n")
            assert await response.content.readline() == b"three\n"
            world.pods.over.set()
            assert await response.content.read() == b""

    in_world(tmp_path, test)


def test_a_follower_that_goes_away_does_not_hold_up_the_server(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        url = world.url("/containerLogs/default/bouncer/c?follow=true")
        async with world.session(world.api_server) as session, session.get(url) as response:
            await response.content.readline()
        assert await world.get("/healthz", world.api_server) == (200, "ok")

    in_world(tmp_path, test)


def test_pods_are_listed(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        status, text = await world.get("/pods", world.api_server)
        names = [one["metadata"]["name"] for one in json.loads(text)["items"]]
        assert (status, names) == (200, ["etcd-lab", "bouncer", "stuck", "nginx"])

    in_world(tmp_path, test)


# --- exec, attach, run, portForward

PLAYED = "no process runs in pod default/nginx: the lab's embedded backend plays it with kwok, so {} is not possible"
WORKLOAD = "{} is not offered by the lab's embedded backend (pod default/bouncer is a workload pod"


@pytest.mark.parametrize("upgrade", ["SPDY/3.1", "websocket"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/exec/default/nginx/c?command=sh", PLAYED.format("exec")),
        ("/exec/default/nginx/some-uid/c?command=sh", PLAYED.format("exec")),
        ("/attach/default/nginx/debugger?tty=1", PLAYED.format("attach")),
        ("/portForward/default/nginx", PLAYED.format("port-forward")),
        ("/run/default/nginx/c?cmd=ls", PLAYED.format("run")),
        ("/exec/default/bouncer/c?command=sh", WORKLOAD.format("exec")),
        ("/attach/default/bouncer/c", WORKLOAD.format("attach")),
        ("/exec/default/gone/c?command=sh", 'pod "gone" does not exist'),
    ],
)
def test_upgrade_requests_are_refused_at_once_with_a_plain_text(
    tmp_path: Path, upgrade: str, method: str, path: str, text: str
) -> None:
    async def test(world: World) -> None:
        context = world.context(world.api_server)
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=context)
        request = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Connection: Upgrade",
            f"Upgrade: {upgrade}",
            "X-Stream-Protocol-Version: v5.channel.k8s.io",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        writer.write(("\r\n".join(request) + "\r\n\r\n").encode())
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(next(one for one in head.splitlines() if one.lower().startswith("content-length")).split()[1])
            body = (await reader.readexactly(length)).decode()
        writer.close()
        assert int(head.split()[1]) >= 400
        assert "text/plain" in head
        assert text in body
        assert "\n" not in body

    in_world(tmp_path, test)
