"""TLS, client certificates, reload, drain, and starts that fail."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
REVIEW = {
    "apiVersion": "imagepolicy.k8s.io/v1alpha1",
    "kind": "ImageReview",
    "spec": {"containers": [{"image": "nginx"}]},
}


def serial(bouncer: Any) -> str:
    """The serial number of the certificate that a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", bouncer.port), timeout=30) as raw,
        bouncer.tls().wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        certificate = tls.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_without_a_client_ca_no_client_certificate_is_asked_for(bouncer: Any, authority: Any) -> None:
    assert bouncer.post("/x", REVIEW).status == 200

    pair = authority.issue("someone", client=True)
    assert bouncer.post("/x", REVIEW, on=bouncer.connect(pair)).status == 200
    assert "peer_certificate" not in bouncer.log()


@pytest.fixture
def mutual(start_bouncer: Any, authority: Any) -> Any:
    certificate, key = authority.issue("bouncer", server=True)
    return start_bouncer("--cert", certificate, "--key", key, "--client-ca", authority.file, ca=authority.file)


def test_with_a_client_ca_the_right_certificate_is_let_in_and_named(mutual: Any, authority: Any) -> None:
    pair = authority.issue("kube-apiserver-kubelet-client", client=True)

    assert mutual.post("/x", REVIEW, on=mutual.connect(pair)).status == 200
    assert 'peer_certificate="kube-apiserver-kubelet-client"' in mutual.log()


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("nobody", "peer did not return a certificate"),
        ("stranger", "client certificate refused: unable to get (local )?issuer certificate"),
        ("server-only", "client certificate refused: (unsuitable|unsupported) certificate purpose"),
    ],
)
def test_with_a_client_ca_any_other_client_is_refused_and_the_log_says_why(
    mutual: Any, authority: Any, make_authority: Any, who: str, reason: str
) -> None:
    pair = None
    if who == "stranger":
        pair = make_authority("other-ca").issue("stranger", client=True)
    elif who == "server-only":  # the course's apiserver.crt is such a one
        pair = authority.issue("kube-apiserver", server=True)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        mutual.post("/x", REVIEW, on=mutual.connect(pair))

    mutual.wait_for_log(rf'handshake-failed peer="127.0.0.1" reason="{reason}')
    assert " review " not in mutual.log()


def test_plain_http_on_the_tls_port_is_refused_and_told(bouncer: Any) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", bouncer.port, timeout=30)
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        bouncer.post("/x", REVIEW, on=plain)
    plain.close()

    bouncer.wait_for_log('handshake-failed .*reason="http request"')
    assert bouncer.post("/x", REVIEW).status == 200


def test_certificates_are_replaced_while_connections_work_and_no_request_is_lost(bouncer: Any, authority: Any) -> None:
    before, failures, answered, done = serial(bouncer), list[str](), [0] * 4, threading.Event()

    def client(number: int) -> None:
        connection = bouncer.connect()
        while not done.is_set():
            try:
                if bouncer.post("/x", REVIEW, on=connection).status != 200:
                    failures.append("status")
                if number % 2:  # half of them come with a new connection each time
                    connection.close()
                answered[number] += 1
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        certificate, key = authority.issue("renewed", server=True)
        shutil.copy(certificate, certificate.with_name("bouncer.crt"))
        bouncer.wait_for_log("certificate-kept")
        assert serial(bouncer) == before
        shutil.copy(key, key.with_name("bouncer.key"))
        bouncer.wait_for_log("certificate-reloaded")
        counted = list(answered)
        assert serial(bouncer) != before
        deadline = threading.Event()
        while not all(now > then for now, then in zip(answered, counted, strict=True)) and not failures:
            deadline.wait(0.02)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)

    assert failures == []
    assert bouncer.log().count("certificate-kept") == 1


def test_the_swap_of_a_secret_volume_is_followed(start_bouncer: Any, authority: Any, tmp_path: Path) -> None:
    volume = tmp_path / "tls"
    for version in ("..v1", "..v2"):
        (volume / version).mkdir(parents=True)
        certificate, key = authority.issue(version.strip("."), server=True)
        shutil.copy(certificate, volume / version / "tls.crt")
        shutil.copy(key, volume / version / "tls.key")
    (volume / "..data").symlink_to("..v1")
    for name in ("tls.crt", "tls.key"):
        (volume / name).symlink_to(f"..data/{name}")
    bouncer = start_bouncer("--cert", volume / "tls.crt", "--key", volume / "tls.key", ca=authority.file)
    before = serial(bouncer)

    (volume / "..data_tmp").symlink_to("..v2")
    (volume / "..data_tmp").replace(volume / "..data")
    shutil.rmtree(volume / "..v1")
    bouncer.wait_for_log("certificate-reloaded")

    assert serial(bouncer) != before
    assert "certificate-kept" not in bouncer.log()


