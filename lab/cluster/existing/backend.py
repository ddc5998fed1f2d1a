"""The backend `existing` as commands see it: a lab that is a guest in somebody else's cluster."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lab.cluster.existing.belongings import Belongings
from lab.cluster.existing.gateway import ADDRESS, Gateway
from lab.cluster.existing.image_registry import ImageRegistry
from lab.cluster.existing.locks import Lock
from lab.cluster.existing.loop import Loop
from lab.cluster.existing.overlay import Overlay
from lab.cluster.existing.scripts import Scripts
from lab.cluster.existing.settings import BACKEND, GuestSettings
from lab.cluster.existing.upstream import Upstream
from lab.cluster.lab_directory import check_name
from lab.cluster.protocol import (
    Addon,
    ApiServerStatus,
    Capability,
    ClusterStatus,
    ExecResult,
    ImagePolicy,
    Needs,
    StartState,
)
from lab.errors import InputError, LabError
from lab.images.push import push_images
from lab.images.workloads import ADDON_IMAGES, WorkloadImages

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from lab.paths import LabPaths

Result = TypeVar("Result")

STAND_INS = ("default", "kube-system")
"""Namespaces that scenarios take for granted; the cluster's own of these names are not theirs."""
OPTION = "--image-registry"
_POLL_S = 0.2
_NOTHING = StartState(image_policy=ImagePolicy.OFF)


