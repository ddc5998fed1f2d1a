"""The embedded backend as commands see it: makes, finds, enters and removes labs on this machine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded import control, entering, making
from lab.cluster.embedded.layout import LabLayout, LabSettings
from lab.cluster.embedded.processes import in_namespace_of, pss_bytes
from lab.cluster.embedded.running import Supervisor
from lab.cluster.embedded.shell_commands import ShellCommands
from lab.cluster.files_by_command import read_file, write_file
from lab.cluster.lab_directory import check_name, exclusive
from lab.cluster.protocol import (
    ApiServerStatus,
    Capability,
    ClusterStatus,
    ExecResult,
    ImagePolicy,
    ProcessStatus,
    StartState,
)
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lab.cluster.embedded.template import TemplateFamily
    from lab.paths import LabPaths

_BOOT_STATE = StartState(image_policy=ImagePolicy.OPEN)
"""The state in which the cluster definition boots."""
_FIRST_VERDICT_S = 90.0
_BOOTSTRAP_S = 180.0
_CALL_S = 30.0
_REWIND_S = 60.0
_REST_S = 5.0
"""A start state in which something never comes to rest (a Deployment whose Pods are denied) has no checkpoint."""


class EmbeddedCluster:
    """One lab of the embedded backend; implements `Cluster`, `Snapshots`, `Checkpoints` and `ImageLoading`.

    Args:
        name: the lab's name.
        paths: the lab's directories.
        bin_dir: a directory of the user's own binaries.
        definition: the cluster definition; None for the project's.

    Raises:
        InputError: ``lab-name-invalid``.
    """

    backend = "embedded"
    capabilities = frozenset({Capability.NODE_FILES, Capability.AUDIT_LOG, Capability.REGISTRY})

    def __init__(
        self, name: str, *, paths: LabPaths, bin_dir: Path | None = None, definition: Path | None = None
    ) -> None:
        check_name(name)
        self.name = name
        self._paths = paths
        self._bin_dir = bin_dir
        self._definition = definition
        self._layout = LabLayout(root=paths.labs / name)
        self._supervisor = Supervisor(self._layout)

    # --- up and down -----------------------------------------------------------------------------------------------

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Bring the lab up; one that runs already is put into the state."""
        with self._exclusive(progress):
            if self._is_alive():
                self._put_back(state, progress=progress)
                return
            self._supervisor.kill()
            self._remove()
            try:
                self._make(state, progress=progress)
            except BaseException:
                kept = self._keep_logs()
                self._supervisor.kill()
                self._remove()
                if kept is not None:
                    progress(f"the logs of the failed start are kept in {kept}")
                raise

    def down(self) -> None:
        """Stop everything and remove every file of the lab."""
        with self._exclusive(lambda _: None):
            self._supervisor.kill()
            self._remove()

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Put a start state back; returns when its first probe gives its verdict again."""
        with self._exclusive(progress):
            self._supervisor.require()
            self._put_back(state, progress=progress)

    def checkpoint(self, label: str, facts: Mapping[str, str]) -> None:
        """Remember the cluster as it is now."""
        self._remember(label, self._settings().state, facts, patience_s=_REST_S)

    def rewind(self, label: str) -> Mapping[str, str] | None:
        """Go back to what was remembered, without stopping the cluster."""
        with self._exclusive(lambda _: None):
            return self._rewind(label)

    def load_images(self, images: Sequence[str], *, progress: Callable[[str], None]) -> None:
        """Fetch the programs of images that the lab was made without."""
        from lab.cluster.embedded.programs import component_of  # noqa: PLC0415 - only some scenarios need it
        from lab.components import Components  # noqa: PLC0415

        wanted = [component for component in map(component_of, images) if component is not None]
        if wanted:
            Components(self._paths, bin_dir=self._bin_dir, progress=progress).ensure(*wanted)

    def _make(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listener.getsockname()[1]
        self._supervisor.launch(listener)
        settings = making.make_directory(
            self._layout, name=self.name, paths=self._paths, bin_dir=self._bin_dir, definition=self._definition,
            state=state, port=port, progress=progress,
        )  # fmt: skip
        family = self._family(settings)
        if family.find(state.key) is None:
            with family.building():
                if family.find(state.key) is None:
                    self._build(state, settings, family, progress=progress)
                    self._stands(state)
                    return
        family.restore(state.key, self._layout.root)
        progress(f"starting from the template of state {state.key}")
        self._supervisor.start()
        self._stands(state)

    def _build(
        self, state: StartState, settings: LabSettings, family: TemplateFamily, *, progress: Callable[[str], None]
    ) -> None:
        """Make a start state for the first time, and keep it as a template."""
        if family.find(_BOOT_STATE.key) is None:
            making.write_boot_files(self._layout, settings)
            self._supervisor.start()
            self._call("bootstrap", timeout_s=_BOOTSTRAP_S, progress=progress)
            self._first_verdict(_BOOT_STATE)
            self._snapshot(_BOOT_STATE, family, progress=progress)
        else:
            family.restore(_BOOT_STATE.key, self._layout.root)
            self._supervisor.start()
        self._converge(state, family, progress=progress)

    def _converge(self, state: StartState, family: TemplateFamily, *, progress: Callable[[str], None]) -> None:
        if state == _BOOT_STATE:
            return
        self._first_verdict(_BOOT_STATE)
        from lab.cluster.start_state import converge  # noqa: PLC0415 - only a state that is made anew needs it

        converge(self, state, gatekeeper_manifest=self._settings().gatekeeper_manifest, progress=progress)
        self._first_verdict(state)
        self._snapshot(state, family, progress=progress)

    def _snapshot(self, state: StartState, family: TemplateFamily, *, progress: Callable[[str], None]) -> None:
        """Keep the present state as a template; the cluster is stopped for it and started again."""
        progress(f"keeping state {state.key} as a template")
        self._call("freeze", arguments={"for_template": True})
        family.save(state.key, self._layout.root)
        self._call("thaw")
        self._first_verdict(state)

    def _put_back(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        if self._rewind(_label(state)) is not None:
            self._first_verdict(state)
            return
        self._start_again(state, progress=progress)
        self._stands(state)

    def _rewind(self, label: str) -> Mapping[str, str] | None:
        remembered = self._call("rewind", arguments={"label": label}, timeout_s=_REWIND_S)
        if remembered is None:
            return None
        state = StartState.from_key(remembered["state"])
        making.with_state(self._settings(), state).save(self._layout.settings_file)
        facts: Mapping[str, str] = remembered["facts"]
        return facts

    def _remember(self, label: str, state: StartState, facts: Mapping[str, str], *, patience_s: float) -> None:
        kept = {"state": state.key, "facts": dict(facts)}
        self._call("checkpoint", arguments={"label": label, "kept": kept, "patience_s": patience_s})

    def _stands(self, state: StartState) -> None:
        """Wait until a start state holds, and remember it; its template was kept at rest."""
        self._first_verdict(state)
        self._remember(_label(state), state, {}, patience_s=0.0)

    def _start_again(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Stop the cluster and start it from the template of a state."""
        settings = self._settings()
        family = self._family(settings)
        known = family.find(state.key)
        start_from = state if known is not None else _BOOT_STATE
        with contextlib.ExitStack() as stack:
            if known is None:
                stack.enter_context(family.building())
            self._call("freeze")
            family.restore(start_from.key, self._layout.root)
            making.empty_scratch(self._layout)
            making.with_state(settings, state).save(self._layout.settings_file)
            self._call("thaw")
            if known is None:
                self._converge(state, family, progress=progress)

    def _first_verdict(self, state: StartState) -> None:
        arguments = {"state": state.key, "timeout_s": _FIRST_VERDICT_S}
        self._call("wait-first-verdict", arguments=arguments, timeout_s=_FIRST_VERDICT_S + _CALL_S)

    # --- what it is ------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        """The lab as it is now."""
        pid = self._supervisor.pid
        if not self._layout.settings_file.exists() or pid is None:
            return self._stopped()
        try:
            answer = self._call("status")
        except LabError as error:
            return self._stopped(notes=(error.message,), phase="broken")
        api_server = _api_server_status(answer["api_server"])
        outside = in_namespace_of(pid)
        processes = tuple(
            ProcessStatus(name=name, pid=outside[int(inner)], pss_bytes=pss_bytes(outside[int(inner)]))
            for inner, name in answer["processes"].items()
            if int(inner) in outside
        )
        phases = {"running": "running", "starting": "starting"}
        settings = self._settings()
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase="broken" if answer["frozen"] else phases.get(api_server.state, "broken"),
            state=settings.state.key,
            server=f"https://127.0.0.1:{settings.port}",
            api_server=api_server,
            processes=processes,
            notes=tuple(answer["notes"]),
        )

    def kubeconfig(self) -> Path:
        """A kubeconfig with cluster-admin rights for use outside the node."""
        self._supervisor.require()
        return making.write_outside_kubeconfig(self._layout, self._settings())

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        """Wait until the API server runs what its manifest says and answers."""
        answer = self._call("wait-api-server", arguments={"timeout_s": timeout_s}, timeout_s=timeout_s + _CALL_S)
        return _api_server_status(answer)

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
        self._supervisor.require()
        return entering.run(
            self._layout.run, tuple(argv), stdin=stdin, environment=dict(env or {}), timeout_s=timeout_s
        )

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        """Run a command, or a shell, on the node with the caller's terminal."""
        self._supervisor.require()
        names = {"LAB_NAME": self.name, "LAB_BACKEND": self.backend}
        with ShellCommands(self._layout.run, environment=names) as commands:
            return entering.interact(self._layout.run, tuple(argv), environment=commands.shell_environment)

    def read_node_file(self, path: str) -> bytes | None:
        """A file of the node; None when there is none."""
        return read_file(self, path)

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the node in one step."""
        write_file(self, path, content, mode=mode)

    def collect_logs(self, destination: Path) -> None:
        """Copy every log below a directory."""
        destination.mkdir(parents=True, exist_ok=True)
        for name, source in (
            ("lab", self._layout.logs),
            ("pods", self._layout.pod_logs),
            ("audit", self._layout.node / "var/log/kubernetes/audit"),
            ("manifests", self._layout.kubernetes / "manifests"),
        ):
            if source.is_dir():
                shutil.copytree(source, destination / name, dirs_exist_ok=True, ignore_dangling_symlinks=True)

    # --- bookkeeping -----------------------------------------------------------------------------------------------

    def _call(
        self,
        operation: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        timeout_s: float = _CALL_S,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Any:
        self._supervisor.require()
        return control.call(self._layout.run, operation, arguments=arguments, timeout_s=timeout_s, progress=progress)

    def _settings(self) -> LabSettings:
        return LabSettings.load(self._layout.settings_file)

    def _family(self, settings: LabSettings) -> TemplateFamily:
        return making.template_family(settings)

    def _stopped(self, *, notes: tuple[str, ...] = (), phase: str = "stopped") -> ClusterStatus:
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase=phase,
            state="",
            server="",
            api_server=ApiServerStatus(state="absent"),
            notes=notes,
        )

    def _exclusive(self, progress: Callable[[str], None]) -> AbstractContextManager[None]:
        """Let one command at a time change this lab."""
        return exclusive(self._layout.root, progress)

    def _is_alive(self) -> bool:
        """Whether its supervisor runs and answers: one that is being killed does no longer."""
        if not self._supervisor.running:
            return False
        try:
            self._call("status")
        except LabError:
            return False
        return True

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._layout.root)

    def _keep_logs(self) -> Path | None:
        """Move what a failed start has logged out of the directory that is about to go."""
        if not self._layout.logs.is_dir():
            return None
        kept = self._paths.state / "failed" / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.collect_logs(kept)
        return kept


def _label(state: StartState) -> str:
    """The checkpoint of a start state."""
    return f"state {state.key}"


def _api_server_status(answer: Mapping[str, Any]) -> ApiServerStatus:
    return ApiServerStatus(
        state=answer["state"], flags=tuple(answer["flags"]), error=answer["error"], restarts=answer["restarts"]
    )
