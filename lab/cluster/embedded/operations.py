"""What a command can ask of a running supervisor; see `control` for how."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded import api_server
from lab.cluster.embedded.addresses import PLAYED_POD_CIDR
from lab.cluster.embedded.bootstrap import Bootstrap, kubeadm_failed
from lab.cluster.embedded.node_services import run_to_end
from lab.cluster.first_probe import wait_first_verdict
from lab.cluster.protocol import ApiServerStatus, StartState
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.children import Children
    from lab.cluster.embedded.control_server import Operation
    from lab.cluster.embedded.layout import LabSettings
    from lab.cluster.embedded.node import Node

_POLL_S = 0.02
_COMMAND_TIMEOUT_S = 120.0
_ABSENT_IS_FINAL_S = 2.0
WHOLE = frozenset({"freeze", "thaw"})
"""What must not end halfway: when its caller hangs up it goes on, and the next change waits for it."""


class Operations:
    """The operations of one supervisor.

    Args:
        node: the node.
        children: its processes.
        settings: what the lab is made of.
        stop: ends the supervisor.
    """

    def __init__(self, node: Node, *, children: Children, settings: LabSettings, stop: Callable[[], None]) -> None:
        self._node = node
        self._children = children
        self._settings = settings
        self._stop = stop
        self._changing = asyncio.Lock()

    def table(self) -> Mapping[str, Operation]:
        """Name to operation."""
        return {
            "status": self.status,
            "bootstrap": self.bootstrap,
            "wait-api-server": self.wait_api_server,
            "wait-first-verdict": self.wait_first_verdict,
            "freeze": self.freeze,
            "thaw": self.thaw,
            "checkpoint": self.checkpoint,
            "rewind": self.rewind,
            "stop": self.stop,
        }

    async def status(self, _: Mapping[str, Any], __: Callable[[str], None]) -> dict[str, Any]:
        """The node as it is now."""
        return {
            "frozen": self._node.frozen,
            "api_server": _as_json(await self._describe()),
            "processes": {str(pid): name for pid, name in self._node.processes().items()},
            "notes": self._notes(),
        }

    async def bootstrap(self, _: Mapping[str, Any], progress: Callable[[str], None]) -> None:
        """Make the cluster with kubeadm."""
        await Bootstrap(
            run=self._run,
            api=self._admin,
            node_name=self._settings.node_name,
            pod_cidr=PLAYED_POD_CIDR,
            progress=progress,
        ).perform()

    async def wait_api_server(self, arguments: Mapping[str, Any], _: Callable[[str], None]) -> dict[str, Any]:
        """Wait until the API server runs what its manifest says, or has failed for good."""
        timeout_s = float(arguments["timeout_s"])
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while (status := await self._describe()).state != "running":
            waited_s = loop.time() - begun
            if self._failed_for_good(status, waited_s):
                raise LabError(
                    "apiserver-failed",
                    f"kube-apiserver does not start: {status.error or 'its manifest is missing'}",
                    hint="mend /etc/kubernetes/manifests/kube-apiserver.yaml on the node, or lab reset",
                    context=dict.fromkeys(self._notes(), ""),
                )
            if waited_s > timeout_s:
                raise WaitError(
                    what="kube-apiserver to answer under the flags of its manifest",
                    timeout_s=timeout_s,
                    last_seen=f"state {status.state} {status.error}".strip(),
                    hint="see lab logs kube-apiserver",
                )
            await asyncio.sleep(_POLL_S)
        return _as_json(status)

    async def wait_first_verdict(self, arguments: Mapping[str, Any], _: Callable[[str], None]) -> None:
        """Wait until the first probes of a start state give their verdicts."""

        async def create(collection: str, body: dict[str, Any]) -> None:
            if not self._node.link.listening:
                raise LabError(
                    "api-unavailable", "the API server does not listen yet", hint="see lab logs kube-apiserver"
                )
            await self._node.link.person.create(collection, body, params={"dryRun": "All"})

        state = StartState.from_key(arguments["state"])
        await wait_first_verdict(state, create, timeout_s=float(arguments["timeout_s"]))

    async def freeze(self, arguments: Mapping[str, Any], _: Callable[[str], None]) -> None:
        """Stop everything of the cluster, so that its files can be copied or put back."""
        async with self._changing:
            await self._node.freeze(for_template=bool(arguments.get("for_template")))

    async def thaw(self, _: Mapping[str, Any], __: Callable[[str], None]) -> None:
        """Start the cluster again."""
        async with self._changing:
            if self._node.frozen:
                await self._node.thaw()

    async def checkpoint(self, arguments: Mapping[str, Any], _: Callable[[str], None]) -> None:
        """Remember the cluster as it is."""
        patience_s = float(arguments["patience_s"])
        async with self._changing:
            await self._node.checkpoints.take(arguments["label"], arguments["kept"], patience_s=patience_s)

    async def rewind(self, arguments: Mapping[str, Any], _: Callable[[str], None]) -> Any:
        """Go back to what was remembered; None when that cannot be done without stopping the cluster."""
        async with self._changing:
            return await self._node.checkpoints.rewind(arguments["label"])

    async def stop(self, _: Mapping[str, Any], __: Callable[[str], None]) -> None:
        """End the supervisor, and with it everything in the lab."""
        self._stop()

    def _admin(self) -> ApiClient:
        """The administrator's client, made when kubeadm has written its kubeconfig."""
        self._node.connect()
        return self._node.link.admin

    async def _describe(self) -> ApiServerStatus:
        return api_server.describe(self._node.static_pods, answers=await self._node.answers())

    def _failed_for_good(self, status: ApiServerStatus, waited_s: float) -> bool:
        if not self._node.static_pods.settled:
            return False
        if status.state == "absent":
            return waited_s > _ABSENT_IS_FINAL_S
        return status.state == "failed" and status.restarts > 0

    def _notes(self) -> list[str]:
        static = self._node.static_pods
        notes = [f"{name} is no static pod: {problem}" for name, problem in static.manifests.problems.items()]
        notes += [
            f"{pod.file} waits: a static pod of the same name runs from another file; take the copy out of"
            " /etc/kubernetes/manifests, or it takes over at the next edit"
            for pod in static.waiting()
        ]
        running = static.pod(api_server.COMPONENT)
        if running is not None and running.file != "kube-apiserver.yaml":
            notes.append(f"kube-apiserver runs from {running.file}, not from kube-apiserver.yaml")
        if self._node.frozen:
            notes.append("the cluster is stopped for a reset that did not finish: run lab reset")
        return notes

    async def _run(self, name: str, argv: tuple[str, ...]) -> str:
        log = self._node.log_directory / f"{name}.log"
        code, output = await run_to_end(name, argv, children=self._children, log=log, timeout_s=_COMMAND_TIMEOUT_S)
        if code != 0:
            raise kubeadm_failed(argv, exit_code=code, output=output)
        return output


def _as_json(status: ApiServerStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "flags": list(status.flags),
        "error": status.error,
        "restarts": status.restarts,
    }
