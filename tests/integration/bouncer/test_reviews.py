"""The running server answers reviews, refuses what is none, and keeps a record."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
LIMIT = 3 * 1024 * 1024
JSON = {"Content-Type": "application/json"}


def image_review(*images: str) -> dict[str, Any]:
    return {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "metadata": {"creationTimestamp": None},
        "spec": {"containers": [{"image": image} for image in images], "namespace": "default"},
        "status": {"allowed": False},
    }


def admission_review(operation: str = "CREATE", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "7f0b2891",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": operation,
            "object": None if operation == "DELETE" else {"kind": "Pod", "spec": spec},
        },
    }


@pytest.mark.parametrize("path", ["/image_policy", "/check-image", "/", "/any/path", "/check-image?timeout=30s"])
def test_an_image_review_is_allowed_or_denied_on_any_path(bouncer: Any, path: str) -> None:
    connection = bouncer.connect()
    allowed = bouncer.post(path, image_review("nginx", "k8s.gcr.io/pause:3.9"), on=connection)
    denied = bouncer.post(path, image_review("nginx", "gcr.io/x/busybox", "docker.io.evil.example/x"), on=connection)

    assert (allowed.status, denied.status) == (200, 200)
    assert allowed.headers["Content-Type"].startswith("application/json")
    assert allowed.json["status"] == {"allowed": True}
    assert denied.json == {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "status": {
            "allowed": False,
            "reason": 'image "gcr.io/x/busybox" comes from registry gcr.io, which is not in the whitelist docker.io, '
            'k8s.gcr.io; image "docker.io.evil.example/x" comes from registry docker.io.evil.example, which is not in '
            "the whitelist docker.io, k8s.gcr.io",
        },
    }


@pytest.mark.parametrize("path", ["/validate", "/"])
def test_an_admission_review_sees_init_containers_and_image_volumes(bouncer: Any, path: str) -> None:
    connection = bouncer.connect()
    good = [{"name": "a", "image": "nginx"}]
    allowed = bouncer.post(path, admission_review(containers=good), on=connection)
    denied = bouncer.post(
        path,
        admission_review(
            containers=good,
            initContainers=[{"name": "i", "image": "gcr.io/init"}],
            ephemeralContainers=[{"name": "e", "image": "gcr.io/debug"}],
            volumes=[{"name": "v", "image": {"reference": "gcr.io/volume"}}],
        ),
        on=connection,
    )
    deleted = bouncer.post(path, admission_review("DELETE"), on=connection)

    assert allowed.json["response"] == {"uid": "7f0b2891", "allowed": True}
    assert deleted.json["response"] == {"uid": "7f0b2891", "allowed": True}
    assert denied.status == 200
    assert denied.json["apiVersion"] == "admission.k8s.io/v1"
    assert denied.json["response"]["status"]["code"] == 403
    for image in ("gcr.io/init", "gcr.io/debug", "gcr.io/volume"):
        assert f'image "{image}" comes from registry gcr.io' in denied.json["response"]["status"]["message"]


class Refused(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    text: str


@pytest.mark.parametrize(
    "case",
    [
        Refused("POST", "/check-image", JSON, b"", 400, "the body is empty"),
        Refused("POST", "/check-image", JSON, b"{", 400, "not JSON"),
        Refused("POST", "/check-image", JSON, b"[" * 100_000, 400, "not JSON"),
        Refused("POST", "/check-image", JSON, b"[]", 400, "the body is a list"),
        Refused("POST", "/check-image", JSON, b'{"kind": "Pod"}', 400, 'kind "Pod"'),
        Refused("POST", "/x", JSON, json.dumps(admission_review(containers=[])).encode(), 400, "takes imagepolicy"),
        Refused("POST", "/validate", JSON, json.dumps(image_review("nginx")).encode(), 400, "takes admission.k8s.io"),
        Refused("GET", "/check-image", {}, b"", 405, "POST"),
        Refused("PUT", "/validate", JSON, b"{}", 405, "POST"),
        Refused("POST", "/healthz", JSON, b"{}", 405, "GET"),
        Refused("POST", "/x", {"Content-Type": "text/plain"}, b"{}", 415, "got text/plain"),
        Refused("POST", "/x", {"Content-Type": "application/vnd.kubernetes.protobuf"}, b"{}", 415, "protobuf"),
        Refused("POST", "/x", {**JSON, "Content-Encoding": "gzip"}, b"not gzip", 415, "not compressed"),
    ],
    ids=lambda case: f"{case.method} {case.path} {case.status} {case.text}",
)
def test_what_is_not_a_review_gets_a_4xx_with_the_reason(plain_bouncer: Any, case: Refused) -> None:
    answer = plain_bouncer.post(case.path, case.body, method=case.method, headers=case.headers)

    assert answer.status == case.status
    assert case.text in answer.body.decode()
    assert b"Traceback" not in answer.body
    assert f"refused status={case.status} " in plain_bouncer.log()
    if case.status == 405:
        assert answer.headers["Allow"]


def test_a_review_without_a_content_type_or_with_parameters_is_read(plain_bouncer: Any) -> None:
    for headers in ({}, {"Content-Type": "application/json; charset=utf-8"}):
        assert plain_bouncer.post("/x", image_review("nginx"), headers=headers).status == 200


def test_health_is_answered_and_is_no_review(plain_bouncer: Any) -> None:
    answer = plain_bouncer.post("/healthz", b"", method="GET")

    assert (answer.status, answer.body) == (200, b"ok")
    assert " review " not in plain_bouncer.log()


def test_the_body_limit_holds_for_announced_and_for_chunked_bodies(plain_bouncer: Any) -> None:
    review = json.dumps(image_review("nginx")).encode()
    exact = plain_bouncer.post("/x", review.ljust(LIMIT))
    over = plain_bouncer.post("/x", review.ljust(LIMIT + 1))
    connection = plain_bouncer.connect()
    chunks = iter([review, *[b" " * 65536] * (LIMIT // 65536 + 1)])
    connection.request("POST", "/x", chunks, JSON, encode_chunked=True)
    chunked = connection.getresponse()

    assert (exact.status, over.status, chunked.status) == (200, 413, 413)
    assert b"3145728 bytes" in over.body
    assert b"3145728 bytes" in chunked.read()


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(plain_bouncer: Any) -> None:
    head = f"POST /x HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {10 * LIMIT}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", plain_bouncer.port), timeout=30) as raw:
        raw.sendall(head.encode())

        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_goes_away_amid_its_body_leaves_a_server_that_works(plain_bouncer: Any) -> None:
    head = "POST /x HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    with socket.create_connection(("127.0.0.1", plain_bouncer.port), timeout=30) as raw:
        raw.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert raw.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"{")

    assert plain_bouncer.post("/x", image_review("nginx")).status == 200
    assert plain_bouncer.stop() == 0
    assert "stopped abandoned=0" in plain_bouncer.log()


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x00\xa5\x01", b"NONSENSE\r\n\r\n", b"POST /x HTTP/9.9\r\n\r\n"])
def test_noise_does_not_disturb_the_server(plain_bouncer: Any, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", plain_bouncer.port), timeout=30) as raw:
        raw.sendall(noise)
        raw.shutdown(socket.SHUT_WR)
        answer = raw.recv(4096)

    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert plain_bouncer.post("/x", image_review("nginx")).status == 200


def test_reviews_are_recorded_as_evidence(start_bouncer: Any, tmp_path: Path) -> None:
    record = tmp_path / "reviews.jsonl"
    bouncer = start_bouncer("--registry-whitelist=docker.io", "--review-log", record)
    connection = bouncer.connect()
    headers = {**JSON, "User-Agent": "kube-apiserver/v1.37.0"}

    bouncer.post("/check-image", image_review("nginx"), on=connection, headers=headers)
    bouncer.post("/validate", admission_review(containers=[{"image": 'gcr.io/"\n'}]), on=connection, headers=headers)
    bouncer.post("/check-image", b"{}", on=connection)

    first, second = [json.loads(line) for line in record.read_text().splitlines()]
    assert first["time"].endswith("Z")
    assert (first["kind"], first["path"], first["verdict"]) == ("ImageReview", "/check-image", "allowed")
    assert (first["images"], first["reason"], first["namespace"]) == (["nginx"], "", "default")
    assert (first["user_agent"], first["peer"]) == ("kube-apiserver/v1.37.0", "127.0.0.1")
    assert (second["kind"], second["verdict"], second["uid"]) == ("AdmissionReview", "denied", "7f0b2891")
    assert (second["operation"], second["resource"], second["policies"]) == ("CREATE", "Pod", ["reference"])
    assert second["images"] == ['gcr.io/"\n']


def test_a_review_is_one_line_of_the_log_and_whole_only_with_debug(start_bouncer: Any) -> None:
    quiet, loud = start_bouncer(), start_bouncer("--debug")
    for bouncer in (quiet, loud):
        bouncer.post("/x", image_review("nginx", "x\ninfo review verdict=forged"))

    line = next(line for line in quiet.log().splitlines() if " review " in line)
    assert ' images=["nginx", "x\\ninfo review verdict=forged"] verdict="denied"' in line
    assert "review-document" not in quiet.log()
    assert '"metadata": {"creationTimestamp": null}' in loud.log()


def test_many_clients_at_once_each_get_their_own_answer(bouncer: Any) -> None:
    wrong: list[str] = []

    def client(number: int) -> None:
        connection = bouncer.connect()
        for turn in range(20):
            image = f"r{number}-{turn}.example/x"
            reason = bouncer.post("/x", image_review(image), on=connection).json["status"]["reason"]
            if f'"{image}"' not in reason:
                wrong.append(reason)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []
    assert bouncer.log().count(" review ") == 160
