"""Which states of the certificate files are taken, and which are left alone."""

from __future__ import annotations

import datetime as dt
import logging
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.bouncer.certificates import CertificateFiles, ReloadingContext
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Pair = tuple[bytes, bytes]


def make_pair(name: str, *, password: bytes | None = None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption),
    )


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    files = CertificateFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    write(files, make_pair("first"))
    return files


def write(files: CertificateFiles, pair: Pair) -> None:
    files.certificate.write_bytes(pair[0])
    files.key.write_bytes(pair[1])


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def test_the_context_asks_for_tls_1_2_and_for_no_client_certificate(files: CertificateFiles) -> None:
    context = ReloadingContext(files).current

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_with_a_client_ca_client_certificates_are_required(files: CertificateFiles, tmp_path: Path) -> None:
    client_ca = tmp_path / "ca.crt"
    client_ca.write_bytes(make_pair("ca")[0])
    files = CertificateFiles(certificate=files.certificate, key=files.key, client_ca=client_ca)

    context = ReloadingContext(files).current

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_unchanged_files_keep_the_context(files: CertificateFiles, caplog: pytest.LogCaptureFixture) -> None:
    reloading = ReloadingContext(files)
    before = reloading.current

    reloading.refresh()

    assert reloading.current is before
    assert events(caplog) == []


def test_a_new_pair_is_taken(files: CertificateFiles, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reloading = ReloadingContext(files)
    before = reloading.current
    write(files, make_pair("second"))

    reloading.refresh()

    assert reloading.current is not before
    assert events(caplog) == ["certificate-reloaded"]


def test_a_half_written_pair_is_left_alone_and_told_once(
    files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reloading = ReloadingContext(files)
    before = reloading.current
    second = make_pair("second")

    files.certificate.write_bytes(second[0])
    for _ in range(3):
        reloading.refresh()
    assert reloading.current is before
    assert events(caplog) == ["certificate-kept"]

    files.key.write_bytes(second[1])
    reloading.refresh()
    assert reloading.current is not before
    assert events(caplog) == ["certificate-kept", "certificate-reloaded"]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA", b"\x00\xff"])
def test_a_cut_certificate_is_left_alone(
    files: CertificateFiles, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reloading = ReloadingContext(files)
    before = reloading.current
    files.certificate.write_bytes(content)

    reloading.refresh()

    assert reloading.current is before
    assert events(caplog) == ["certificate-kept"]


def test_files_that_vanish_for_a_moment_are_left_alone(
    files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reloading = ReloadingContext(files)
    before, content = reloading.current, files.key.read_bytes()
    files.key.unlink()
    reloading.refresh()
    files.key.write_bytes(content)
    reloading.refresh()
    files.key.unlink()
    reloading.refresh()

    assert reloading.current is before
    assert events(caplog) == ["certificate-kept", "certificate-kept"]


def test_the_swap_of_a_secret_volume_is_seen(tmp_path: Path) -> None:
    for version in ("..v1", "..v2"):
        (tmp_path / version).mkdir()
        certificate, key = make_pair(version.strip("."))
        (tmp_path / version / "tls.crt").write_bytes(certificate)
        (tmp_path / version / "tls.key").write_bytes(key)
    (tmp_path / "..data").symlink_to("..v1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    reloading = ReloadingContext(CertificateFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key"))
    before = reloading.current

    (tmp_path / "..data_tmp").symlink_to("..v2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    reloading.refresh()

    assert reloading.current is not before


def test_an_encrypted_key_is_refused_without_a_question(files: CertificateFiles) -> None:
    write(files, make_pair("locked", password=b"secret"))

    with pytest.raises(InputError, match="encrypted"):
        ReloadingContext(files)


def test_files_that_do_not_belong_together_are_refused_at_the_start(files: CertificateFiles) -> None:
    files.key.write_bytes(make_pair("other")[1])

    with pytest.raises(InputError, match="key values mismatch") as caught:
        ReloadingContext(files)

    assert caught.value.code == "certificate-invalid"
    assert caught.value.context["--key"] == str(files.key)
