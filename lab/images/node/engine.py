"""Hands a node image to the user's Docker, and knows whether it is there already."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import docker
from docker import DockerClient
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    try:
        # The daemon that the docker command would use: DOCKER_HOST, else the current context.
        context = None if os.environ.get("DOCKER_HOST") else ContextAPI.get_current_context()
        host = getattr(context, "Host", None)
        client = DockerClient(base_url=host, timeout=_TIMEOUT_S) if host else docker.from_env(timeout=_TIMEOUT_S)
        client.ping()
    except (DockerException, RequestException) as error:
        raise LabError(
            "docker-unreachable",
            f"Docker does not answer: {error}",
            hint="start Docker, or point DOCKER_HOST at one that runs; 'docker version' must show a server. "
            "Without one, 'lab node-image build --output FILE' writes the image to a file",
        ) from error
    try:
        yield client
    finally:
        client.close()
