"""Says which digest stands behind an image reference, in the words of a node that pulls it.

The embedded backend's node agent asks here before it lets a Pod run: the answer becomes ``image`` and ``imageID`` of
the container's status, a refusal its waiting reason and message. The wording is that of containerd's CRI plugin and the
kubelet, because that is what a candidate reads on a real node.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from lab.bouncer.reference import Reference, parse
from lab.errors import InputError, LabError
from lab.images.endpoint import ACCEPT, Endpoint, stored_name
from lab.images.private import PRIVATE_DOMAIN
from lab.images.pull_secrets import credentials_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from lab.images.pull_secrets import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """An image that the registry serves.

    Attributes:
        written: the reference as it stands in the Pod.
        name: the normalised name, a container status's ``image``: ``docker.io/library/httpd:2.4``.
        image_id: its ``imageID``: ``docker.io/library/httpd@sha256:...``.
        digest: ``sha256:...`` of the manifest or index that the registry serves.
    """

    written: str
    name: str
    image_id: str
    digest: str


class ImagePullError(LabError):
    """A node cannot have this image; ``reason`` is the container status's waiting reason."""

    reason = "ErrImagePull"
    grpc_code = "Unknown"

    @property
    def status_message(self) -> str:
        """The waiting message: the runtime's error as the kubelet passes it on, with its gRPC code."""
        return f"rpc error: code = {self.grpc_code} desc = {self.message}"


class ImageNotFound(ImagePullError):  # noqa: N818 - the word that containerd and its users have for it
    """The registry has no such repository, tag or digest."""

    grpc_code = "NotFound"


class ImagePullDenied(ImagePullError):  # noqa: N818 - likewise
    """The registry asks for a name and password, and got none or the wrong ones."""


class InvalidImageName(ImagePullError):  # noqa: N818 - the kubelet's own reason
    """The reference is not one; no registry is asked."""

    reason = "InvalidImageName"

    @property
    def status_message(self) -> str:
        """The waiting message: the kubelet's own, for the runtime was not called."""
        return self.message


class ImageResolver:
    """Asks the lab's registry; an asynchronous context manager that holds the connections.

    A tag is asked for each time, because tags move. A digest that was seen once needs no second request, as an image
    that a node has is not pulled again.

    Args:
        endpoint: where the registry answers.
        private: says where the registry of `PRIVATE_DOMAIN` answers, which it starts if need be; without it that
            domain's images are the open registry's too.
    """

    def __init__(self, endpoint: Endpoint, *, private: Callable[[], Awaitable[Endpoint]] | None = None) -> None:
        self._endpoint = endpoint
        self._private = private
        self._session: aiohttp.ClientSession | None = None
        self._seen: set[tuple[str, str]] = set()

    async def __aenter__(self) -> Self:
        self._session = self._endpoint.open_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def resolve(self, image: str, *, credentials: Credentials | None = None) -> ResolvedImage:
        """Find the digest of an image.

        Args:
            image: the reference as it stands in the Pod.
            credentials: what the Pod's pull secret holds for this registry.

        Raises:
            InvalidImageName: the reference is not one.
            ImageNotFound: the registry does not have it.
            ImagePullDenied: the registry asks for other credentials.
            ImagePullError: the registry cannot be reached or answers something else.
        """
        reference = _parse(image)
        repository = stored_name(reference.domain, reference.path)
        name = node_name(reference)
        digest = reference.digest
        if digest is None or (repository, digest) not in self._seen:
            digest = await self._ask(repository, reference, name, credentials)
            if credentials is None:  # what one Pod's secret opened stays closed to the others
                self._seen.add((repository, digest))
        return ResolvedImage(written=image, name=name, image_id=f"{reference.name}@{digest}", digest=digest)

    async def pull(self, image: str, secrets: Sequence[Mapping[str, Any]]) -> ResolvedImage:
        """Find the digest of an image with what a Pod's imagePullSecrets hold, as a kubelet does.

        Each of the credentials for this image is tried in turn; where there are none, the registry is asked without.

        Args:
            image: the reference as it stands in the Pod.
            secrets: the Secrets that the Pod names.

        Raises:
            ImagePullError: as `resolve`, of the last attempt; or a Secret cannot be read.
        """
        try:
            offered = credentials_for(_parse(image), secrets)
        except ValueError as error:
            raise ImagePullError("pull-secret-invalid", str(error), hint="make the Secret anew") from error
        for credentials in offered[:-1]:
            with contextlib.suppress(ImagePullDenied):
                return await self.resolve(image, credentials=credentials)
        return await self.resolve(image, credentials=offered[-1] if offered else None)

    async def _ask(self, repository: str, reference: Reference, name: str, credentials: Credentials | None) -> str:
        if self._session is None:
            raise LabError("resolver-closed", "the image resolver is not open", hint="use it in an `async with` block")
        endpoint = self._endpoint
        if self._private is not None and reference.domain.lower() == PRIVATE_DOMAIN:
            endpoint = await self._private()
        url = endpoint.url(f"{repository}/manifests/{reference.digest or reference.tag or 'latest'}")
        headers = {"Accept": ACCEPT} | (credentials.header if credentials else {})
        try:
            async with self._session.head(url, headers=headers) as response:
                return _digest(response, name, with_credentials=credentials is not None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ImagePullError(
                "registry-unreachable",
                _unresolved(name, f'failed to do request: Head "{url}": {error or "time-out"}'),
                hint="check with `lab status` that the lab's registry runs",
            ) from error


def node_name(reference: Reference) -> str:
    """The name under which a node keeps an image: containerd drops the tag when a digest is given too."""
    if reference.digest is not None:
        return f"{reference.name}@{reference.digest}"
    return reference.normalised


def _parse(image: str) -> Reference:
    try:
        return parse(image)
    except InputError as error:
        raise InvalidImageName(
            "image-name-invalid",
            f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
            f"invalid reference format: {error.message}",
            hint=error.hint,
        ) from error


def _digest(response: aiohttp.ClientResponse, name: str, *, with_credentials: bool) -> str:
    match response.status:
        case HTTPStatus.OK:
            digest = response.headers.get("Docker-Content-Digest")
            if digest:
                return digest
            why = "the registry's answer has no Docker-Content-Digest header"
        case HTTPStatus.NOT_FOUND:
            raise ImageNotFound(
                "image-not-found",
                _unresolved(name, f"{name}: not found"),
                hint="the lab serves the images of its catalogue only: check the name and the tag for a typing error",
            )
        case HTTPStatus.UNAUTHORIZED if with_credentials:
            raise ImagePullDenied(
                "image-pull-denied",
                _unresolved(name, _unexpected(response)),
                hint="the registry does not take this name and password: mend the Pod's imagePullSecret",
            )
        case HTTPStatus.UNAUTHORIZED:
            raise ImagePullDenied(
                "image-pull-denied",
                _unresolved(
                    name,
                    "pull access denied, repository does not exist or may require authorization: "
                    "authorization failed: no basic auth credentials",
                ),
                hint="give the Pod an imagePullSecret with the registry's name and password",
            )
        case _:
            why = _unexpected(response)
    raise ImagePullError("registry-answer", _unresolved(name, why), hint="read the registry's log")


def _unexpected(response: aiohttp.ClientResponse) -> str:
    return f"unexpected status from HEAD request to {response.url}: {response.status} {response.reason}"


def _unresolved(name: str, why: str) -> str:
    """The error of containerd's CRI plugin when a reference cannot be resolved."""
    return f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": {why}'
