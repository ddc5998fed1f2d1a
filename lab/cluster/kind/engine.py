"""Docker as the kind backend needs it: find a lab's containers, run commands in its node, remove what is the lab's.

Everything goes through the low-level client of the ``docker`` package, whose answers are Docker's own documents. A
lab's node carries kind's label with the name of the cluster; the lab's network carries the lab's own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from lab import docker_host
from lab.cluster.protocol import ExecResult
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import docker

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""Set by kind on each of its containers (kubernetes-sigs/kind, pkg/cluster/internal/providers/docker/constants.go)."""
ROLE_LABEL = "io.x-k8s.kind.role"
LAB_LABEL = "k8s-supply-chain-lab.cluster"
"""Set by the lab on what it makes in Docker itself."""

_HEADER = struct.Struct(">BxxxL")
"""Before each piece of output: which stream, how many bytes (Docker API, "Attach to a container")."""
_STDOUT, _STDERR = 1, 2
_CHUNK = 65536
_API_TIMEOUT_S = 60
_MARK = "LAB_EXEC"
_KILL_MARKED = """
for process in /proc/[0-9]*; do
  if tr '\\0' '\\n' < "$process/environ" 2>/dev/null | grep -qx "$1"; then
    [ "${process#/proc/}" = $$ ] || kill -KILL "${process#/proc/}" 2>/dev/null
  fi
done
exit 0
"""
"""Ends what a command has started: all of it has inherited the mark. Docker itself cannot end a command."""


