"""What a Pod's imagePullSecrets hold for an image: the kubelet's rules for Docker's configuration files.

The rules are those of Kubernetes 1.37, ``pkg/credentialprovider``: ``config.go`` (the two formats of a Secret, ``auth``
goes before ``username`` and ``password``) and ``keyring.go`` (which entry is for which image).
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.bouncer.reference import Reference

_DOCKER_HUB = "index.docker.io"
"""The name under which ``docker login`` keeps the credentials for docker.io."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What an ``imagePullSecret`` holds for a registry."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        """The request header of HTTP basic authentication (RFC 7617)."""
        return {"Authorization": f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"}


def credentials_for(reference: Reference, secrets: Sequence[Mapping[str, Any]]) -> tuple[Credentials, ...]:
    """The credentials to try for an image, those of the longest registry name first.

    Args:
        reference: the image.
        secrets: the Pod's Secrets; those of another type than Docker's two are passed over, as the kubelet does.

    Raises:
        ValueError: a Secret of one of these types cannot be read; the message names it.
    """
    found = [entry for secret in secrets for entry in _entries(secret) if _is_for(entry[0], reference)]
    return tuple(credentials for _, credentials in sorted(found, key=lambda entry: entry[0], reverse=True))


def _entries(secret: Mapping[str, Any]) -> Iterator[tuple[str, Credentials]]:
    """Registry and credentials of every entry in a Secret."""
    name, data = secret["metadata"]["name"], secret.get("data") or {}
    try:
        match secret.get("type"):
            case "kubernetes.io/dockerconfigjson":
                entries = json.loads(base64.b64decode(data[".dockerconfigjson"]))["auths"]
            case "kubernetes.io/dockercfg":
                entries = json.loads(base64.b64decode(data[".dockercfg"]))
            case _:
                return
        for registry, entry in entries.items():
            yield _without_scheme(registry), _credentials(entry)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the Secret {name} holds no credentials for registries: {error!r}") from error


def _credentials(entry: Mapping[str, str]) -> Credentials:
    if "auth" not in entry:
        return Credentials(username=entry["username"], password=entry["password"])
    try:
        username, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except binascii.Error as error:
        raise ValueError(f"auth is not base64: {error}") from error
    if not colon:
        raise ValueError("auth is not NAME:PASSWORD")
    return Credentials(username=username, password=password)


def _without_scheme(registry: str) -> str:
    """A registry as an image names it: ``https://index.docker.io/v1/`` is Docker Hub's."""
    host, _, path = registry.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.removeprefix("v1/").removeprefix("v2/").rstrip("/")
    host = "docker.io" if host == _DOCKER_HUB else host
    return f"{host}/{path}" if path and path not in ("v1", "v2") else host


def _is_for(registry: str, reference: Reference) -> bool:
    """Whether an entry is for an image: its host label by label (``*`` fits any), then a prefix of its path."""
    host, _, path = registry.partition("/")
    patterns, labels = host.split("."), reference.domain.split(".")
    return (
        len(patterns) == len(labels)
        and all(fnmatchcase(label, pattern) for label, pattern in zip(labels, patterns, strict=True))
        and reference.path.startswith(path)
    )
