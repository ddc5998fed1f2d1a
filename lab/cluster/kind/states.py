"""The start states of a lab on kind: how one is made of what booted, remembered, and put back without a new cluster."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from lab.cluster.kind import followers, node_state
from lab.cluster.protocol import Addon, Cluster, ImageLoading, ImagePolicy, StartState
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.kind.layout import KindSettings
    from lab.cluster.kind.node_api_server import NodeApiServer
    from lab.cluster.kind.node_state import NodeFile
    from lab.cluster.kind.objects import Objects
    from lab.cluster.protocol import ExecResult

BOOT_STATE = StartState(image_policy=ImagePolicy.OPEN)
"""The state in which the cluster definition boots."""
API_SERVER_S = 120.0
"""Longest time for the API server to answer under another manifest, in seconds."""
_FIRST_VERDICT_S = 120.0
_ROLLOUT_S = 120.0
_POLL_S = 0.3
_BOUNCER = ("default", "image-bouncer-webhook")


class Lab(Cluster, ImageLoading, Protocol):
    """What states are made on."""


class StartStates:
    """The start states of one lab.

    Args:
        lab: the lab.
        api: its API server.
        baselines: where the remembered states are kept.
        settings: reads what the lab is made of.
        note: writes down the state that the lab is in; None while it is in none.
    """

    def __init__(
        self,
        lab: Lab,
        *,
        api: NodeApiServer,
        baselines: Path,
        settings: Callable[[], KindSettings],
        note: Callable[[StartState | None], None],
    ) -> None:
        self._lab = lab
        self._api = api
        self._baselines = baselines
        self._settings = settings
        self._note = note

    def put_back(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Put a state back; one that the lab has never been in is made from the one that booted."""
        self._note(None)
        known = self._baseline(state).is_dir()
        self._restore(state if known else BOOT_STATE, progress=progress)
        if known:
            self.first_verdict(state)
            self._note(state)
        else:
            self.converge(state, progress=progress)

    def converge(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """From the state in which it booted to another, which is remembered."""
        if state != BOOT_STATE:
            from lab.cluster.start_state import converge  # noqa: PLC0415

            self._load_addons(state, progress=progress)
            converge(self._lab, state, gatekeeper_manifest=self._settings().gatekeeper_manifest, progress=progress)
            self._wait_addons(state)
            self.first_verdict(state)
            self.remember(state)
        self._note(state)

    def first_verdict(self, state: StartState) -> None:
        """Wait until the first probes of a state give their verdicts."""
        from lab.cluster.first_probe import wait_first_verdict  # noqa: PLC0415

        async def wait(api: ApiClient) -> None:
            async def create(collection: str, body: dict[str, Any]) -> None:
                await api.create(collection, body, params={"dryRun": "All"})

            await wait_first_verdict(state, create, timeout_s=_FIRST_VERDICT_S)

        self._api.ask(wait)

    def remember(self, state: StartState) -> None:
        """Keep what a state looks like, for resets."""
        self.keep(state, self.objects(), node_state.read(self._lab))

    def keep(self, state: StartState, found: Objects, files: dict[str, NodeFile]) -> None:
        """Keep what was found of a state, for resets."""
        directory = self._baseline(state)
        node_state.save(files, directory / "files.json")
        (directory / "objects.json").touch(mode=0o600)
        (directory / "objects.json").write_text(json.dumps(found))

    def objects(self) -> Objects:
        """The objects that there are now, as far as a reset puts them back."""
        from lab.cluster.kind import objects  # noqa: PLC0415 - needs aiohttp

        found: Objects = self._api.ask(objects.read)
        return found

    def _restore(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Put back the files and objects of a state that is remembered."""
        from lab.cluster.kind import objects  # noqa: PLC0415 - needs aiohttp

        progress(f"putting state {state.key} back")
        self._restore_files(state)
        wanted = json.loads((self._baseline(state) / "objects.json").read_text())

        async def compare(api: ApiClient) -> objects.Difference:
            return await objects.compare(api, wanted)

        difference = self._api.ask(compare)
        pods_are_made = bool(difference.changed) or not self._addons_ready(state)
        if not pods_are_made and not difference.extra:
            return
        # Its Pods have to pass a policy that asks them, and the bouncer may have been told another one.
        closed = pods_are_made and state.image_policy is ImagePolicy.ENFORCED and bool(state.addons)
        if closed:
            self._open_policy()
        if pods_are_made and Addon.BOUNCER in state.addons:
            self._api.ask(lambda api: objects.take_away(api, *_BOUNCER, label=f"app={_BOUNCER[1]}"))
        self._api.ask(lambda api: objects.put_back(api, wanted))
        self._wait_addons(state)
        if closed:
            self._restore_files(state)
            self._wait_addons(state)

    def _restore_files(self, state: StartState) -> None:
        files = node_state.load(self._baseline(state) / "files.json")
        changed = node_state.put_back(self._lab, files)
        # Another manifest makes the kubelet start another API server, which reads all files anew.
        if node_state.API_SERVER_MANIFEST not in changed and self._api.restart_is_due():
            self._api.restart()
        self._lab.wait_api_server(timeout_s=API_SERVER_S)

    def _open_policy(self) -> None:
        from lab.cluster.start_state import set_image_policy  # noqa: PLC0415

        set_image_policy(self._lab, ImagePolicy.OPEN)

    def _load_addons(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        from lab.images.workloads import ADDON_IMAGES  # noqa: PLC0415

        self._lab.load_images(
            [image for addon in sorted(state.addons) for image in ADDON_IMAGES[addon]], progress=progress
        )

    def _gatekeeper_ready(self) -> bool:
        sight = self._api.sight()

        async def ready(api: ApiClient) -> bool:
            pods = (await api.get(followers.GATEKEEPER_PODS))["items"]
            return followers.are_ready(pods, since_s=max(process.began_s for process in sight.api_servers))

        return bool(sight.api_servers) and bool(self._api.ask(ready))

    def _addons_ready(self, state: StartState) -> bool:
        deployed = all(
            self._rollout(namespace, name, timeout_s=1).exit_code == 0 for namespace, name in _deployments(state)
        )
        return deployed and (Addon.GATEKEEPER not in state.addons or self._gatekeeper_ready())

    def _wait_addons(self, state: StartState) -> None:
        for namespace, name in _deployments(state):
            result = self._rollout(namespace, name, timeout_s=_ROLLOUT_S)
            if result.exit_code != 0:
                raise LabError(
                    "start-state-failed",
                    f"the Deployment {namespace}/{name} does not come back",
                    hint="see lab status and lab logs; lab down and lab up make it afresh",
                    context={"output": (result.stderr or result.stdout).strip()},
                )
        began_s = time.monotonic()
        while Addon.GATEKEEPER in state.addons and not self._gatekeeper_ready():
            if time.monotonic() - began_s > _ROLLOUT_S:
                raise WaitError(
                    what="Gatekeeper to watch the API server that runs now",
                    timeout_s=_ROLLOUT_S,
                    last_seen="not every one of its Pods is ready in a new container",
                    hint="see lab status and lab logs; lab down and lab up make it afresh",
                )
            time.sleep(_POLL_S)

    def _rollout(self, namespace: str, name: str, *, timeout_s: float) -> ExecResult:
        argv = ("kubectl", "rollout", "status", f"deployment/{name}", "-n", namespace, f"--timeout={timeout_s:g}s")
        return self._lab.node_exec(argv, timeout_s=timeout_s + 30)

    def _baseline(self, state: StartState) -> Path:
        return self._baselines / state.key


def _deployments(state: StartState) -> Iterator[tuple[str, str]]:
    if Addon.BOUNCER in state.addons:
        yield _BOUNCER
    if Addon.GATEKEEPER in state.addons:
        yield "gatekeeper-system", "gatekeeper-controller-manager"
        yield "gatekeeper-system", "gatekeeper-audit"
