"""Hands a node image to the user's Docker, and knows whether it is there already."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from lab.docker_host import connect
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from docker import DockerClient

LABEL = "k8s-supply-chain-lab.inputs"
"""The image's label that names what it was made of."""

_TIMEOUT_S = 600
"""For one answer: Docker says nothing while it unpacks a layer."""


def require() -> None:
    """Find out before any work that Docker answers.

    Raises:
        LabError: ``docker-unreachable``.
    """
    with _client():
        pass


def loaded_inputs(name: str) -> str | None:
    """What the image of this name was made of; None when Docker has none such.

    Raises:
        LabError: ``docker-unreachable``.
    """
    with _client() as client:
        try:
            labels: dict[str, str] = client.images.get(name).labels or {}
        except ImageNotFound:
            return None
        return labels.get(LABEL, "")


def load(name: str, archive: Iterable[bytes]) -> None:
    """Give Docker an image; the one that had the name before is removed unless a container still has it.

    Args:
        name: the image's name, as the archive says it.
        archive: the archive in pieces.

    Raises:
        LabError: ``docker-unreachable``, ``node-image-load``.
    """
    with _client() as client:
        before = _image_id(client, name)
        try:
            for _ in client.api.load_image(archive):  # type: ignore[no-untyped-call]
                pass
        except (DockerException, RequestException) as error:
            raise LabError(
                "node-image-load",
                f"Docker does not take the image {name}",
                hint="free space where Docker keeps its images ('docker system df'), then run the command again",
                context={"Docker": str(error)},
            ) from error
        after = _image_id(client, name)
        if after is None:
            raise LabError(
                "node-image-load",
                f"Docker took the archive but has no image {name}",
                hint="run 'lab node-image build --output node.tar' and 'docker load -i node.tar' to see what it says",
            )
        if before not in (None, after):
            with _conflicts_left():
                client.images.remove(before)


def _image_id(client: DockerClient, name: str) -> str | None:
    try:
        return client.images.get(name).id
    except ImageNotFound:
        return None


@contextmanager
def _conflicts_left() -> Iterator[None]:
    """An image that a container still needs stays: Docker refuses to remove it."""
    try:
        yield
    except APIError as error:
        if error.status_code != 409:  # noqa: PLR2004 - HTTP's Conflict
            raise


@contextmanager
def _client() -> Iterator[DockerClient]:
    client = connect(
        timeout_s=_TIMEOUT_S, otherwise="Without one, 'lab node-image build --output FILE' writes the image to a file"
    )
    try:
        yield client
    finally:
        client.close()
