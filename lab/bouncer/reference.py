"""Image references, read by the distribution grammar and normalised the way Docker and containerd do it.

A policy that compares raw strings is fooled: ``docker.io`` is a prefix of ``docker.io.evil.example/x``, and ``nginx``
has no prefix at all although it comes from docker.io. So every image is taken apart first, and policies see its parts.

The grammar is that of github.com/distribution/reference (reference.go, regexp.go, normalize.go):

    reference  := name [":" tag] ["@" digest]
    name       := [domain "/"] path
    domain     := host [":" port]        host := DNS name | IPv4 address | "[" IPv6 address "]"
    path       := component *("/" component)

The patterns are matched as a whole (``fullmatch``): ``$`` would let a trailing newline through.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from lab.errors import InputError

DEFAULT_DOMAIN = "docker.io"
"""Where an image lives that names no registry (distribution: ``defaultDomain``)."""
LEGACY_DEFAULT_DOMAIN = "index.docker.io"
"""The older name of the same registry (distribution: ``legacyDefaultDomain``)."""
OFFICIAL_PREFIX = "library/"
"""Docker Hub's namespace of images without one (distribution: ``officialRepoPrefix``)."""
DEFAULT_TAG = "latest"
"""What a reference without tag and digest means (distribution: ``defaultTag``)."""
PATH_MAX = 255
"""Longest path, in characters (distribution: ``RepositoryNameTotalLengthMax``)."""

_DOMAIN_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN = re.compile(rf"{_HOST}(?::[0-9]+)?")
_PATH = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_DIGEST_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""Registered digest algorithms and the length of their hex form (opencontainers/go-digest)."""
_LOWER_HEX = re.compile(r"[a-f0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One image reference, taken apart and normalised.

    Attributes:
        domain: the registry with its port, letter case as written: ``docker.io``, ``localhost:5000``.
        path: the repository below the domain: ``library/nginx``.
        tag: the tag as written; None when none was written.
        digest: the digest as written (``sha256:...``); None when none was written.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/nginx``."""
        return f"{self.domain}/{self.path}"

    @property
    def tag_is_implicit(self) -> bool:
        """Neither tag nor digest was written, so the image means ``latest``."""
        return self.tag is None and self.digest is None

    @property
    def normalised(self) -> str:
        """The whole reference, its implicit tag spelt out: ``docker.io/library/nginx:latest``."""
        return self.name + self._suffix(DEFAULT_TAG if self.tag_is_implicit else self.tag)

    @property
    def familiar(self) -> str:
        """The shortest form that means the same, as Docker prints it: ``nginx``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name + self._suffix(self.tag)
        short = self.path.removeprefix(OFFICIAL_PREFIX)
        return (self.path if "/" in short else short) + self._suffix(self.tag)

    def _suffix(self, tag: str | None) -> str:
        return (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(written: str) -> Reference:
    """Read and normalise an image reference as it stands in a Pod.

    Args:
        written: for example ``nginx``, ``localhost:5000/a/b:v1`` or ``docker.io/library/httpd@sha256:...``.

    Raises:
        InputError: ``image-reference`` when the grammar does not allow it; the message says which part is wrong.
    """
    if not written:
        raise _invalid("it is empty", hint="name an image")
    if _IDENTIFIER.fullmatch(written):
        raise _invalid(
            "64 hexadecimal characters are an image ID, not a name",
            hint="write NAME@sha256:ID, or docker.io/library/ID",
        )
    domain, remainder = _split_domain(written)
    if not is_domain(domain):
        raise _invalid(f"{show(domain)} is not a registry host", hint="write HOST[:PORT]/REPOSITORY")
    named, at, digest = remainder.partition("@")
    path, colon, tag = named.partition(":")
    check_path(path)
    if colon and not is_tag(tag):
        raise _invalid(f"{show(tag)} is not a tag", hint="use up to 128 of a-z A-Z 0-9 _ . -, the first not . or -")
    if at:
        _check_digest(digest)
    return Reference(domain=domain, path=path, tag=tag if colon else None, digest=digest if at else None)


def is_domain(text: str) -> bool:
    """Whether a text is well formed as a registry: a host, with a port or without."""
    return _DOMAIN.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether a text is well formed as a tag."""
    return _TAG.fullmatch(text) is not None


def names_registry(first: str) -> bool:
    """Whether the part before the first slash names a registry, and not a namespace of Docker Hub."""
    return first == "localhost" or "." in first or ":" in first or first.lower() != first


def check_path(path: str) -> None:
    """Refuse what is not a repository path.

    Raises:
        InputError: ``image-reference``, with the reason.
    """
    if len(path) > PATH_MAX:
        raise _invalid(f"its repository has more than {PATH_MAX} characters", hint="shorten the repository")
    if path.lower() != path:
        raise _invalid(f"the repository {show(path)} must be lower case", hint="write the repository in lower case")
    if not _PATH.fullmatch(path):
        raise _invalid(
            f"{show(path)} is not a repository",
            hint="components of a-z 0-9, joined by one '.', one or two '_', or dashes, with '/' between them",
        )


def show(text: str, *, limit: int = 300) -> str:
    """A text in quotes for a message: ASCII only, so that look-alike letters and newlines are seen; cut when long."""
    if len(text) > limit:
        return f"{json.dumps(text[:limit])}... ({len(text)} characters)"
    return json.dumps(text)


def _split_domain(written: str) -> tuple[str, str]:
    """Cut the registry off, and put Docker Hub's defaults in where they are left out."""
    first, slash, rest = written.partition("/")
    if slash and names_registry(first):
        domain, remainder = (DEFAULT_DOMAIN if first == LEGACY_DEFAULT_DOMAIN else first), rest
    else:
        domain, remainder = DEFAULT_DOMAIN, written
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = OFFICIAL_PREFIX + remainder
    return domain, remainder


def _check_digest(digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    length = _DIGEST_HEX_LENGTHS.get(algorithm)
    if length is None:
        raise _invalid(
            f"{show(digest)} is not a digest of a known algorithm ({', '.join(_DIGEST_HEX_LENGTHS)})",
            hint="copy the digest from the registry: sha256: and 64 hexadecimal characters",
        )
    if len(encoded) != length or not _LOWER_HEX.fullmatch(encoded):
        raise _invalid(
            f"the digest {show(digest)} does not have {length} lower-case hexadecimal characters",
            hint=f"copy the whole digest: {algorithm}: and {length} characters of 0-9 a-f",
        )


def _invalid(why: str, *, hint: str) -> InputError:
    return InputError("image-reference", why, hint=hint)
