"""The API server of a lab on kind: what it does, how it is waited for, and how it is asked from outside the node."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from lab.cluster.kind import api_server, followers, node_state
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.kind.engine import Engine
    from lab.cluster.kind.layout import KindLayout
    from lab.cluster.protocol import ApiServerStatus

_POLL_S = 0.3
_FAILED_TWICE = 10.0
"""An API server that failed, with nothing to say how often, has failed for good after so many seconds."""
_ABSENT_IS_FINAL_S = 5.0
_KUBELET_S = 60.0
_KUBELET_POLL_S = 0.1


class NodeApiServer:
    """The API server on the node of one lab.

    Args:
        engine: gives Docker, which is reached when it is needed first.
        node: finds the node, which must run.
        layout: the lab's directory.
    """

    def __init__(self, engine: Callable[[], Engine], *, node: Callable[[], str], layout: KindLayout) -> None:
        self._find_engine = engine
        self._node = node
        self._layout = layout

    @property
    def _engine(self) -> Engine:
        return self._find_engine()

    def sight(self) -> api_server.Sight:
        """What the node shows of it now."""
        return api_server.look(self._engine, self._node())

    def wait(self, *, timeout_s: float, sight: api_server.Sight | None = None) -> ApiServerStatus:
        """Wait until the API server runs what its manifest says and answers.

        Args:
            timeout_s: longest time, in seconds.
            sight: what the node has shown of it a moment ago, where it has been looked at; else it is looked at first.
        """
        began_s = time.monotonic()
        status = self.describe(hurry=True, sight=sight)
        while status.state != "running":
            waited_s = time.monotonic() - began_s
            if _failed_for_good(status, waited_s):
                raise LabError(
                    "apiserver-failed",
                    f"kube-apiserver does not start: {status.error or 'its manifest is missing'}",
                    hint="mend /etc/kubernetes/manifests/kube-apiserver.yaml on the node, or lab reset",
                )
            if waited_s > timeout_s:
                raise WaitError(
                    what="kube-apiserver to answer under the flags of its manifest",
                    timeout_s=timeout_s,
                    last_seen=f"state {status.state} {status.error}".strip(),
                    hint="see lab logs kube-apiserver",
                )
            time.sleep(_POLL_S)
            status = self.describe(hurry=True)
        self._wake_followers()
        return status

    def describe(self, *, hurry: bool = False, sight: api_server.Sight | None = None) -> ApiServerStatus:
        """The API server as it is now.

        Args:
            hurry: end an API server of an earlier manifest now, which the kubelet would give half a minute; start the
                kubelet anew where it would wait for ever.
            sight: what the node has shown of it a moment ago; None to look.
        """
        sight = sight or self.sight()
        known = self._known_meaning(sight)
        if hurry and (outlived := api_server.outlived(sight, known=known)):
            self._kill(outlived)
            self._engine.run(self._node(), followers.RESTART_KUBELET)
        elif hurry and api_server.is_forgotten(sight):
            self._engine.run(self._node(), followers.RESTART_KUBELET)
            sight = self.sight()
        status = api_server.describe(sight, answers=bool(sight.api_servers) and self._answers(), known=known)
        if status.state == "running" and sight.manifest is not None and not known:
            record = {"process": _identity(sight), "meaning": api_server.meaning(sight.manifest)}
            self._layout.api_server_file.write_text(json.dumps(record))
        return status

    def ask(self, question: Callable[[ApiClient], Awaitable[Any]]) -> Any:
        """Ask the API server something, from outside the node."""
        from lab.cluster.embedded.api_client import ApiClient  # noqa: PLC0415 - needs aiohttp

        async def ask() -> Any:
            async with ApiClient.from_kubeconfig(self._layout.kubeconfig, user_agent="lab") as api:
                return await question(api)

        return asyncio.run(ask())

    def server(self) -> str:
        """Where it answers outside the node; empty while nobody can tell."""
        import yaml  # noqa: PLC0415

        if not self._layout.kubeconfig.exists():
            return ""
        return str(yaml.safe_load(self._layout.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])

    def restart_is_due(self) -> bool:
        """Whether the API server has read other files than those that are there: it reads them when it starts."""
        node = self._node()
        newest = self._engine.run(
            node, ("sh", "-c", f"stat -c %.Y {node_state.ADMISSION}/* /etc/hosts | sort -n | tail -1")
        )
        sight = self.sight()
        return any(process.began_s < float(newest.stdout or 0) for process in sight.api_servers)

    def restart(self) -> None:
        """End it; the kubelet starts another one."""
        sight = self.sight()
        self._kill(tuple(process.pid for process in sight.api_servers))

    def _wake_followers(self) -> None:
        """Have the rest of the node hear of an API server that has come in another's place, once for each."""
        running = str(json.loads(self._layout.api_server_file.read_text())["process"])
        file = self._layout.followed_file
        followed = file.read_text() if file.exists() else ""
        if followed == running:
            return
        if followed:
            followers.wake(self._engine, self._node())
            self._wait_kubelet()
        file.write_text(running)

    def _wait_kubelet(self) -> None:
        """Wait until a kubelet that was started anew does what manifests say from now on."""
        began_s = time.monotonic()
        while not self._kubelet_hears():
            if time.monotonic() - began_s > _KUBELET_S:
                raise LabError(
                    "followers-asleep",
                    "the kubelet was started anew and does not hear from the API server",
                    hint="see lab logs kubelet; lab down and lab up make the lab afresh",
                )
            time.sleep(_KUBELET_POLL_S)

    def _kubelet_hears(self) -> bool:
        try:
            return bool(self.ask(followers.kubelet_hears))
        except LabError:
            return False  # it does not listen yet

    def _known_meaning(self, sight: api_server.Sight) -> str:
        """What the manifest said that the running API server was started for; empty when nobody has seen it start."""
        try:
            record = json.loads(self._layout.api_server_file.read_text())
        except (FileNotFoundError, ValueError):
            return ""
        return str(record["meaning"]) if sight.api_servers and record["process"] == _identity(sight) else ""

    def _answers(self) -> bool:
        async def ready(api: ApiClient) -> str:
            return await api.get_text("/readyz")

        if not self._layout.kubeconfig.exists():
            return False
        try:
            return bool(self.ask(ready) == "ok")
        except LabError:
            return False

    def _kill(self, pids: Sequence[int]) -> None:
        if pids:
            self._engine.run(self._node(), ("sh", "-c", 'kill -KILL "$@" 2>/dev/null; exit 0', "sh", *map(str, pids)))


def _identity(sight: api_server.Sight) -> str:
    """Names the newest API server among all that there ever were."""
    newest = max(sight.api_servers, key=lambda process: process.began_s)
    return f"{newest.pid} {newest.ticks}"


def _failed_for_good(status: ApiServerStatus, waited_s: float) -> bool:
    if status.state == "absent":
        return waited_s > _ABSENT_IS_FINAL_S
    return status.state == "failed" and (status.restarts > 0 or waited_s > _FAILED_TWICE)
