"""The conversation with Docker, as it was recorded: its documents, and the framed output of a command."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from lab.cluster.kind.engine import CLUSTER_LABEL, LAB_LABEL, Engine
from lab.errors import LabError


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(text)) + text


class Daemon:
    """Answers like Docker's client library; what is asked is noted."""

    def __init__(self, *, answer: bytes = b"", exit_codes: tuple[int | None, ...] = (0,)) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.stdin = b""
        self.containers_found: list[dict[str, Any]] = []
        self.networks_found: list[dict[str, Any]] = []
        self._answer = answer
        self._exit_codes = list(exit_codes)
        self._heard = threading.Event()

    def close(self) -> None:
        pass

    def exec_create(self, container: str, argv: list[str], **options: Any) -> dict[str, str]:
        self.asked.append(("exec_create", (container, argv, options)))
        return {"Id": "exec1"}

    def exec_start(self, command: str, **options: Any) -> Any:
        self.asked.append(("exec_start", (command, options)))
        if not options.get("socket"):
            return b""
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._converse, args=(ours,), daemon=True).start()
        return theirs

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            while chunk := connection.recv(65536):
                self.stdin += chunk
            if self._answer == b"never":
                self._heard.wait(5)
            else:
                # In pieces that end in the middle of a header and of a text.
                for start in range(0, len(self._answer), 5):
                    connection.sendall(self._answer[start : start + 5])

    def exec_inspect(self, _command: str) -> dict[str, Any]:
        return {"ExitCode": self._exit_codes.pop(0)}

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        self.asked.append(("containers", options))
        return self.containers_found

    def networks(self, **options: Any) -> list[dict[str, Any]]:
        self.asked.append(("networks", options))
        return self.networks_found

    def remove_container(self, name: str, **options: Any) -> None:
        self.asked.append(("remove_container", (name, options)))
        if name == "gone":
            raise NotFound("no such container")

    def remove_network(self, name: str) -> None:
        self.asked.append(("remove_network", name))


def engine(daemon: Daemon) -> Engine:
    return Engine(daemon)  # type: ignore[arg-type]  # all that is asked of it


def test_a_command_has_its_input_both_outputs_and_its_exit_code() -> None:
    answer = frame(1, b"out ") + frame(2, b"err\n") + frame(1, b"put\n")
    daemon = Daemon(answer=answer, exit_codes=(None, 3))
    result = engine(daemon).run("node", ["cat"], stdin=b"x" * 100_000, env={"A": "b c"})
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out put\n", "err\n")
    assert daemon.stdin == b"x" * 100_000
    _, (container, argv, options) = daemon.asked[0]
    assert (container, argv, options["user"], options["workdir"]) == ("node", ["cat"], "root", "/root")
    assert options["environment"][0] == "A=b c"


def test_a_command_that_takes_too_long_is_killed_by_its_mark() -> None:
    daemon = Daemon(answer=b"never")
    with pytest.raises(LabError, match=r"sleep 9 did not end within 0\.05 s") as caught:
        engine(daemon).run("node", ["sleep", "9"], timeout_s=0.05)
    assert caught.value.code == "node-exec-timeout"
    (_, (_, _, options)), _, (_, (_, killer, _)), _ = daemon.asked
    mark = options["environment"][-1]
    assert mark.startswith("LAB_EXEC=")
    assert killer[-1] == mark


def test_what_docker_refuses_is_an_error_of_the_lab() -> None:
    class Refusing(Daemon):
        def exec_create(self, *_: Any, **__: Any) -> dict[str, str]:
            raise APIError("409", explanation="container is not running")

    with pytest.raises(LabError, match="true cannot be run on the node: container is not running") as caught:
        engine(Refusing()).run("node", ["true"])
    assert caught.value.code == "node-exec"


def test_a_silent_docker_is_an_error_of_the_lab() -> None:
    class Silent(Daemon):
        def containers(self, **_: Any) -> list[dict[str, Any]]:
            raise ConnectionRefusedError("refused")

    with pytest.raises(LabError) as caught:
        engine(Silent()).node_id("x")
    assert caught.value.code == "docker-unreachable"


def test_all_of_a_cluster_goes_with_its_volumes_and_what_has_gone_is_no_error() -> None:
    daemon = Daemon()
    daemon.containers_found = [{"Id": "one"}, {"Id": "gone"}]
    daemon.networks_found = [{"Id": "net"}]
    engine(daemon).remove("lab-1a2b3c")
    assert [what for what in daemon.asked if what[0].startswith("remove")] == [
        ("remove_container", ("one", {"v": True, "force": True})),
        ("remove_container", ("gone", {"v": True, "force": True})),
        ("remove_network", "net"),
    ]
    assert daemon.asked[0] == ("containers", {"all": True, "filters": {"label": f"{CLUSTER_LABEL}=lab-1a2b3c"}})


def test_clusters_are_found_by_what_is_left_of_them() -> None:
    daemon = Daemon()
    daemon.containers_found = [{"Labels": {CLUSTER_LABEL: "b"}}]
    daemon.networks_found = [{"Labels": {LAB_LABEL: "a"}}, {"Labels": {LAB_LABEL: "b"}}]
    assert engine(daemon).clusters() == ("a", "b")
