"""Reaches the Docker daemon that the ``docker`` command would use: ``DOCKER_HOST``, else the current context."""

from __future__ import annotations

import socket

from docker import DockerClient
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

from lab.errors import LabError

_LOCAL = "unix://"


def connect(*, timeout_s: int, otherwise: str) -> DockerClient:
    """A client of the daemon, which has answered; the caller closes it.

    Args:
        timeout_s: longest time for one answer, in seconds.
        otherwise: what to do without Docker, for the remedy.

    Raises:
        LabError: ``docker-unreachable``.
    """
    client = None
    try:
        client = _client(timeout_s)
        client.ping()
    except (DockerException, RequestException, OSError) as error:
        if client is not None:
            client.close()
        raise LabError(
            "docker-unreachable",
            f"Docker does not answer: {error}",
            hint="start Docker, or point DOCKER_HOST at one that runs; 'docker version' must show a server. "
            + otherwise,
        ) from error
    return client


def _client(timeout_s: int) -> DockerClient:
    settings = kwargs_from_env()
    if "base_url" not in settings:
        settings["base_url"] = getattr(ContextAPI.get_current_context(), "Host", None) or DEFAULT_UNIX_SOCKET
    _ask_whether_somebody_listens(settings["base_url"], timeout_s)
    return DockerClient(**settings, timeout=timeout_s)


def _ask_whether_somebody_listens(url: str, timeout_s: int) -> None:
    """Fail where nobody does: the docker package leaves the socket open then, until the garbage collector complains."""
    path = url.removeprefix("http+").removeprefix(_LOCAL)
    if path == url:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect("/" + path.lstrip("/"))
        except OSError as error:
            raise OSError(f"{path}: {error.strerror or error}") from error
