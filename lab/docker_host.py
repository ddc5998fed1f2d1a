"""Reaches the Docker daemon that the ``docker`` command would use: ``DOCKER_HOST``, else the current context."""

from __future__ import annotations

import os

import docker
from docker import DockerClient
from docker.context import ContextAPI
from docker.errors import DockerException
from requests.exceptions import RequestException

from lab.errors import LabError


def connect(*, timeout_s: int, otherwise: str) -> DockerClient:
    """A client of the daemon, which has answered; the caller closes it.

    Args:
        timeout_s: longest time for one answer, in seconds.
        otherwise: what to do without Docker, for the remedy.

    Raises:
        LabError: ``docker-unreachable``.
    """
    try:
        context = None if os.environ.get("DOCKER_HOST") else ContextAPI.get_current_context()
        host = getattr(context, "Host", None)
        client = DockerClient(base_url=host, timeout=timeout_s) if host else docker.from_env(timeout=timeout_s)
        client.ping()
    except (DockerException, RequestException) as error:
        raise LabError(
            "docker-unreachable",
            f"Docker does not answer: {error}",
            hint="start Docker, or point DOCKER_HOST at one that runs; 'docker version' must show a server. "
            + otherwise,
        ) from error
    return client
