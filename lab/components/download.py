"""Official releases: downloaded, checked against the sha256 that the project publishes, never trusted before.

A machine without access to a release host is ordinary (CI behind a proxy, an aeroplane), so it is no error: the first
request to a host finds it out within seconds, later components skip the host, and the caller builds from source. What
is an error is a complete file with another sha256 than published: then something rewrites downloads, or a release
was changed after the fact, and a person must know.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import tenacity

from lab.components.store import store_error
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.components.pins import Component
    from lab.components.platforms import Platform
    from lab.components.progress import Ticker

CONNECT_TIMEOUT_S = 4.0
"""For the first answer of a host: a name lookup, a connection and a file of a few bytes."""
READ_TIMEOUT_S = 30.0
"""For the next bytes of a running transfer."""
ATTEMPTS = 3
"""How often a broken transfer is tried in all."""

_CHUNK = 1 << 20
_CHECKSUM_LIMIT = 1 << 20
_SHA256 = re.compile(r"\A[0-9a-fA-F]{64}\Z")


class _UnreachableError(Exception):
    """The host gave no answer; the message says why."""


class _UnavailableError(Exception):
    """The host answered, but not with the release; the message says how."""


class _BrokenTransferError(Exception):
    """A transfer ended before its file did."""


class ReleaseDownloads:
    """Downloads of one run; remembers which hosts cannot be reached."""

    def __init__(self) -> None:
        self._unreachable: dict[str, str] = {}

    def obtain(
        self, component: Component, platform: Platform, directory: Path, ticker: Ticker
    ) -> dict[str, str] | None:
        """Download a component's release into a directory, as an executable file of the component's name.

        Args:
            component: what to download.
            platform: for which platform.
            directory: an existing directory.
            ticker: hears of progress, and of the reason when there is no release to be had.

        Returns:
            How it was obtained; None when it has no release or the release cannot be had here.

        Raises:
            LabError: ``component-checksum``: the file is not the one that was published.
        """
        if component.release is None:
            return None
        fields = {"version": component.version, "os": platform.os, "arch": platform.arch, "name": component.name}
        url = component.release.url.format(**fields)
        checksum_url = component.release.checksum_url.format(**fields)
        host = urllib.parse.urlsplit(checksum_url).netloc
        if host in self._unreachable:
            return None
        try:
            wanted = _published_checksum(checksum_url, PurePosixPath(urllib.parse.urlsplit(url).path).name)
            archive = _download(url, directory / "download", wanted=wanted, ticker=ticker)
        except _UnreachableError as error:
            self._unreachable[host] = str(error)
            ticker.say(f"no release download: {host} cannot be reached ({error}); not asked again in this run")
            return None
        except (_UnavailableError, _BrokenTransferError) as error:
            ticker.say(f"no release download: {error}")
            return None
        program = directory / component.name
        if component.release.member is None:
            archive.rename(program)
        else:
            _extract(archive, component.release.member.format(**fields), program)
            archive.unlink()
        program.chmod(0o755)
        return {"kind": "release", "url": url, "published-sha256": wanted}


def _published_checksum(url: str, file_name: str) -> str:
    text = _first_answer(url)
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        candidates = [lines[0][0]]
    else:
        # sha256sum marks a file that it read in binary mode with an asterisk.
        candidates = [words[0] for words in lines if len(words) == 2 and words[1].lstrip("*") == file_name]  # noqa: PLR2004
    if len(candidates) != 1 or not _SHA256.match(candidates[0]):
        raise _UnavailableError(f"{url} holds no sha256 of {file_name}")
    return candidates[0].lower()


def _first_answer(url: str) -> str:
    """A small file, or `_UnreachableError` within seconds.

    The work is done in a thread because nothing else bounds a name lookup; one that hangs is left behind.
    """
    answer: Future[str] = Future()

    def read() -> None:
        try:
            with _open(url, timeout_s=CONNECT_TIMEOUT_S) as response:
                answer.set_result(response.read(_CHECKSUM_LIMIT).decode(errors="replace"))
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, which raises it
            answer.set_exception(error)

    threading.Thread(target=read, name="first-answer", daemon=True).start()
    try:
        return answer.result(timeout=CONNECT_TIMEOUT_S + 2)
    except _BrokenTransferError as error:
        raise _UnreachableError(str(error)) from error
    except TimeoutError as error:
        raise _UnreachableError(f"no answer within {CONNECT_TIMEOUT_S + 2:g} s") from error


@contextmanager
def _open(url: str, *, timeout_s: float) -> Iterator[http.client.HTTPResponse]:
    """An answer with status 200; every way to fail is one of this module's three exceptions."""
    request = urllib.request.Request(url, headers={"User-Agent": "k8s-supply-chain-lab"})  # noqa: S310 - from the pins
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310 - from the pins
            yield response
    except urllib.error.HTTPError as error:
        with error:
            raise _UnavailableError(f"{url} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _UnreachableError(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenTransferError(f"the transfer of {url} broke: {error or type(error).__name__}") from error


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(_BrokenTransferError),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_fixed(1),
    reraise=True,
)
def _download(url: str, target: Path, *, wanted: str, ticker: Ticker) -> Path:
    """Download a file whose sha256 is known; a broken transfer is tried again from the start."""
    digest = hashlib.sha256()
    received = 0
    with target.open("wb") as file, _open(url, timeout_s=READ_TIMEOUT_S) as response:
        expected = int(response.headers.get("Content-Length", "0"))
        ticker.say(f"downloading {url}" + (f" ({expected / 1e6:.0f} MB)" if expected else ""))
        while chunk := response.read(_CHUNK):
            _write(file, chunk)
            digest.update(chunk)
            received += len(chunk)
            ticker.tick(f"{received / 1e6:.0f} MB downloaded")
    if received < expected:
        raise _BrokenTransferError(f"the transfer of {url} broke after {received} of {expected} bytes")
    if digest.hexdigest() != wanted:
        target.unlink()
        raise LabError(
            "component-checksum",
            "a downloaded release is not the file that its project published; it was deleted",
            hint="try again; if it stays so, find out what rewrites downloads on this network, or give the program "
            "yourself with --bin-dir",
            context={"url": url, "published sha256": wanted, "received sha256": digest.hexdigest()},
        )
    ticker.say(f"downloaded and verified, {ticker.elapsed}")
    return target


def _write(file: BinaryIO, chunk: bytes) -> None:
    """Write to our disk: its failure is no broken transfer, and trying again would not help."""
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise store_error(error, Path(file.name).parent) from error


def _extract(archive: Path, member: str, target: Path) -> None:
    """Take one file out of a tar archive; nothing else in it is touched."""
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                # Archives made with "tar -C dir ." name their members ./etcd.
                if entry.isfile() and entry.name.removeprefix("./") == member:
                    source = tar.extractfile(entry)
                    if source is not None:
                        with source, target.open("wb") as file:
                            shutil.copyfileobj(source, file)
                        return
    except tarfile.TarError as error:
        raise _bad_archive(archive, str(error)) from error
    raise _bad_archive(archive, f"it holds no file {member}")


def _bad_archive(archive: Path, reason: str) -> LabError:
    return LabError(
        "component-archive",
        f"a verified release archive cannot be used: {reason}",
        hint="its layout differs from what lab/components/pins.py says: correct the member there",
        context={"archive": str(archive)},
    )
