"""The kind backend as commands see it: makes, finds, enters and removes labs whose node is a container in Docker."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.shell_commands import ShellCommands
from lab.cluster.files_by_command import read_file, write_file
from lab.cluster.kind import api_server, followers, node_state, orphans
from lab.cluster.kind.layout import BACKEND, SHELL, KindLayout, KindSettings, cluster_name
from lab.cluster.kind.node_python import RUN
from lab.cluster.lab_directory import check_name, exclusive
from lab.cluster.protocol import (
    DEFAULT_STATE,
    Addon,
    ApiServerStatus,
    Capability,
    ClusterStatus,
    ExecResult,
    ImagePolicy,
    ProcessStatus,
    StartState,
)
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.kind.creation import Order
    from lab.cluster.kind.engine import Engine
    from lab.cluster.kind.node_state import NodeFile
    from lab.cluster.kind.objects import Objects
    from lab.paths import LabPaths

_BOOT_STATE = StartState(image_policy=ImagePolicy.OPEN)
"""The state in which the cluster definition boots."""
_FIRST_VERDICT_S = 120.0
_ROLLOUT_S = 120.0
_RESET_API_SERVER_S = 120.0
_POLL_S = 0.3
_FAILED_TWICE = 10.0
"""An API server that failed, with nothing to say how often, has failed for good after so many seconds."""
_ABSENT_IS_FINAL_S = 5.0
_BOUNCER = ("default", "image-bouncer-webhook")
_REMOVE_MOUNTED = "find /etc/kubernetes/pki /etc/kubernetes/admission -mindepth 1 -delete"
_CONTROL_PLANE = {"kube-controller": "kube-controller-manager"}
"""The kernel keeps fifteen letters of a program's name."""