def test_a_changed_policy_takes_effect_and_a_bad_one_does_not(start_bouncer: Any, tmp_path: Path) -> None:
    head = "apiVersion: bouncer.supply-chain/v1alpha1\nkind: ImagePolicy\n"
    policy = tmp_path / "policy.yaml"
    review = {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "spec": {"containers": [{"image": "gcr.io/x/busybox"}]},
    }
    policy.write_text(head + "tags: {denied: [latest]}\n")
    bouncer = start_bouncer("--policy", policy)
    assert bouncer.post("/", review).json["status"]["reason"].endswith("which tags.denied forbids")

    policy.write_text(head + "registries: {allowed: [gcr.io]}\n")
    bouncer.wait_for_log("policy-reloaded")
    assert bouncer.post("/", review).json["status"] == {"allowed": True}

    policy.write_text(head + "registries: {allowed: [gcr.io], denied: [docker.io]}\n")
    told = bouncer.wait_for_log('policy-kept reason="(.*?)" file=')[1]
    assert "registries.denied: unknown key 'denied'" in told
    assert bouncer.post("/", review).json["status"] == {"allowed": True}


def test_sigterm_answers_the_request_that_has_begun_and_takes_no_new_one(bouncer: Any) -> None:
    idle, busy = bouncer.connect(), bouncer.connect()
    assert bouncer.post("/x", REVIEW, on=idle).status == 200
    body = json.dumps(REVIEW).encode().ljust(300_000)
    busy.putrequest("POST", "/x")
    busy.putheader("Content-Type", "application/json")
    busy.putheader("Content-Length", str(len(body)))
    busy.putheader("Expect", "100-continue")  # the interim answer proves that the request is being handled
    busy.endheaders()
    assert busy.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    busy.send(body[:1000])

    bouncer.process.send_signal(signal.SIGTERM)
    bouncer.wait_for_log("draining")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bouncer.port), timeout=30)
    busy.send(body[1000:])
    response = busy.getresponse()

    assert response.status == 200
    assert json.loads(response.read())["status"] == {"allowed": True}
    assert response.headers["Connection"] == "close"
    assert bouncer.process.wait(30) == 0
    assert "stopped abandoned=0" in bouncer.log()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_idle_connections_open(plain_bouncer: Any, number: signal.Signals, code: int) -> None:
    connection = plain_bouncer.connect()
    assert plain_bouncer.post("/x", REVIEW, on=connection).status == 200

    assert plain_bouncer.stop(number) == code


def test_a_port_in_use_is_told_with_a_remedy(run_bouncer: Any, taken_port: int) -> None:
    ended = run_bouncer("--address", "127.0.0.1", "--port", str(taken_port))

    assert ended.returncode == 3
    assert "another program uses this port [port-in-use]" in ended.stderr
    assert "what to do: stop it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_bad_starts_are_told_with_a_remedy(run_bouncer: Any, tmp_path: Path, authority: Any) -> None:
    certificate, key = authority.issue("one", server=True)
    other = authority.issue("two", server=True)[1]
    absent = tmp_path / "absent.pem"
    for arguments, told in (
        (["--cert", absent, "--key", key], "No such file or directory: '" + str(absent)),
        (["--cert", certificate, "--key", other], "key values mismatch"),
        (["--cert", certificate, "--key", key, "--client-ca", key], "no certificate or crl found"),
        (["--cert", certificate], "[certificate-incomplete]"),
        (["--registry-whitelist", "https://docker.io"], "[registry-entry]"),
        (["--address", "256.0.0.1", "--port", "0"], "[address-invalid]"),
        (["--review-log", tmp_path / "no" / "reviews"], "[review-log-unwritable]"),
    ):
        ended = run_bouncer(*arguments)

        assert told in ended.stderr
        assert "what to do: " in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.returncode == 2
