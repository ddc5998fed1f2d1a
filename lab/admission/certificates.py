"""Issues the certificates of the lab: the webhooks' and the API server's client certificate for them.

The course's recipes end in certificates that fail in instructive ways (no SAN, a server certificate shown as a client,
the leaf taken for its own CA). The lab's own are right, and each way to be wrong is an argument here, so that a
break-fix scenario asks for exactly one fault. Every call makes a fresh key; no key is ever reused or stored in the
project.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin this long ago, so that a machine whose clock is a little late takes them."""
DEFAULT_VALIDITY = timedelta(days=365)
CA_VALIDITY = timedelta(days=3650)

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""The kinds of key that kubeadm gives its CA (RSA-2048 by default, ECDSA-P256 on request)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its key, both PEM; the key is PKCS#8 without a password."""

    certificate_pem: bytes
    key_pem: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When a certificate holds.

    Attributes:
        not_before: its first moment, aware of its time zone.
        not_after: its last.
    """

    not_before: datetime
    not_after: datetime

    @classmethod
    def for_the_next(cls, duration: timedelta) -> Validity:
        """From a few minutes ago until ``duration`` from now."""
        now = datetime.now(UTC)
        return cls(not_before=now - CLOCK_SKEW, not_after=now + duration)

    @classmethod
    def expired(cls) -> Validity:
        """A day that ended an hour ago."""
        now = datetime.now(UTC)
        return cls(not_before=now - timedelta(hours=25), not_after=now - timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA that can issue; make one with `create` or `load`."""

    pair: KeyPair
    _certificate: x509.Certificate
    _key: SigningKey

    @classmethod
    def create(cls, common_name: str, *, validity: Validity | None = None) -> CertificateAuthority:
        """A new self-signed CA with a key of its own, which signs leaves only.

        Args:
            common_name: its subject.
            validity: when it holds; by default ten years from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name, ())
        certificate = (
            _builder(name, name, key.public_key(), validity or Validity.for_the_next(CA_VALIDITY))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pair(certificate, key), certificate, key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> CertificateAuthority:
        """An existing CA, such as kubeadm's ``/etc/kubernetes/pki/ca.crt`` and ``ca.key``.

        Raises:
            InputError: the PEM cannot be read, it is not a CA's, or the key belongs to another certificate.
        """
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _load_error(f"the CA's certificate or key cannot be read: {error}") from error
        if not isinstance(key, SigningKey):
            raise _load_error(f"the CA's key is of a kind that Kubernetes does not use: {type(key).__name__}")
        if key.public_key() != certificate.public_key():
            raise _load_error("the CA's key does not belong to its certificate")
        try:
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            raise _load_error("the certificate is not a CA's")
        return cls(KeyPair(certificate_pem=certificate_pem, key_pem=key_pem), certificate, key)

    def issue_server(
        self,
        *,
        names: Sequence[str],
        common_name: str | None = None,
        organizations: Sequence[str] = (),
        validity: Validity | None = None,
        with_subject_alternative_names: bool = True,
    ) -> KeyPair:
        """A server's certificate and fresh key.

        Args:
            names: DNS names and IP addresses that clients use, at least one.
            common_name: its subject; by default the first name. Clients ignore it.
            organizations: further parts of the subject.
            validity: when it holds; by default for a year from now.
            with_subject_alternative_names: False leaves the names out, as a certificate made by an old recipe does.

        Raises:
            InputError: no name was given.
        """
        if not names:
            raise InputError(
                "certificate-names",
                "a server's certificate needs at least one name",
                hint="give the DNS names and IP addresses by which clients reach the server",
            )
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._issue(
            subject=_name(common_name or names[0], organizations),
            usage=ExtendedKeyUsageOID.SERVER_AUTH,
            validity=validity,
            alternatives=alternatives if with_subject_alternative_names else None,
        )

    def issue_client(
        self, *, common_name: str, organizations: Sequence[str] = (), validity: Validity | None = None
    ) -> KeyPair:
        """A client's certificate and fresh key.

        Args:
            common_name: the user that it stands for.
            organizations: the groups that the user is in.
            validity: when it holds; by default for a year from now.
        """
        return self._issue(
            subject=_name(common_name, organizations),
            usage=ExtendedKeyUsageOID.CLIENT_AUTH,
            validity=validity,
            alternatives=None,
        )

    def _issue(
        self,
        *,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        validity: Validity | None,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(
                subject,
                self._certificate.subject,
                key.public_key(),
                validity or Validity.for_the_next(DEFAULT_VALIDITY),
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._authority_key_identifier(), critical=False)
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)

    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The CA's own key identifier; computed where the CA's certificate has none."""
        try:
            identifier = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _load_error(message: str) -> InputError:
    return InputError("certificate-authority", message, hint="give the PEM of a CA's certificate and of its own key")


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