class Engine:
    """One Docker daemon.

    Args:
        api: the client.
    """

    def __init__(self, api: docker.APIClient) -> None:
        self._api = api
        weakref.finalize(self, api.close)

    @classmethod
    def connect(cls) -> Engine:
        """The daemon that the ``docker`` command would use: ``DOCKER_HOST``, else the current context.

        Raises:
            LabError: ``docker-unreachable``.
        """
        client = docker_host.connect(timeout_s=_API_TIMEOUT_S, otherwise="Or use --backend embedded")
        return cls(client.api)

    # --- containers ------------------------------------------------------------------------------------------------

    def node_id(self, cluster: str) -> str | None:
        """The running control-plane container of a cluster; None when there is none."""
        labels = [f"{CLUSTER_LABEL}={cluster}", f"{ROLE_LABEL}=control-plane"]
        with _translated("the containers cannot be listed"):
            found = self._api.containers(filters={"label": labels})
        return str(found[0]["Id"]) if found else None

    def inspect(self, container: str) -> dict[str, Any]:
        """Docker's own document about a container."""
        with _translated("the node cannot be inspected"):
            document: dict[str, Any] = self._api.inspect_container(container)
        return document

    def processes(self, container: str) -> dict[int, str]:
        """Process id, as seen from outside, to the name of the program."""
        with _translated("the node's processes cannot be listed"):
            table = self._api.top(container, ps_args="-eo pid,comm")
        return {int(row[0]): str(row[1]) for row in table["Processes"] or ()}

    def output(self, container: str) -> str:
        """What a container has printed."""
        with _translated("the node's output cannot be read"):
            text: bytes = self._api.logs(container)
        return text.decode(errors="replace")

    def archive(self, container: str, path: str) -> bytes | None:
        """A directory of a container as a tar archive; None when it is not there."""
        with _translated(f"{path} cannot be copied from the node"):
            try:
                chunks, _ = self._api.get_archive(container, path)
                return b"".join(chunks)
            except NotFound:
                return None

    def clusters(self) -> tuple[str, ...]:
        """Every cluster that Docker holds something of: kind's containers, and networks of labs."""
        with _translated("what Docker holds cannot be listed"):
            containers = self._api.containers(all=True, filters={"label": CLUSTER_LABEL})
            networks = self._api.networks(filters={"label": LAB_LABEL})
        names = {found["Labels"][CLUSTER_LABEL] for found in containers}
        names |= {found["Labels"][LAB_LABEL] for found in networks}
        return tuple(sorted(names))

    def remove(self, cluster: str) -> None:
        """Remove the containers of a cluster with their volumes, and the lab's network; what is gone is no error."""
        with _translated("what is left of the cluster cannot be removed"):
            for found in self._api.containers(all=True, filters={"label": f"{CLUSTER_LABEL}={cluster}"}):
                with contextlib.suppress(NotFound):
                    self._api.remove_container(found["Id"], v=True, force=True)
            for network in self._api.networks(filters={"label": f"{LAB_LABEL}={cluster}"}):
                with contextlib.suppress(NotFound):
                    self._api.remove_network(network["Id"])

    def network_of(self, cluster: str) -> str:
        """The name of the lab's network, whether it is there or not."""
        return f"lab-{cluster}"

    def make_network(self, cluster: str) -> str:
        """A network of the lab's own, so that clusters cannot reach one another; its name."""
        name = self.network_of(cluster)
        with _translated("the lab's network cannot be made"):
            self._api.create_network(name, driver="bridge", labels={LAB_LABEL: cluster}, check_duplicate=True)
        return name

    # --- images ----------------------------------------------------------------------------------------------------

    def image_id(self, reference: str) -> str | None:
        """The id of an image that Docker has; None when it would have to be pulled."""
        with _translated("the images cannot be read"):
            try:
                return str(self._api.inspect_image(reference)["Id"])  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None

    # --- commands --------------------------------------------------------------------------------------------------

    def run(
        self,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Run a command in a container, as root, in ``/root``.

        Raises:
            LabError: ``node-exec``: it cannot be run; ``node-exec-timeout``: it did not end in time, and was killed.
        """
        mark = f"{_MARK}={secrets.token_hex(8)}"
        with _translated(f"{argv[0]} cannot be run on the node", code="node-exec"):
            command = self._api.exec_create(
                container, list(argv), stdin=True, user="root", workdir="/root",
                environment=[f"{name}={value}" for name, value in (env or {}).items()] + [mark],
            )["Id"]  # fmt: skip
            stream: Any = self._api.exec_start(command, socket=True)
            try:
                # A socket object of our own: the library's can neither be shut down half-way nor have a time limit.
                with socket.socket(fileno=os.dup(stream.fileno())) as connection:
                    stdout, stderr = _converse(connection, stdin, deadline_s=time.monotonic() + timeout_s)
            except TimeoutError as error:
                self._end(container, mark)
                raise LabError(
                    "node-exec-timeout",
                    f"{' '.join(argv)} did not end within {timeout_s:g} s on the node and was killed",
                    hint="see whether it waits for something; lab status",
                ) from error
            finally:
                _close(stream)
            exit_code = self._exit_code(command)
        return ExecResult(
            argv=tuple(argv),
            exit_code=exit_code,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    def _exit_code(self, command: str) -> int:
        """Its exit code; Docker notes it a moment after the output has ended."""
        while (code := self._api.exec_inspect(command)["ExitCode"]) is None:
            time.sleep(0.01)
        return int(code)

    def _end(self, container: str, mark: str) -> None:
        """Kill every process of a command."""
        killer = self._api.exec_create(container, ["sh", "-c", _KILL_MARKED, "sh", mark], user="root")
        self._api.exec_start(killer["Id"])


def _converse(connection: socket.socket, stdin: bytes, *, deadline_s: float) -> tuple[bytes, bytes]:
    """Send the input, while the output is read to its end."""
    output: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray()}
    connection.settimeout(max(0.01, deadline_s - time.monotonic()))
    sender = threading.Thread(target=_send, args=(connection, stdin), daemon=True)
    sender.start()
    pending = bytearray()
    while True:
        connection.settimeout(max(0.01, deadline_s - time.monotonic()))
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        pending += chunk
        while len(pending) >= _HEADER.size:
            stream, length = _HEADER.unpack_from(pending)
            end = _HEADER.size + length
            if len(pending) < end:
                break
            output.setdefault(stream, bytearray()).extend(pending[_HEADER.size : end])
            del pending[:end]
    sender.join()
    return bytes(output[_STDOUT]), bytes(output[_STDERR])


def _close(stream: Any) -> None:
    """Close a stream of the library's, its response and the socket below it, which would be left to the garbage."""
    response, below = getattr(stream, "_response", None), getattr(stream, "_sock", None)
    for closable in (response, stream, below):
        if closable is not None:
            closable.close()


def _send(connection: socket.socket, stdin: bytes) -> None:
    # A command that does not read all of its input closes it; that is no fault of the conversation.
    with contextlib.suppress(OSError):
        connection.sendall(stdin)
        connection.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _translated(what: str, *, code: str = "docker-failed") -> Iterator[None]:
    """Errors of Docker as errors of the lab."""
    try:
        yield
    except APIError as error:
        raise LabError(
            code, f"{what}: {error.explanation or error}", hint="see lab status, and 'docker ps -a'"
        ) from error
    except TimeoutError:
        raise
    except (DockerException, OSError) as error:
        raise LabError(
            "docker-unreachable",
            f"{what}: Docker does not answer: {error}",
            hint="see whether Docker runs: 'docker info'",
        ) from error
