"""A backend of no processes, for sessions that pytester starts: loaded there with ``-p fake_backend``.

Everything that is asked of a lab is a line in the file ``labs.log`` of the session's root directory, shared by all
workers. A lab's life is a file below ``labs/``, so that a test sees what is left over.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from lab.cluster.protocol import ApiServerStatus, Capability, ClusterStatus, ExecResult
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lab.cluster.protocol import StartState

_RESOURCES = {
    "/api/v1": [("Pod", "pods", True), ("Namespace", "namespaces", False), ("ConfigMap", "configmaps", True)],
    "/apis/admissionregistration.k8s.io/v1": [
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False),
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    ],
}
_DENIAL = 'pods "{name}" is forbidden: image policy webhook backend denied one or more images: {image} is not trusted'


class FakeCluster:
    """A lab that only tells what was asked of it."""

    backend = "fake"
    capabilities = frozenset({Capability.NODE_FILES})

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._root = root
        self._life = root / "labs" / name
        self._answer = ""

    def log(self, what: str) -> None:
        with (self._root / "labs.log").open("a") as file:
            file.write(f"{self.name} {what}\n")

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        self.log(f"up {state.key}")
        progress("a line of progress")
        if (self._root / "broken").exists():
            raise LabError("lab-broken", "the lab cannot start", hint="use a whole one", context={"log": "all of it"})
        self._life.parent.mkdir(exist_ok=True)
        self._life.write_text(state.key)
        if (self._root / "slow").exists():
            (self._root / "slow").unlink()
            time.sleep(60)

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        self.log(f"reset {state.key}")
        progress("a line of progress")
        self._life.write_text(state.key)
        self._answer = ""

    def down(self) -> None:
        self.log("down")
        self._life.unlink(missing_ok=True)

    def status(self) -> ClusterStatus:
        alive = self._life.exists()
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase="running" if alive else "stopped",
            state=self._life.read_text() if alive else "",
            server="",
            api_server=ApiServerStatus(state="running", flags=("--enable-admission-plugins=NodeRestriction",)),
        )

    def kubeconfig(self) -> Path:
        return self._life

    def node_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Two commands: ``answer WORD`` remembers a word, ``cat answer`` prints it; ``broken`` cannot run."""
        del stdin, env, timeout_s
        if "broken" in argv[-1]:
            raise LabError("node-gone", "the node cannot be entered", hint="start it")
        if argv[-1].startswith("answer "):
            self._answer = argv[-1].split()[1]
        return ExecResult(argv=tuple(argv), exit_code=0, stdout=self._answer, stderr="")

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        raise NotImplementedError(argv)

    def read_node_file(self, path: str) -> bytes | None:
        raise NotImplementedError(path)

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        raise NotImplementedError(path, content, mode)

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        del timeout_s
        return self.status().api_server

    def collect_logs(self, destination: Path) -> None:
        destination.mkdir(parents=True)
        (destination / "fake.log").write_text("what the lab says\n")


class FakeTransport:
    """An API server that denies Pods with images from anywhere but docker.io, and stores nothing."""

    def __init__(self, kubeconfig: Path) -> None:
        self._name = kubeconfig.name
        self._root = kubeconfig.parent.parent

    def send(self, request: Any) -> Any:
        from lab.scenario.api import Response  # noqa: PLC0415 - as late as the plugin itself imports it

        path = request.path.partition("?")[0]
        if request.method != "GET":
            with (self._root / "labs.log").open("a") as file:
                file.write(f"{self._name} {request.method} {path}\n")
        if path in _RESOURCES:
            resources = [{"kind": kind, "name": name, "namespaced": ns} for kind, name, ns in _RESOURCES[path]]
            return Response(status=200, text=json.dumps({"resources": resources}))
        if request.method == "POST" and path.endswith("/pods"):
            image = request.body["spec"]["containers"][0]["image"]
            if not image.startswith("docker.io/"):
                message = _DENIAL.format(name=request.body["metadata"]["name"], image=image)
                return Response(status=403, text=json.dumps({"reason": "Forbidden", "message": message}))
        return Response(status=200, text="{}")


_PATCH = pytest.MonkeyPatch()


def pytest_configure(config: pytest.Config) -> None:
    # As late as the plugin itself imports them.
    from lab.cluster import backends  # noqa: PLC0415
    from lab.scenario.api import KubeconfigTransport  # noqa: PLC0415

    root = config.rootpath
    _PATCH.setattr(backends, "open_cluster", lambda name, **_options: FakeCluster(name, root))
    _PATCH.setattr(KubeconfigTransport, "__init__", FakeTransport.__init__)
    _PATCH.setattr(KubeconfigTransport, "send", FakeTransport.send)
    _PATCH.setenv("LAB_HOME", str(root / "home"))
    if getattr(config, "workerinput", None) is None:
        (root / "pytest.pid").write_text(str(os.getpid()))


def pytest_unconfigure() -> None:
    _PATCH.undo()
