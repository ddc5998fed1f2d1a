"""A real bouncer process and the certificates to talk to it."""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 60.0
"""Enough for a cold start on a machine that is busy with other things."""


class Authority:
    """A certificate authority that lives in a test."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._name, self._key, ca=True, usages=[])
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, server: bool = False, client: bool = False) -> tuple[Path, Path]:
        """A certificate and key for 127.0.0.1, as files."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, ca=False, usages=usages)
        files = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, usages: list[x509.ObjectIdentifier]
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@dataclass(slots=True, kw_only=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class RunningBouncer:
    """A bouncer process that listens."""

    process: subprocess.Popen[bytes]
    log_file: Path
    ca: Path | None
    port: int = 0
    connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for_log(self, pattern: str, *, count: int = 1, timeout_s: float = START_S) -> re.Match[str]:
        """Wait until a pattern stands in the log that often; the last match."""
        deadline = time.monotonic() + timeout_s
        while len(matches := list(re.finditer(pattern, self.log()))) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{pattern!r} did not appear {count} times; code {self.process.returncode}:\n{self.log()}")
            time.sleep(0.02)
        return matches[-1]

    def tls(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if pair is not None:
            context.load_cert_chain(*pair)
        return context

    def connect(self, pair: tuple[Path, Path] | None = None) -> http.client.HTTPConnection:
        """A connection to it; closed when the test ends."""
        connection: http.client.HTTPConnection
        if self.ca is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        else:
            context = self.tls(pair)
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=START_S, context=context)
        self.connections.append(connection)
        return connection

    def post(
        self,
        path: str,
        body: object,
        *,
        on: http.client.HTTPConnection | None = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = on or self.connect()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json"} if headers is None else headers)
        response = connection.getresponse()
        return Answer(status=response.status, headers=response.headers, body=response.read())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(START_S)


class StartBouncer(Protocol):
    def __call__(self, *arguments: str | Path, ca: Path | None = None) -> RunningBouncer: ...


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BOUNCER_")}


@pytest.fixture
def run_bouncer() -> Any:
    """Run the bouncer to its end; for starts that must fail."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "lab.bouncer", *map(str, arguments)]
        return subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=START_S, check=False)

    return run


@pytest.fixture
def start_bouncer(tmp_path: Path) -> Iterator[StartBouncer]:
    """Starts bouncers on a free loopback port; all end with the test."""
    running: list[RunningBouncer] = []

    def start(*arguments: str | Path, ca: Path | None = None) -> RunningBouncer:
        log_file = tmp_path / f"bouncer-{len(running)}.log"
        argv = [sys.executable, "-m", "lab.bouncer", "--address", "127.0.0.1", "--port", "0", *map(str, arguments)]
        with log_file.open("wb") as log:
            process = subprocess.Popen(argv, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        bouncer = RunningBouncer(process=process, log_file=log_file, ca=ca)
        running.append(bouncer)
        bouncer.port = int(bouncer.wait_for_log(r" listening .*port=(\d+)")[1])
        return bouncer

    yield start
    for bouncer in running:
        for connection in bouncer.connections:
            connection.close()
        if bouncer.process.poll() is None:
            bouncer.process.kill()
        bouncer.process.wait(START_S)
        assert "Traceback" not in bouncer.log()
        assert " error " not in bouncer.log()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "lab-ca")


@pytest.fixture
def make_authority(tmp_path: Path) -> Any:
    return lambda name: Authority(tmp_path, name)


@pytest.fixture
def bouncer(start_bouncer: StartBouncer, authority: Authority) -> RunningBouncer:
    """A bouncer over TLS with the course's whitelist."""
    certificate, key = authority.issue("bouncer", server=True)
    arguments = ["--cert", str(certificate), "--key", str(key), "--registry-whitelist=docker.io,k8s.gcr.io"]
    return start_bouncer(*arguments, ca=authority.file)


@pytest.fixture
def plain_bouncer(start_bouncer: StartBouncer) -> RunningBouncer:
    """A bouncer without TLS, for what does not depend on it."""
    return start_bouncer("--registry-whitelist=docker.io")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
