"""Where the lab's registry answers, and under which name it keeps an image.

One server stands in for every registry, as a pull-through mirror does: the registry's host is the first part of the
repository's name, so ``docker.io/library/nginx:1.27`` is ``/v2/docker.io/library/nginx/manifests/1.27``. containerd
reaches the same layout with ``override_path`` in its ``hosts.toml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.images.oci import INDEX_TYPE, MANIFEST_TYPE

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

ACCEPT = (
    f"{INDEX_TYPE}, {MANIFEST_TYPE}, "
    # What a person may push to the lab's registry with Docker: the media types of its schema 2.
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
"""Every kind of manifest that the lab reads; a registry answers 404 for one that the client does not accept."""

_TOTAL_S = 60
_CONNECT_S = 10
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of a running registry.

    Attributes:
        address: ``HOST:PORT``; for a UNIX socket only a name for messages and the Host header.
        socket: path of the UNIX socket, where the registry listens on one.
        scheme: ``http``, as the lab's own registries have it, or ``https``.
        prefix: of all repositories, with a slash at its end; empty for none.
    """

    address: str
    socket: Path | None = None
    scheme: str = "http"
    prefix: str = ""

    @classmethod
    def unix(cls, socket: Path) -> Endpoint:
        """A registry behind a UNIX socket: no port to choose, and nobody else can reach it."""
        return cls(address="registry", socket=socket)

    def url(self, path: str) -> str:
        """The URL of a path below ``/v2/``."""
        return f"{self.scheme}://{self.address}/v2/{path}"

    def open_session(self) -> aiohttp.ClientSession:
        """A session for requests to this registry; the caller closes it. Needs a running event loop."""
        import aiohttp  # noqa: PLC0415 - heavy, and who only writes an address down asks nothing

        if self.socket is not None:
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=str(self.socket), limit=_CONNECTIONS)
        else:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        # Not ``connect``, which counts the wait for one of the few connections too: a busy machine would fail for its
        # own requests.
        timeout = aiohttp.ClientTimeout(total=_TOTAL_S, sock_connect=_CONNECT_S)
        return aiohttp.ClientSession(connector=connector, timeout=timeout)


def stored_name(domain: str, path: str) -> str:
    """The repository that holds the images of ``domain``/``path`` on the lab's server.

    A host name knows no case. The colon of a port is not allowed in a repository's name; two underscores are, and
    no host name has one, so two registries never share a name.
    """
    return f"{domain.lower().replace(':', '__')}/{path}"
