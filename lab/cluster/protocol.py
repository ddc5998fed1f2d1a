"""What the lab asks of a backend, so that a scenario does not know which one it runs on.

`Cluster` is what every backend can do. What only some can do is a separate, optional protocol (`Snapshots`,
`Checkpoints`, `ImageLoading`, `Guest`), asked for with ``isinstance``. One contract test
(tests/e2e/test_cluster_contract.py) runs against every backend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class ImagePolicy(StrEnum):
    """How ImagePolicyWebhook is set up when a scenario starts."""

    OFF = "off"
    """The plugin is not enabled: the API server as kubeadm makes it (the audit log stays on)."""
    OPEN = "open"
    """Enabled with ``defaultAllow: true``: the state in which the cluster definition boots."""
    ENFORCED = "enforced"
    """Enabled with ``defaultAllow: false``, its kubeconfig pointing at the bouncer."""


class Addon(StrEnum):
    """What runs in the cluster before a scenario's own manifests are applied."""

    BOUNCER = "bouncer"
    """The image bouncer: Deployment, Service (NodePort 30080) and TLS Secret in namespace ``default``."""
    GATEKEEPER = "gatekeeper"
    """OPA Gatekeeper, its own manifest of the pinned version, its webhook answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartState:
    """The state from which a scenario starts; a backend with snapshots keeps one template for each.

    Attributes:
        image_policy: how ImagePolicyWebhook is set up.
        addons: what runs in the cluster.
    """

    image_policy: ImagePolicy = ImagePolicy.OFF
    addons: frozenset[Addon] = frozenset()

    @property
    def key(self) -> str:
        """A name for this state, fit for a file name: ``enforced+bouncer``."""
        return "+".join([self.image_policy.value, *sorted(addon.value for addon in self.addons)])

    @classmethod
    def from_key(cls, key: str) -> StartState:
        """The state that a key names.

        Raises:
            ValueError: a part of the key is none of `ImagePolicy` or `Addon`.
        """
        policy, *addons = key.split("+")
        return cls(image_policy=ImagePolicy(policy), addons=frozenset(Addon(addon) for addon in addons))


DEFAULT_STATE = StartState(image_policy=ImagePolicy.ENFORCED, addons=frozenset({Addon.BOUNCER}))
"""What ``lab up`` makes unless told otherwise: a cluster that enforces its image policy."""


class Capability(StrEnum):
    """What a scenario may require of a backend."""

    NODE_FILES = "node-files"
    """The API server's own files can be read and written (manifests, admission configuration)."""
    RUNS_IMAGES = "runs-images"
    """A kubelet pulls images and runs arbitrary containers."""
    AUDIT_LOG = "audit-log"
    """The API server's audit log can be read from the node."""
    REGISTRY = "registry"
    """The lab's own image registry serves the images that the scenarios name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How a command on the node ended.

    Attributes:
        argv: the command as it was run.
        exit_code: its exit code; 128 + N when signal N ended it.
        stdout: what it printed, decoded as UTF-8 with replacement.
        stderr: the same for standard error.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process of the lab.

    Attributes:
        name: for example ``kube-apiserver`` or ``pod default/image-bouncer-webhook-5d9/bouncer``.
        pid: as seen from outside the lab's namespaces.
        pss_bytes: proportional set size from ``smaps_rollup``; None where it cannot be read.
    """

    name: str
    pid: int
    pss_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerStatus:
    """What the API server's manifest asks for and what runs.

    Attributes:
        state: ``running`` (answers, under the flags of its manifest), ``starting``, ``failed`` (its last start ended)
            or ``absent`` (no manifest).
        flags: the flags of the running process, without the program's name; empty unless it runs.
        error: the API server's own last error, when state is ``failed``; else empty.
        restarts: how often it was started again after it ended by itself.
    """

    state: str
    flags: tuple[str, ...] = ()
    error: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """A lab as it is now.

    Attributes:
        name: the lab's name.
        backend: ``embedded``, ``kind`` or ``existing``.
        phase: ``running``, ``starting``, ``broken`` (it runs, but its API server does not) or ``stopped``.
        state: key of the start state that it was last set to.
        server: URL of the API server as reachable from outside, empty when stopped.
        api_server: the API server in detail.
        processes: every process of the lab, with its memory.
        notes: findings for a person, one sentence each.
    """

    name: str
    backend: str
    phase: str
    state: str
    server: str
    api_server: ApiServerStatus
    processes: tuple[ProcessStatus, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pss_bytes(self) -> int:
        """Memory of the whole lab: the sum of its processes' proportional set sizes."""
        return sum(process.pss_bytes or 0 for process in self.processes)


@runtime_checkable
class Cluster(Protocol):
    """One lab on one backend. Paths on the node are absolute, as the node sees them."""

    @property
    def name(self) -> str:
        """The lab's name."""

    @property
    def backend(self) -> str:
        """Name of the backend."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend can do for a scenario."""

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Bring the lab up in a start state; returns when the state's first probe would give its verdict.

        Raises:
            LabError: it did not come up; what was left running is stopped. Its context names the logs.
        """

    def down(self) -> None:
        """Stop everything and remove every file of the lab; a lab that is already gone is no error."""

    def status(self) -> ClusterStatus:
        """The lab as it is now; never waits for it."""

    def kubeconfig(self) -> Path:
        """A kubeconfig file with cluster-admin rights that works from outside the node."""

    def node_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Run a command on the control-plane node, as root of the node, in ``/root``.

        Raises:
            LabError: the node cannot be entered, or the command did not end in time (it is killed).
        """

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        """Run a command on the node with the caller's terminal; an interactive shell when none is given.

        Returns:
            Its exit code.
        """

    def read_node_file(self, path: str) -> bytes | None:
        """A file of the node; None when there is none."""

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the node in one step (rename), making its directories."""

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        """Wait until the API server runs what its manifest says and answers.

        Raises:
            LabError: ``apiserver-failed`` when it ended with an error of its own (in the context), `WaitError` when the
                time ran out.
        """

    def collect_logs(self, destination: Path) -> None:
        """Copy every log (API server, etcd, webhooks, audit log, supervisor) below a directory."""


@runtime_checkable
class Snapshots(Protocol):
    """A backend that can put a start state back within seconds."""

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        """Put a start state back; returns when its first probe gives its verdict again."""


@runtime_checkable
class Checkpoints(Protocol):
    """A backend that can remember a running cluster, and go back to it in less time than a reset takes."""

    def checkpoint(self, label: str, facts: Mapping[str, str]) -> None:
        """Remember the cluster as it is now, under a label and with some facts; only the latest few are kept.

        Raises:
            LabError: it could not be read.
        """

    def rewind(self, label: str) -> Mapping[str, str] | None:
        """Go back to what was remembered.

        Returns:
            The facts; None when nothing is remembered under that label, or there is no sure way back: then a start
            state has to be put back.
        """


@runtime_checkable
class ImageLoading(Protocol):
    """A backend on which some images must be made ready before a Pod can run them."""

    def load_images(self, images: Sequence[str], *, progress: Callable[[str], None]) -> None:
        """Have what the images run ready on the node; an image that needs nothing is no error.

        Args:
            images: references as they stand in Pods.
            progress: told each step, which may take minutes where a program is built.

        Raises:
            LabError: one of them cannot be had.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a scenario takes up in a cluster besides objects of its own.

    Attributes:
        state: the state that it starts from.
        installs: what it installs by itself.
        images: the images of the lab's own that have to run.
    """

    state: StartState
    installs: frozenset[Addon] = frozenset()
    images: tuple[str, ...] = ()


@runtime_checkable
class Guest(Protocol):
    """A backend whose cluster is somebody else's, so that not everything can be had there, and some not at once."""

    def refusal(self, needs: Needs) -> str:
        """Why a scenario cannot be held there; empty when it can. The lab need not be up; nothing is changed.

        Raises:
            LabError: the cluster cannot be asked.
        """

    def claim(self, needs: Needs) -> None:
        """Wait until the lab has to itself what only one can have in a cluster, and give back what it needs no more.

        Raises:
            LabError: it cannot be had.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """What a backend needs to know to make a lab.

    Attributes:
        name: the lab's name, a DNS label.
        bin_dir: a directory of the user's own binaries, used instead of the pinned ones.
        config: the cluster definition; None for the one at the project's root.
        labels: free key-value pairs kept with the lab.
    """

    name: str
    bin_dir: Path | None = None
    config: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
