"""Takes the path of a request to the API server apart, and puts it together again under other names."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

_SUBRESOURCES_OF_NAMESPACES = frozenset({"status", "finalize"})
_LEGACY_WATCH = "watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about.

    Attributes:
        root: ``/api/v1`` or ``/apis/GROUP/VERSION``.
        group: the API group; empty for the core one.
        resource: its plural, ``pods``.
        namespace: of a namespaced object; None for a cluster-scoped one, and for all namespaces.
        name: of the object; None for a collection.
        subresource: what follows the name, for example ``log``.
    """

    root: str
    group: str
    resource: str
    namespace: str | None = None
    name: str | None = None
    subresource: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """Group and resource."""
        return self.group, self.resource

    @property
    def path(self) -> str:
        """The path, without a query."""
        inside = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace is not None else ""
        parts = [quote(part, safe="") for part in (self.resource, self.name) if part]
        return f"{self.root}{inside}/{'/'.join(parts)}{f'/{self.subresource}' if self.subresource else ''}"


def target_of(path: str) -> Target | None:
    """What a path is about; None for what is no object: discovery, the version, the schemas.

    Args:
        path: without its query, percent-encoded as it came.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] not in ("api", "apis"):
        return None
    length = 2 if parts[0] == "api" else 3
    rest = parts[length:]
    if not rest:
        return None
    root, group = "/" + "/".join(parts[:length]), "" if parts[0] == "api" else parts[1]
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _SUBRESOURCES_OF_NAMESPACES:  # noqa: PLR2004
        namespace, rest = rest[1], rest[2:]
    else:
        namespace = None
    return Target(
        root=root,
        group=group,
        resource=rest[0],
        namespace=namespace,
        name=rest[1] if len(rest) > 1 else None,
        subresource="/".join(rest[2:]),
    )


def is_legacy_watch(target: Target) -> bool:
    """Whether it is a watch of before ``?watch=true``, which no client of today sends."""
    return target.resource == _LEGACY_WATCH
