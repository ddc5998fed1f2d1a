"""The server's TLS context, kept up to date with its files.

A certificate is renewed while the server runs: kubelet swaps the ``..data`` link of a Secret volume, cert-manager
rewrites files, a person copies one file and then the other. A live context is never changed: a new one is built from
the files, and takes the old one's place only if they belong together. Connections that are open keep theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from lab.bouncer.logs import event
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

POLL_S = 1.0
"""How often the files are looked at, in seconds."""
_LOAD_ATTEMPTS = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where the server's certificates lie.

    Attributes:
        certificate: the server's certificate, with its chain, PEM.
        key: its private key, PEM, not encrypted.
        client_ca: the certificates that clients must be signed by, PEM; None asks clients for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is there to be watched."""
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)

    def digest(self) -> str:
        """A fingerprint of all contents.

        Contents are compared, not times: within one tick of the clock a file can change twice. They are a few
        kilobytes.

        Raises:
            OSError: a file cannot be read.
        """
        return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in self.paths)).hexdigest()


class ReloadingContext:
    """The context for the next connection.

    Args:
        files: where the certificates lie; they must be valid now.

    Raises:
        InputError: ``certificate-invalid``, with the reason.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        try:
            self._digest, self._context = _load(files)
        except (OSError, ValueError) as error:
            raise _invalid(files, error) from error
        self._refused = ""

    @property
    def current(self) -> ssl.SSLContext:
        """The context built from the last valid set of files."""
        return self._context

    async def watch(self) -> NoReturn:
        """Follow the files for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            self.refresh()

    def refresh(self) -> None:
        """Take changed files if they belong together; otherwise keep the old ones and say so once."""
        try:
            if self._files.digest() == self._digest:
                self._refused = ""
                return
            self._digest, self._context = _load(self._files)
        except (OSError, ValueError) as error:
            if str(error) != self._refused:
                self._refused = str(error)
                event(_log, logging.WARNING, "certificate-kept", reason=_reason(error), files=self._names())
            return
        self._refused = ""
        event(_log, logging.INFO, "certificate-reloaded", files=self._names())

    def _names(self) -> list[str]:
        return [str(path) for path in self._files.paths]


def _load(files: CertificateFiles) -> tuple[str, ssl.SSLContext]:
    """Build a context, and be sure that all of it comes from one state of the files."""
    for _ in range(_LOAD_ATTEMPTS):
        before = files.digest()
        context = _context(files)
        if files.digest() == before:
            return before, context
    message = "the files change while they are read"
    raise OSError(message)


def _context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(files.certificate, files.key, password=_refuse_password)
    if files.client_ca is not None:
        context.load_verify_locations(cafile=files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse_password() -> str:
    """Stands in for OpenSSL's question on the terminal, which would hang a server."""
    message = "the private key is encrypted"
    raise ValueError(message)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return str(error)


def _invalid(files: CertificateFiles, error: Exception) -> InputError:
    context = {"--cert": str(files.certificate), "--key": str(files.key)}
    if files.client_ca is not None:
        context["--client-ca"] = str(files.client_ca)
    return InputError(
        "certificate-invalid",
        f"the certificate files cannot be used: {_reason(error)}",
        hint="give PEM files that exist: a certificate, its unencrypted key, and the clients' CA if any",
        context=context,
    )
