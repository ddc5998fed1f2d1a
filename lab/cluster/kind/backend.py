"""The kind backend as commands see it: makes, finds, enters and removes labs whose node is a container in Docker."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cluster.embedded.shell_commands import ShellCommands
from lab.cluster.files_by_command import read_file, write_file
from lab.cluster.kind import node_state, orphans, states
from lab.cluster.kind.layout import BACKEND, SHELL, KindLayout, KindSettings, cluster_name
from lab.cluster.kind.node_api_server import NodeApiServer
from lab.cluster.kind.node_python import RUN
from lab.cluster.lab_directory import check_name, exclusive
from lab.cluster.protocol import (
    DEFAULT_STATE,
    ApiServerStatus,
    Capability,
    ClusterStatus,
    ExecResult,
    ProcessStatus,
    StartState,
)
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from lab.cluster.kind.api_server import Sight
    from lab.cluster.kind.creation import Order
    from lab.cluster.kind.engine import Engine
    from lab.paths import LabPaths

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
        self._api = NodeApiServer(lambda: self._engine, node=self._require_node, layout=self._layout)
        self._states = states.StartStates(
            self, api=self._api, baselines=self._layout.baselines, settings=self._settings, note=self._set_state
        )

    @functools.cached_property
    def _engine(self) -> Engine:
        return self._connect()

    # --- up and down -----------------------------------------------------------------------------------------------

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Bring the lab up; one that runs already is put into the state."""
        with self._exclusive(progress):
            if self._node_id() is not None and self._settings_or_none() is not None:
                self._states.put_back(state, progress=progress)
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
            self._states.put_back(state, progress=progress)

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
        self._api.wait(timeout_s=states.API_SERVER_S, sight=self._prove(progress=progress))
        self._states.first_verdict(states.BOOT_STATE)
        self._states.remember(states.BOOT_STATE)
        self._states.converge(state, progress=progress)

    def _make_closed(self, order: Order, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Make a lab that is closed from its first request on, and deploy what decides there meanwhile."""
        from lab.cluster.kind import boot, creation  # noqa: PLC0415
        from lab.cluster.start_state import install_gatekeeper  # noqa: PLC0415

        bouncer = boot.BouncerDeployment(self, self._engine, node=self._node_id, root=self._layout.root)
        bouncer.begin()
        try:
            creation.create(order, self._engine, progress=progress, kubeadm_ended=bouncer.kubeadm_ended)
            self._api.wait(timeout_s=states.API_SERVER_S, sight=self._prove(progress=progress))
            progress("waiting for the image bouncer")
            bouncer.finish()
        except BaseException:
            bouncer.cancel()
            raise
        with ThreadPoolExecutor(max_workers=1) as aside:
            verdict = aside.submit(self._states.first_verdict, DEFAULT_STATE)
            seen = self._states.objects(), node_state.read(self)
            self._states.keep(states.BOOT_STATE, *boot.without_bouncer(*seen))
            verdict.result()
        if state != DEFAULT_STATE:
            progress("installing Gatekeeper")
            install_gatekeeper(self, Path(self._settings().gatekeeper_manifest))
            self._states.first_verdict(state)
            seen = self._states.objects(), node_state.read(self)
        self._states.keep(state, *seen)
        self._set_state(state)

    def _prove(self, *, progress: Callable[[str], None]) -> Sight:
        """Compare what runs in a cluster that is being made with what was asked for; returns what was seen."""
        from lab.cluster.definition import read_cluster_definition  # noqa: PLC0415 - needs pydantic
        from lab.cluster.kind.proof import prove  # noqa: PLC0415

        progress("comparing what runs with what the cluster definition asks for")
        sight = self._api.sight()
        prove(
            read_cluster_definition(Path(self._settings().definition)),
            processes={process.name: process.argv for process in sight.processes},
            mounts={process.name: process.mounts for process in sight.processes},
            node=self._engine.inspect(self._require_node()),
        )
        return sight

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
        api = self._api.describe()
        phases = {"running": "running", "starting": "starting"}
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase=phases.get(api.state, "broken"),
            state=settings.state,
            server=self._api.server(),
            api_server=api,
            processes=self._processes(node),
        )

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        """Wait until the API server runs what its manifest says and answers."""
        return self._api.wait(timeout_s=timeout_s)

    def kubeconfig(self) -> Path:
        """A kubeconfig with cluster-admin rights for use outside the node."""
        self._require_node()
        return self._layout.kubeconfig

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