class KindCluster:
    """One lab on kind; implements `Cluster`, `Snapshots` and `ImageLoading`.

    Args:
        name: the lab's name.
        paths: the lab's directories.
        bin_dir: a directory of the user's own binaries.
        definition: the cluster definition; None for the project's.
        connect: reaches Docker; asked once, when Docker is needed first.

    Raises:
        InputError: ``lab-name-invalid``.
    """

    backend = BACKEND
    capabilities = frozenset({Capability.NODE_FILES, Capability.AUDIT_LOG, Capability.REGISTRY, Capability.RUNS_IMAGES})

    def __init__(
        self,
        name: str,
        *,
        paths: LabPaths,
        bin_dir: Path | None = None,
        definition: Path | None = None,
        connect: Callable[[], Engine] | None = None,
    ) -> None:
        check_name(name)
        self.name = name
        self._paths = paths
        self._bin_dir = bin_dir
        self._definition = definition
        self._layout = KindLayout(root=paths.labs / name)
        self._cluster = cluster_name(name, paths.labs)
        self._connect = connect or _connect

    @functools.cached_property
    def _engine(self) -> Engine:
        return self._connect()

    # --- up and down -----------------------------------------------------------------------------------------------

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Bring the lab up; one that runs already is put into the state."""
        with self._exclusive(progress):
            if self._node_id() is not None and self._settings_or_none() is not None:
                self._put_back(state, progress=progress)
                return
            self._remove()
            try:
                self._make(state, progress=progress)
            except BaseException:
                kept = self._keep_logs()
                self._remove()
                if kept is not None:
                    progress(f"the logs of the failed start are kept in {kept}")
                raise

    def down(self) -> None:
        """Remove the containers, their volumes, the network and every file of the lab."""
        with self._exclusive(lambda _: None):
            self._remove()

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Put a start state back; returns when its first probe gives its verdict again."""
        with self._exclusive(progress):
            self._require_node()
            self._put_back(state, progress=progress)

    def load_images(self, images: Sequence[str], *, progress: Callable[[str], None]) -> None:
        """Make the images that run, and have the lab's registry serve them."""
        from lab.images.workloads import WorkloadImages  # noqa: PLC0415 - only some scenarios need it

        WorkloadImages(self._paths, bin_dir=self._bin_dir, progress=progress).ensure(images)

    def _make(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        from lab.cluster.kind import boot, creation, making  # noqa: PLC0415 - only a new lab needs them

        order = making.prepare(
            self._layout, name=self.name, state=state, cluster=self._cluster, paths=self._paths,
            bin_dir=self._bin_dir, definition=self._definition, engine=self._engine, progress=progress,
        )  # fmt: skip
        if boot.is_closed(state):
            self._make_closed(order, state, progress=progress)
            return
        creation.create(order, self._engine, progress=progress)
        self._prove(progress=progress)
        self._first_verdict(_BOOT_STATE)
        self._remember(_BOOT_STATE)
        self._converge(state, progress=progress)

    def _make_closed(self, order: Order, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Make a lab that is closed from its first request on, and deploy what decides there meanwhile."""
        from lab.cluster.kind import boot, creation  # noqa: PLC0415
        from lab.cluster.start_state import install_gatekeeper  # noqa: PLC0415

        bouncer = boot.BouncerDeployment(
            self, self._engine, node=self._node_id, kubeconfig=self._layout.root / "boot.kubeconfig"
        )
        bouncer.begin()
        try:
            creation.create(order, self._engine, progress=progress)
            self._prove(progress=progress)
            files = {path: file for path, file in node_state.read(self).items() if path != boot.STATIC_POD}
            progress("waiting for the image bouncer")
            bouncer.finish()
        except BaseException:
            bouncer.cancel()
            raise
        seen = self._objects(), files
        self._keep(_BOOT_STATE, *boot.without_bouncer(*seen))
        self._first_verdict(DEFAULT_STATE)
        if state != DEFAULT_STATE:
            progress("installing Gatekeeper")
            install_gatekeeper(self, Path(self._settings().gatekeeper_manifest))
            self._first_verdict(state)
            seen = self._objects(), node_state.read(self)
        self._keep(state, *seen)
        self._set_state(state)

    def _prove(self, *, progress: Callable[[str], None]) -> None:
        """Wait for the API server of a cluster that kind has made, and compare what runs with what was asked for."""
        from lab.cluster.definition import read_cluster_definition  # noqa: PLC0415 - needs pydantic
        from lab.cluster.kind import making  # noqa: PLC0415
        from lab.cluster.kind.proof import prove  # noqa: PLC0415

        self.wait_api_server(timeout_s=_RESET_API_SERVER_S)
        progress("comparing what runs with what the cluster definition asks for")
        definition = read_cluster_definition(Path(self._settings().definition))
        node = self._require_node()
        sight = api_server.look(self._engine, node)
        prove(
            definition,
            processes={process.name: process.argv for process in sight.processes},
            mounts=making.container_mounts(self._engine, node, sight),
            node=self._engine.inspect(node),
        )

    def _converge(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """From the state in which it booted to another, which is remembered."""
        if state != _BOOT_STATE:
            from lab.cluster.start_state import converge  # noqa: PLC0415

            self._load_addons(state, progress=progress)
            converge(self, state, gatekeeper_manifest=self._settings().gatekeeper_manifest, progress=progress)
            self._wait_addons(state)
            self._first_verdict(state)
            self._remember(state)
        self._set_state(state)

    def _load_addons(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        from lab.images.workloads import ADDON_IMAGES  # noqa: PLC0415

        self.load_images([image for addon in sorted(state.addons) for image in ADDON_IMAGES[addon]], progress=progress)

    # --- start states ----------------------------------------------------------------------------------------------

    def _put_back(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        self._set_state(None)
        known = self._baseline(state).is_dir()
        self._restore(state if known else _BOOT_STATE, progress=progress)
        if known:
            self._first_verdict(state)
            self._set_state(state)
        else:
            self._converge(state, progress=progress)

    def _restore(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Put back the files and objects of a state that is remembered."""
        from lab.cluster.kind import objects  # noqa: PLC0415 - needs aiohttp

        progress(f"putting state {state.key} back")
        self._restore_files(state)
        wanted = json.loads((self._baseline(state) / "objects.json").read_text())

        async def compare(api: ApiClient) -> objects.Difference:
            return await objects.compare(api, wanted)

        difference = self._ask(compare)
        pods_are_made = bool(difference.changed) or not self._addons_ready(state)
        if not pods_are_made and not difference.extra:
            return
        # Its Pods have to pass a policy that asks them, and the bouncer may have been told another one.
        closed = pods_are_made and state.image_policy is ImagePolicy.ENFORCED and bool(state.addons)
        if closed:
            self._open_policy()
        if pods_are_made and Addon.BOUNCER in state.addons:
            self._ask(lambda api: objects.take_away(api, *_BOUNCER, label=f"app={_BOUNCER[1]}"))
        self._ask(lambda api: objects.put_back(api, wanted))
        self._wait_addons(state)
        if closed:
            self._restore_files(state)
            self._wait_addons(state)

    def _restore_files(self, state: StartState) -> None:
        files = node_state.load(self._baseline(state) / "files.json")
        changed = node_state.put_back(self, files)
        # Another manifest makes the kubelet start another API server, which reads all files anew.
        if node_state.API_SERVER_MANIFEST not in changed and self._restart_is_due():
            self._restart_api_server()
        self.wait_api_server(timeout_s=_RESET_API_SERVER_S)

    def _open_policy(self) -> None:
        from lab.cluster.start_state import set_image_policy  # noqa: PLC0415

        set_image_policy(self, ImagePolicy.OPEN)

    def _restart_is_due(self) -> bool:
        """Whether the API server has read other files than those that are there: it reads them when it starts."""
        node = self._require_node()
        newest = self._engine.run(
            node, ("sh", "-c", f"stat -c %.Y {node_state.ADMISSION}/* /etc/hosts | sort -n | tail -1")
        )
        sight = api_server.look(self._engine, node)
        return any(process.began_s < float(newest.stdout or 0) for process in sight.api_servers)

    def _restart_api_server(self) -> None:
        sight = api_server.look(self._engine, self._require_node())
        self._kill(tuple(process.pid for process in sight.api_servers))

    def _kill(self, pids: Sequence[int]) -> None:
        if pids:
            self.node_exec(("sh", "-c", 'kill -KILL "$@" 2>/dev/null; exit 0', "sh", *map(str, pids)))

    def _gatekeeper_ready(self) -> bool:
        sight = api_server.look(self._engine, self._require_node())

        async def ready(api: ApiClient) -> bool:
            pods = (await api.get(followers.GATEKEEPER_PODS))["items"]
            return followers.are_ready(pods, since_s=max(process.began_s for process in sight.api_servers))

        return bool(sight.api_servers) and bool(self._ask(ready))

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
        return self.node_exec(argv, timeout_s=timeout_s + 30)

    def _remember(self, state: StartState) -> None:
        """Keep what a state looks like, for resets."""
        self._keep(state, self._objects(), node_state.read(self))

    def _objects(self) -> Objects:
        from lab.cluster.kind import objects  # noqa: PLC0415 - needs aiohttp

        found: Objects = self._ask(objects.read)
        return found

    def _keep(self, state: StartState, found: Objects, files: dict[str, NodeFile]) -> None:
        directory = self._baseline(state)
        node_state.save(files, directory / "files.json")
        (directory / "objects.json").touch(mode=0o600)
        (directory / "objects.json").write_text(json.dumps(found))

    def _baseline(self, state: StartState) -> Path:
        return self._layout.baselines / state.key

    def _first_verdict(self, state: StartState) -> None:
        from lab.cluster.first_probe import wait_first_verdict  # noqa: PLC0415

        async def wait(api: ApiClient) -> None:
            async def create(collection: str, body: dict[str, Any]) -> None:
                await api.create(collection, body, params={"dryRun": "All"})

            await wait_first_verdict(state, create, timeout_s=_FIRST_VERDICT_S)

        self._ask(wait)

    def _ask(self, question: Callable[[ApiClient], Awaitable[Any]]) -> Any:
        """Ask the API server something, from outside the node."""
        from lab.cluster.embedded.api_client import ApiClient  # noqa: PLC0415 - needs aiohttp

        async def ask() -> Any:
            async with ApiClient.from_kubeconfig(self._layout.kubeconfig, user_agent="lab") as api:
                return await question(api)

        return asyncio.run(ask())

    # --- what it is ------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        """The lab as it is now."""
        settings = self._settings_or_none()
        node = None if settings is None else self._node_id()
        if settings is None or node is None:
            notes = () if settings is None else ("its node does not run: 'lab down' removes what is left of it",)
            return ClusterStatus(
                name=self.name, backend=self.backend, phase="stopped", state="", server="",
                api_server=ApiServerStatus(state="absent"), notes=notes,
            )  # fmt: skip
        api = self._describe()
        phases = {"running": "running", "starting": "starting"}
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase=phases.get(api.state, "broken"),
            state=settings.state,
            server=self._server(),
            api_server=api,
            processes=self._processes(node),
        )

    def kubeconfig(self) -> Path:
        """A kubeconfig with cluster-admin rights for use outside the node."""
        self._require_node()
        return self._layout.kubeconfig

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        """Wait until the API server runs what its manifest says and answers."""
        began_s = time.monotonic()
        while (status := self._describe(hurry=True)).state != "running":
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
        self._wake_followers()
        return status

    def _wake_followers(self) -> None:
        """Have the rest of the node hear of an API server that has come in another's place, once for each."""
        running = str(json.loads(self._layout.api_server_file.read_text())["process"])
        file = self._layout.followed_file
        followed = file.read_text() if file.exists() else ""
        if followed == running:
            return
        if followed:
            followers.wake(self._engine, self._require_node())
        file.write_text(running)

    def _describe(self, *, hurry: bool = False) -> ApiServerStatus:
        """The API server as it is now.

        Args:
            hurry: end an API server of an earlier manifest now, which the kubelet would give half a minute.
        """
        sight = api_server.look(self._engine, self._require_node())
        known = self._known_meaning(sight)
        if hurry and (outlived := api_server.outlived(sight, known=known)):
            self._kill(outlived)
            self.node_exec(followers.RESTART_KUBELET)
        status = api_server.describe(sight, answers=bool(sight.api_servers) and self._answers(), known=known)
        if status.state == "running" and sight.manifest is not None and not known:
            record = {"process": _identity(sight), "meaning": api_server.meaning(sight.manifest)}
            self._layout.api_server_file.write_text(json.dumps(record))
        return status

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
            return bool(self._ask(ready) == "ok")
        except LabError:
            return False

    def _server(self) -> str:
        import yaml  # noqa: PLC0415

        if not self._layout.kubeconfig.exists():
            return ""
        return str(yaml.safe_load(self._layout.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])

    def _processes(self, node: str) -> tuple[ProcessStatus, ...]:
        from lab.cluster.embedded.processes import pss_bytes  # noqa: PLC0415

        return tuple(
            ProcessStatus(name=_CONTROL_PLANE.get(name, name), pid=pid, pss_bytes=pss_bytes(pid))
            for pid, name in self._engine.processes(node).items()
        )

    # --- the node --------------------------------------------------------------------------------------------------

    def node_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Run a command on the node."""
        return self._engine.run(self._require_node(), argv, stdin=stdin, env=env, timeout_s=timeout_s)

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        """Run a command, or a shell, on the node with the caller's terminal, by ``docker exec``."""
        node = self._require_node()
        terminal = ("-t",) if os.isatty(0) else ()
        names = {"LAB_NAME": self.name, "LAB_BACKEND": self.backend}
        with ShellCommands(self._layout.run, environment=names, seen_as=RUN) as commands:
            variables = [f"--env={name}={value}" for name, value in commands.shell_environment.items()]
            shell = ("docker", "exec", "-i", *terminal, *variables, "-u", "root", "-w", "/root", node)
            try:
                return subprocess.run((*shell, *(argv or SHELL)), check=False).returncode
            except OSError as error:
                raise LabError(
                    "docker-missing", f"docker cannot be run: {error}", hint="install Docker's command-line program"
                ) from error

    def read_node_file(self, path: str) -> bytes | None:
        """A file of the node; None when there is none."""
        return read_file(self, path)

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the node in one step."""
        write_file(self, path, content, mode=mode)

    def collect_logs(self, destination: Path) -> None:
        """Copy every log below a directory."""
        destination.mkdir(parents=True, exist_ok=True)
        if self._layout.logs.is_dir():
            shutil.copytree(self._layout.logs, destination / "lab", dirs_exist_ok=True)
        node = self._node_id()
        if node is None:
            return
        from lab.cluster.kind import node_logs  # noqa: PLC0415

        node_logs.copy(self._engine, node, destination)

    # --- bookkeeping -----------------------------------------------------------------------------------------------

    def _node_id(self) -> str | None:
        return self._engine.node_id(self._cluster)

    def _require_node(self) -> str:
        node = self._node_id()
        if node is None:
            raise LabError(
                "lab-not-running", f"the lab {self.name} does not run", hint=f"lab up --backend kind --name {self.name}"
            )
        return node

    def _settings(self) -> KindSettings:
        return KindSettings.load(self._layout.settings_file)

    def _settings_or_none(self) -> KindSettings | None:
        try:
            return self._settings()
        except FileNotFoundError:
            return None

    def _set_state(self, state: StartState | None) -> None:
        from dataclasses import replace  # noqa: PLC0415

        replace(self._settings(), state="" if state is None else state.key).save(self._layout.settings_file)

    def _remove(self) -> None:
        node = None if os.geteuid() == 0 else self._node_id()
        if node is not None:
            # Written by the node's root below our directory; only it may remove them.
            with contextlib.suppress(LabError):
                self._engine.run(node, ("sh", "-c", _REMOVE_MOUNTED))
        orphans.remove(self._cluster, self._engine)
        try:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._layout.root)
        except OSError as error:
            raise LabError(
                "lab-files-left",
                f"the lab's files cannot be removed: {error}",
                hint=f"the node wrote them as root: sudo rm -r {self._layout.root}",
            ) from error

    def _keep_logs(self) -> Path | None:
        """Copy what a failed start has logged out of the directory and the container that are about to go."""
        if not self._layout.logs.is_dir():
            return None
        kept = self._paths.state / "failed" / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        with contextlib.suppress(LabError):  # whatever Docker says now, the first error is the one to tell
            self.collect_logs(kept)
        return kept

    def _exclusive(self, progress: Callable[[str], None]) -> AbstractContextManager[None]:
        """Let one command at a time change this lab."""
        return exclusive(self._layout.root, progress)


def _connect() -> Engine:
    from lab.cluster.kind.engine import Engine  # noqa: PLC0415 - the docker package takes a while

    return Engine.connect()


def _identity(sight: api_server.Sight) -> str:
    """Names the newest API server among all that there ever were."""
    newest = max(sight.api_servers, key=lambda process: process.began_s)
    return f"{newest.pid} {newest.ticks}"


def _failed_for_good(status: ApiServerStatus, waited_s: float) -> bool:
    if status.state == "absent":
        return waited_s > _ABSENT_IS_FINAL_S
    return status.state == "failed" and (status.restarts > 0 or waited_s > _FAILED_TWICE)


def _deployments(state: StartState) -> Iterator[tuple[str, str]]:
    if Addon.BOUNCER in state.addons:
        yield _BOUNCER
    if Addon.GATEKEEPER in state.addons:
        yield "gatekeeper-system", "gatekeeper-controller-manager"
        yield "gatekeeper-system", "gatekeeper-audit"
