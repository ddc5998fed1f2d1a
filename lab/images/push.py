"""Brings images to a running registry over the distribution API, so that what is served is what a client pushed.

Idempotent: what the registry already has under the right digest is not sent again, and a tag that someone moved is
moved back.
"""

from __future__ import annotations

import asyncio
import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from lab.bouncer.reference import parse
from lab.errors import LabError
from lab.images.endpoint import ACCEPT, Endpoint, stored_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiohttp

    from lab.images.oci import Blob, OciImage


class Pushable(Protocol):
    """An image with its names."""

    @property
    def repository(self) -> str:
        """Normalised name, registry included."""

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags of this content."""

    def build(self) -> OciImage:
        """The image itself."""


async def push_images(endpoint: Endpoint, images: Sequence[Pushable]) -> None:
    """Make a registry serve every reference of some images.

    Raises:
        LabError: ``registry-push``: the registry cannot be reached or refused something; its answer is in the context.
    """
    import aiohttp  # noqa: PLC0415 - heavy, and most labs have nothing to push

    try:
        # The session's limit on connections is the limit on concurrency: there is no need for a second one.
        async with endpoint.open_session() as session, asyncio.TaskGroup() as tasks:
            for image in images:
                tasks.create_task(_push_image(_Client(endpoint, session, endpoint.prefix + _name(image)), image))
    except ExceptionGroup as group:
        # As a rule all images fail for one cause, so the first to fail tells it.
        first = group.exceptions[0]
        if not isinstance(first, aiohttp.ClientError | TimeoutError):
            raise first from group
        raise LabError(
            "registry-push",
            f"cannot push images to the registry at {endpoint.address}: {first or 'time-out'}",
            hint="check that the registry runs; its log says more",
        ) from group


def _name(image: Pushable) -> str:
    reference = parse(image.repository)
    return stored_name(reference.domain, reference.path)


async def _push_image(client: _Client, row: Pushable) -> None:
    image = row.build()
    missing = [tag for tag in row.tags if await client.manifest_digest(tag) != image.digest]
    if not missing:
        return
    await _push_content(client, image)
    for tag in missing:
        await client.put_manifest(tag, image.index)


async def _push_content(client: _Client, image: OciImage) -> None:
    """Send what the index names first: a registry refuses a manifest that names content which it lacks."""
    if await client.manifest_digest(image.digest) == image.digest:
        return
    for blob in image.blobs:
        await client.put_blob(blob)
    for manifest in image.manifests:
        await client.put_manifest(manifest.digest, manifest)


class _Client:
    """The requests of a push to one repository."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, name: str) -> None:
        self._endpoint = endpoint
        self._session = session
        self._name = name

    async def manifest_digest(self, reference: str) -> str | None:
        """The digest that a tag or digest has now; None when the registry lacks it."""
        url = self._url(f"manifests/{reference}")
        async with self._session.head(url, headers={"Accept": ACCEPT}) as response:
            if response.status == HTTPStatus.NOT_FOUND:
                return None
            await _check(response, HTTPStatus.OK)
            return response.headers.get("Docker-Content-Digest")

    async def put_blob(self, blob: Blob) -> None:
        """Upload a blob unless the repository has it."""
        from yarl import URL  # noqa: PLC0415

        async with self._session.head(self._url(f"blobs/{blob.digest}")) as response:
            if response.status == HTTPStatus.OK:
                return
        async with self._session.post(self._url("blobs/uploads/")) as response:
            await _check(response, HTTPStatus.ACCEPTED)
            location = response.headers["Location"]
        # The location may be relative and has a query of its own (OCI distribution specification, "Pushing a blob").
        upload = URL(str(response.url.join(URL(location, encoded=True))), encoded=True)
        async with self._session.put(
            upload.extend_query(digest=blob.digest),
            data=io.BytesIO(blob.data),  # bytes of this size are sent in one go, which aiohttp warns of
            headers={"Content-Type": "application/octet-stream"},
        ) as response:
            await _check(response, HTTPStatus.CREATED)

    async def put_manifest(self, reference: str, manifest: Blob) -> None:
        """Store a manifest or index under a tag or its digest."""
        async with self._session.put(
            self._url(f"manifests/{reference}"), data=manifest.data, headers={"Content-Type": manifest.media_type}
        ) as response:
            await _check(response, HTTPStatus.CREATED)

    def _url(self, path: str) -> str:
        return self._endpoint.url(f"{self._name}/{path}")


async def _check(response: aiohttp.ClientResponse, expected: HTTPStatus) -> None:
    if response.status == expected:
        return
    raise LabError(
        "registry-push",
        f"the registry answered {response.status} {response.reason} where {expected.value} was expected",
        hint="read the registry's log; start it on an empty storage directory if it was damaged",
        context={"request": f"{response.method} {response.url}", "answer": (await response.text())[:500]},
    )
