"""Where no Docker answers: one clear error, and no socket left open."""

from __future__ import annotations

import gc
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest
from docker.context import ContextAPI

from lab import docker_host
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


def _dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize("scheme", ["unix://", "http+unix://"])
@pytest.mark.parametrize(("dead", "why"), [(False, "No such file"), (True, "Connection refused")])
def test_a_daemon_that_is_not_there_is_one_error_and_leaves_no_socket_open(
    scheme: str, *, dead: bool, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dead:
        _dead_socket(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"{scheme}{tmp_path}/docker.sock")

    with pytest.raises(LabError, match=rf"Docker does not answer: .*docker\.sock: {why}") as caught:
        docker_host.connect(timeout_s=1, otherwise="Or do without")

    assert caught.value.code == "docker-unreachable"
    assert (caught.value.hint or "").endswith("Or do without")
    del caught
    gc.collect()  # an open socket would be a warning now, which is an error of this test


def test_one_that_hangs_up_is_the_same_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), socketserver.BaseRequestHandler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

        with pytest.raises(LabError) as caught:
            docker_host.connect(timeout_s=1, otherwise="Or do without")
        server.shutdown()
        serving.join()

    assert caught.value.code == "docker-unreachable"
    del caught
    gc.collect()


def test_the_daemon_of_the_current_context_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    context = type("Context", (), {"Host": f"unix://{tmp_path}/of-the-context.sock"})
    monkeypatch.setattr(ContextAPI, "get_current_context", lambda: context)

    with pytest.raises(LabError, match=r"of-the-context\.sock"):
        docker_host.connect(timeout_s=1, otherwise="Or do without")