class ExistingCluster:
    """A lab in somebody else's cluster; implements `Cluster`, `Snapshots`, `ImageLoading` and `Guest`.

    It is up only within the process that brought it up. What it has made in the cluster is found again by its label,
    so `down` works from any other process too.

    Args:
        name: the lab's name.
        paths: the lab's directories.
        kubeconfig: reaches the cluster; None for a lab that is there already.
        context: one of its contexts.
        image_registry: where the cluster gets the lab's images from; None if it gets none.
        bin_dir: a directory of the user's own binaries.

    Raises:
        InputError: ``lab-name-invalid``; ``kubeconfig-missing``; ``image-registry-invalid``.
    """

    backend = BACKEND
    capabilities: frozenset[Capability] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        paths: LabPaths,
        kubeconfig: Path | None = None,
        context: str | None = None,
        image_registry: str | None = None,
        bin_dir: Path | None = None,
    ) -> None:
        check_name(name)
        self.name = name
        self._paths = paths
        self._bin_dir = bin_dir
        self._root = paths.labs / name
        left = GuestSettings.load(self._settings_file)
        if left is None and kubeconfig is None:
            raise InputError(
                "kubeconfig-missing",
                f"the backend {BACKEND} needs a kubeconfig",
                hint=f"lab run --backend {BACKEND} --kubeconfig FILE [--context NAME]",
            )
        if left is not None and kubeconfig is not None and left.kubeconfig != str(kubeconfig.absolute()):
            raise InputError(
                "lab-elsewhere",
                f"the lab {name} was left in the cluster of {left.kubeconfig}",
                hint=f"remove it there with `lab down --name {name}`, or give another --name",
            )
        self._is_left = left is not None
        self._settings = left or GuestSettings.new(name, kubeconfig=kubeconfig or Path(), context=context)
        self._changing = threading.RLock()
        self._stopping = threading.Event()
        self._loop: Loop | None = None
        self._upstream: Upstream | None = None
        self._gateway: Gateway | None = None
        self._scripts: Scripts | None = None
        self._registry = None if image_registry is None else ImageRegistry.named(image_registry)
        place = "" if self._registry is None else self._registry.place
        self._overlay = Overlay(run=self._settings.run, count=0, place=place)
        self._state = _NOTHING
        self._alone: Lock | None = None
        self._gatekeeper: Lock | None = None
        self._installed = ""

    # --- up and down -----------------------------------------------------------------------------------------------

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Make the namespaces of a start state, and what of the state can be had in such a cluster."""
        with self._changing:
            refused = self.refusal(Needs(state=state))
            if refused:
                raise LabError(
                    "state-not-here",
                    f"the start state {state.key} cannot be had in this cluster: {refused}",
                    hint="take the embedded backend for it",
                )
            self._be_alone()
            self._stopping.clear()
            try:
                if self._is_left:
                    progress("removing what an earlier run has left")
                    self._run(self._belongings.remove())
                progress(f"making namespaces in the cluster at {self._reached.server}")
                self._root.mkdir(parents=True, exist_ok=True)
                self._settings.save(self._settings_file)
                self._is_left = True
                self._open()
                self._begin(state, progress=progress)
            except BaseException:
                self.down()
                raise

    def down(self) -> None:
        """Remove everything that the lab has made in the cluster, then its files."""
        self._stopping.set()
        if self._scripts is not None:
            self._scripts.close()
        with self._changing:
            if self._is_left:
                self._be_alone()
                self._run(self._belongings.remove())
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(self._root)
                self._is_left = False
            self._close()

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Begin a start state under new names; what was made for the last one goes meanwhile."""
        with self._changing:
            self._require()
            self._run(self._belongings.remove_policies())
            self._begin(state, progress=progress)

    def refusal(self, needs: Needs) -> str:
        """Why a scenario cannot be held in this cluster; empty when it can."""
        if needs.state.image_policy is not ImagePolicy.OFF:
            return f"the backend {BACKEND} cannot set the API server's image policy"
        if Addon.BOUNCER in needs.state.addons:
            return f"the backend {BACKEND} has no node with the image bouncer's certificates"
        if refused := self._images_refused(needs.images):
            return refused
        if not _wants_gatekeeper(needs):
            return ""
        with self._changing:
            try:
                owner = self._run(self._belongings.gatekeepers_owner())
            finally:
                if self._gateway is None:
                    self._close()  # nobody takes down a lab that was only asked
        if owner == "":
            return "Gatekeeper is in the cluster already and is not the lab's, and its names cannot vary"
        return ""

    def claim(self, needs: Needs) -> None:
        """Wait until no other lab of this machine has Gatekeeper in this cluster, or give it back."""
        with self._changing:
            self._require()
            if _wants_gatekeeper(needs):
                self._hold_gatekeeper()
            elif self._gatekeeper is not None:
                self._installed = ""
                self._run(self._belongings.remove_gatekeeper())
                self._give_gatekeeper_back()

    def _begin(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Make a start state under names that were not used yet."""
        if Addon.GATEKEEPER in state.addons:
            self._hold_gatekeeper()
        self._rename(replace(self._overlay, count=self._overlay.count + 1, images=frozenset()))
        if self._gatekeeper is not None:
            self._renew_gatekeeper(state, progress=progress)
        self._run(self._belongings.make_namespaces(self._overlay, STAND_INS))
        self._empty_home()
        self._state = state

    def _renew_gatekeeper(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Have Gatekeeper as it is when it was just installed, or not at all.

        One that a script has installed or changed is removed; one that was only used is emptied.
        """
        wanted = Addon.GATEKEEPER in state.addons
        if wanted and self._installed and self._run(self._belongings.gatekeepers_shape()) == self._installed:
            self._run(self._belongings.remove_constraints())
            return
        self._installed = ""
        self._run(self._belongings.remove_gatekeeper())
        if not wanted:
            return
        from lab.cluster.start_state import install_gatekeeper  # noqa: PLC0415 - few scenarios want it
        from lab.components import Components  # noqa: PLC0415

        if self._registry is not None:
            self.load_images(ADDON_IMAGES[Addon.GATEKEEPER], progress=progress)
        progress("installing Gatekeeper")
        components = Components(self._paths, bin_dir=self._bin_dir, progress=progress)
        install_gatekeeper(self, components.gatekeeper_manifest())
        self._installed = self._run(self._belongings.gatekeepers_shape())

    def load_images(self, images: Sequence[str], *, progress: Callable[[str], None]) -> None:
        """Push images to the user's registry, from which templates of Pods get them from now on.

        Raises:
            LabError: one cannot be made, or the registry refuses it.
        """
        if self._registry is None:
            return
        built = self._images(progress=progress).built(images)
        progress(f"pushing {len(built)} images to {self._registry.address}")
        self._run(push_images(self._registry.endpoint, built))
        names = {f"{image.repository}:{tag}" for image in built for tag in image.tags}
        self._rename(replace(self._overlay, images=self._overlay.images | names))

    def _images_refused(self, images: Sequence[str]) -> str:
        """Why the cluster cannot have some images of the lab's own; empty when it can."""
        if images and self._registry is None:
            return f"without {OPTION} the cluster gets no images of the lab's own: {', '.join(images)}"
        lacking = self._images(progress=_nobody).lacking(images)
        return f"the lab cannot make an image that runs for {', '.join(lacking)}" if lacking else ""

    def _images(self, *, progress: Callable[[str], None]) -> WorkloadImages:
        return WorkloadImages(self._paths, bin_dir=self._bin_dir, progress=progress)

    def _hold_gatekeeper(self) -> None:
        """Have Gatekeeper's names to oneself.

        Raises:
            LabError: ``gatekeeper-taken``: a lab has it that no process of this machine holds.
        """
        if self._gatekeeper is not None:
            return
        self._gatekeeper = self._locked()
        owner = self._run(self._belongings.gatekeepers_owner())
        if owner not in (None, self._settings.run):
            self._give_gatekeeper_back()
            whose = f"of the lab with the number {owner}" if owner else "of no lab"
            raise LabError(
                "gatekeeper-taken",
                f"Gatekeeper is in the cluster already, and is {whose}",
                hint="a lab's is removed by `lab down --all`, on the machine on which it was made",
            )
        self._rename(replace(self._overlay, has_gatekeeper=True))

    def _locked(self) -> Lock:
        """The lock of Gatekeeper in this cluster, locked."""
        # The uid of this namespace is what tells one cluster from another.
        answer = self._run(self._reached.call("GET", "/api/v1/namespaces/kube-system"))
        if not answer.ok:
            raise LabError(
                "cluster-unreadable",
                f"the cluster does not tell which one it is: {answer.message}",
                hint="give a kubeconfig that may read the namespace kube-system",
            )
        path = self._locks / f"gatekeeper-{answer.body['metadata']['uid']}.lock"
        while (lock := Lock.taken(path)) is None:
            if self._stopping.wait(_POLL_S):
                raise LabError("lab-stopping", "the lab is being taken down", hint="run it again")
        return lock

    def _be_alone(self) -> None:
        """See that no other process works in this lab, until it is down.

        Raises:
            LabError: ``lab-in-use``.
        """
        if self._alone is None:
            self._alone = Lock.taken(self._locks / f"lab-{self.name}.lock")
        if self._alone is None:
            raise LabError(
                "lab-in-use",
                f"another process works in the lab {self.name}",
                hint="stop it, for example with Ctrl-C: it removes the lab itself",
            )

    def _give_gatekeeper_back(self) -> None:
        if self._gatekeeper is not None:
            self._gatekeeper.release()
            self._gatekeeper = None
            self._rename(replace(self._overlay, has_gatekeeper=False))

    def _rename(self, overlay: Overlay) -> None:
        self._overlay = overlay
        if self._gateway is not None:
            self._gateway.overlay = overlay

    def _open(self) -> None:
        """Serve the API server under the overlay, and have what scripts need."""
        from lab.components import Components  # noqa: PLC0415

        programs = self._root / "bin"
        programs.mkdir(exist_ok=True)
        kubectl = programs / "kubectl"
        kubectl.unlink(missing_ok=True)
        kubectl.symlink_to(Components(self._paths, bin_dir=self._bin_dir).ensure("kubectl")["kubectl"])
        self._home.mkdir(exist_ok=True)
        self._gateway = Gateway(self._reached, self._overlay, directory=self._root)
        self._started_loop().at_the_end(self._gateway.stop)
        self._run(self._gateway.start())
        self._write_kubeconfig(self._gateway)
        self._scripts = Scripts(self._home, bin_dir=programs, kubeconfig=self._kubeconfig_file)

    def _close(self) -> None:
        self._gateway, self._scripts, self._upstream = None, None, None
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        self._give_gatekeeper_back()
        if self._alone is not None:
            self._alone.release()
            self._alone = None

    # --- what it is ------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        """The lab as it is now: it runs only in the process that brought it up."""
        is_up = self._gateway is not None
        notes = (
            (f"it was left in the cluster of {self._settings.kubeconfig}; `lab down --name {self.name}` removes it",)
            if self._is_left and not is_up
            else ()
        )
        return ClusterStatus(
            name=self.name,
            backend=self.backend,
            phase="running" if is_up else "stopped",
            state=self._state.key if is_up else "",
            server=self._reached.server if is_up else "",
            api_server=ApiServerStatus(state="running" if is_up else "absent"),
            notes=notes,
        )

    def kubeconfig(self) -> Path:
        """A kubeconfig of the lab's own, by which the cluster is seen under the overlay."""
        self._require()
        return self._kubeconfig_file

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        """Nobody restarts this API server."""
        del timeout_s
        self._require()
        return self.status().api_server

    def collect_logs(self, destination: Path) -> None:
        """There are no logs of the lab's own: its directory that stands for the node's is copied."""
        destination.mkdir(parents=True, exist_ok=True)
        if self._home.is_dir():
            shutil.copytree(self._home, destination / "root", dirs_exist_ok=True, ignore_dangling_symlinks=True)

    # --- what stands for the node ----------------------------------------------------------------------------------

    def node_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Run a command on this machine, in the directory that stands for ``/root``."""
        here = [self._overlay.script(part) for part in argv]
        return self._require().run(here, stdin=stdin, env=env, timeout_s=timeout_s)

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        """There is no node.

        Raises:
            LabError: ``no-node``, always.
        """
        del argv
        raise LabError("no-node", f"the backend {BACKEND} has no node to enter", hint="use the embedded backend")

    def read_node_file(self, path: str) -> bytes | None:
        """A file below ``/root``; None when there is none."""
        try:
            return self._require().path(path).read_bytes()
        except FileNotFoundError:
            return None

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file below ``/root`` in one step."""
        file = self._require().path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.lab")
        temporary.touch(mode=mode)
        temporary.write_bytes(content)
        temporary.replace(file)

    # --- bookkeeping -----------------------------------------------------------------------------------------------

    @property
    def _settings_file(self) -> Path:
        return self._root / "lab.json"

    @property
    def _locks(self) -> Path:
        return self._paths.state / "existing"

    @property
    def _home(self) -> Path:
        return self._root / "root"

    @property
    def _kubeconfig_file(self) -> Path:
        return self._root / "kubeconfig"

    @property
    def _reached(self) -> Upstream:
        """The cluster, connected to when it is first asked."""
        if self._upstream is None:
            settings = self._settings
            self._upstream = upstream = self._run(_connected(Path(settings.kubeconfig), settings.context))
            self._started_loop().at_the_end(upstream.close)
        return self._upstream

    @property
    def _belongings(self) -> Belongings:
        return Belongings(self._reached, self._settings.run)

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self._started_loop().run(coroutine)

    def _started_loop(self) -> Loop:
        """The event loop of its connections, which ends with it, also when it is kept and nobody takes it down."""
        if self._loop is None:
            self._loop = Loop(self.name)
            weakref.finalize(self, self._loop.stop)
        return self._loop

    def _require(self) -> Scripts:
        scripts = self._scripts
        if scripts is None:
            raise LabError(
                "lab-not-running",
                f"the lab {self.name} is not up: on the backend {BACKEND} it is only while `lab run` or pytest works",
                hint=f"lab run --backend {BACKEND} --kubeconfig FILE",
            )
        return scripts

    def _empty_home(self) -> None:
        shutil.rmtree(self._home)
        self._home.mkdir()

    def _write_kubeconfig(self, gateway: Gateway) -> None:
        authority = self._root / "ca.crt"
        authority.write_bytes(gateway.authority_pem)
        cluster = {"server": f"https://{ADDRESS}:{gateway.port}", "certificate-authority": str(authority)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": {"token": gateway.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }
        self._kubeconfig_file.touch(mode=0o600)
        self._kubeconfig_file.write_text(json.dumps(document, indent=2) + "\n")


async def _connected(kubeconfig: Path, context: str | None) -> Upstream:
    return Upstream(kubeconfig, context=context)


def _nobody(_text: str) -> None:
    """Nobody watches."""


def _wants_gatekeeper(needs: Needs) -> bool:
    return Addon.GATEKEEPER in needs.state.addons | needs.installs
