"""Certificates: what they hold, and that a real TLS peer takes the right ones and refuses the faulty ones."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.admission.certificates import CertificateAuthority, KeyPair, Validity
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("bouncer", "bouncer.default.svc", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("lab-ca")


def loaded(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate_pem)


def handshake(tmp_path: Path, *, server: KeyPair, trusted: bytes, hostname: str, client: KeyPair | None = None) -> str:
    """Run a TLS handshake in memory, client certificates verified when one is given; the server's name for it."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*written(tmp_path, "server", server))
    client_context = ssl.create_default_context(cadata=trusted.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    # As Go has it, and so the API server: a name in the subject counts for nothing.
    client_context.hostname_checks_common_name = False
    if client is not None:
        server_context.verify_mode = ssl.CERT_REQUIRED
        server_context.load_verify_locations(cadata=trusted.decode())
        client_context.load_cert_chain(*written(tmp_path, "client", client))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server_context.wrap_bio(to_server, to_client, server_side=True)
    here = client_context.wrap_bio(to_client, to_server, server_hostname=hostname)
    finished: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (here, there):
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                continue
        if len(finished) == 2:
            return str(there.getpeercert())
    raise AssertionError("the handshake did not end")


def written(directory: Path, name: str, pair: KeyPair) -> tuple[str, str]:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    return str(certificate), str(key)


@pytest.mark.parametrize("hostname", NAMES)
def test_a_client_takes_the_server_by_each_of_its_names(
    tmp_path: Path, authority: CertificateAuthority, hostname: str
) -> None:
    server = authority.issue_server(names=NAMES)
    handshake(tmp_path, server=server, trusted=authority.pair.certificate_pem, hostname=hostname)


def test_mutual_tls_works_and_names_the_client(tmp_path: Path, authority: CertificateAuthority) -> None:
    seen = handshake(
        tmp_path,
        server=authority.issue_server(names=NAMES),
        trusted=authority.pair.certificate_pem,
        hostname="bouncer",
        client=authority.issue_client(common_name="kube-apiserver", organizations=["system:masters"]),
    )
    assert "kube-apiserver" in seen
    assert "system:masters" in seen


def test_a_server_certificate_shown_as_a_clients_is_refused(tmp_path: Path, authority: CertificateAuthority) -> None:
    server = authority.issue_server(names=NAMES)
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported|unsuitable"):
        handshake(tmp_path, server=server, trusted=authority.pair.certificate_pem, hostname="bouncer", client=server)


def test_each_faulty_certificate_is_refused_for_its_own_reason(tmp_path: Path, authority: CertificateAuthority) -> None:
    trusted = authority.pair.certificate_pem
    expired = authority.issue_server(names=NAMES, validity=Validity.expired())
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, server=expired, trusted=trusted, hostname="bouncer")
    nameless = authority.issue_server(names=NAMES, with_subject_alternative_names=False)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tmp_path, server=nameless, trusted=trusted, hostname="bouncer")
    foreign = CertificateAuthority.create("another-ca").issue_server(names=NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(tmp_path, server=foreign, trusted=trusted, hostname="bouncer")


def test_a_server_certificate_holds_what_it_should(authority: CertificateAuthority) -> None:
    certificate = loaded(authority.issue_server(names=NAMES))
    extensions = certificate.extensions
    alternatives = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["bouncer", "bouncer.default.svc"]
    assert [str(ip) for ip in alternatives.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    key_identifier = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert (
        key_identifier
        == loaded(authority.pair).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    )
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_a_client_certificate_is_for_clients_only(authority: CertificateAuthority) -> None:
    certificate = loaded(authority.issue_client(common_name="someone"))
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_every_certificate_has_a_key_of_its_own(authority: CertificateAuthority) -> None:
    first, second = authority.issue_server(names=NAMES), authority.issue_server(names=NAMES)
    assert first.key_pem != second.key_pem
    assert loaded(first).serial_number != loaded(second).serial_number


def test_it_holds_since_a_few_minutes_and_for_as_long_as_asked(authority: CertificateAuthority) -> None:
    now = datetime.now(UTC)
    certificate = loaded(authority.issue_server(names=NAMES, validity=Validity.for_the_next(timedelta(hours=2))))
    assert now - timedelta(minutes=6) < certificate.not_valid_before_utc < now - timedelta(minutes=4)
    assert now + timedelta(hours=1, minutes=59) < certificate.not_valid_after_utc < now + timedelta(hours=2, minutes=1)


def test_a_server_without_a_name_is_refused(authority: CertificateAuthority) -> None:
    with pytest.raises(InputError, match="at least one name"):
        authority.issue_server(names=[])


def test_a_loaded_authority_issues_like_the_one_that_was_made(tmp_path: Path, authority: CertificateAuthority) -> None:
    again = CertificateAuthority.load(authority.pair.certificate_pem, authority.pair.key_pem)
    server = again.issue_server(names=["bouncer"])
    handshake(tmp_path, server=server, trusted=authority.pair.certificate_pem, hostname="bouncer")


def test_an_rsa_authority_as_kubeadm_makes_it_is_taken() -> None:
    pair = self_signed(rsa.generate_private_key(public_exponent=65537, key_size=2048), ca=True)
    server = CertificateAuthority.load(pair.certificate_pem, pair.key_pem).issue_server(names=["bouncer"])
    identifier = loaded(server).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == x509.SubjectKeyIdentifier.from_public_key(loaded(pair).public_key()).digest
    loaded(server).verify_directly_issued_by(loaded(pair))


def test_what_is_no_authority_is_refused(authority: CertificateAuthority) -> None:
    other = CertificateAuthority.create("another-ca").pair
    leaf = authority.issue_server(names=NAMES)
    odd = self_signed(ed25519.Ed25519PrivateKey.generate(), ca=True)
    bare = self_signed(ec.generate_private_key(ec.SECP256R1()), ca=None)
    for certificate, key, reason in [
        (b"nothing", authority.pair.key_pem, "cannot be read"),
        (authority.pair.certificate_pem, b"nothing", "cannot be read"),
        (authority.pair.certificate_pem, other.key_pem, "does not belong"),
        (leaf.certificate_pem, leaf.key_pem, "not a CA's"),
        (bare.certificate_pem, bare.key_pem, "not a CA's"),
        (odd.certificate_pem, odd.key_pem, "does not use"),
    ]:
        with pytest.raises(InputError, match=reason) as caught:
            CertificateAuthority.load(certificate, key)
        assert caught.value.code == "certificate-authority"


def self_signed(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, *, ca: bool | None
) -> KeyPair:
    """A certificate that another program might have made: no key identifiers, and no constraints when ca is None."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
