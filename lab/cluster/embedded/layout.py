"""Where everything of one embedded lab lies: in its directory outside, and on its node inside.

Outside, a lab is one directory. Inside the node the same directory is mounted at `INSIDE`, whatever its path outside
is, and parts of it stand where a control-plane node has them (``/etc``, ``/var``, ``/root``, ``/tmp``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cluster.protocol import StartState

INSIDE = Path("/run/lab")
"""The lab's directory as the node sees it."""

HOST_ROOT = Path("/run/host")
"""The machine's own root directory as the node sees it."""

KUBERNETES = Path("/etc/kubernetes")
"""Where the node keeps manifests, kubeconfigs and certificates."""

KUBEADM_CONFIG = "/etc/kubernetes/kubeadm.yaml"
"""Where the node keeps the configuration that kubeadm was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabLayout:
    """The files and directories of one lab, below its directory as the caller sees it."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """What the lab is: see `LabSettings`."""
        return self.root / "lab.json"

    @property
    def run(self) -> Path:
        """Sockets, pids and mount points; nothing in it is worth keeping."""
        return self.root / "run"

    @property
    def supervisor_file(self) -> Path:
        """Process id and start time of the supervisor, as seen from outside."""
        return self.run / "supervisor.json"

    @property
    def control_socket(self) -> Path:
        """The supervisor's control socket."""
        return self.run / "control.sock"

    @property
    def exec_socket(self) -> Path:
        """The socket on which the supervisor takes commands to run on the node."""
        return self.run / "exec.sock"

    @property
    def node_mount(self) -> Path:
        """Where the node's root is put together."""
        return self.run / "node"

    @property
    def sandbox_mount(self) -> Path:
        """Where a container's root is put together, in a mount namespace of its own."""
        return self.run / "sandbox"

    @property
    def node(self) -> Path:
        """The node's own ``/etc``, ``/var``, ``/root`` and ``/tmp``."""
        return self.root / "node"

    @property
    def kubernetes(self) -> Path:
        """The node's ``/etc/kubernetes``."""
        return self.node / "etc/kubernetes"

    @property
    def etcd_data(self) -> Path:
        """The node's ``/var/lib/etcd``."""
        return self.node / "var/lib/etcd"

    @property
    def pod_logs(self) -> Path:
        """The node's ``/var/log/pods``."""
        return self.node / "var/log/pods"

    @property
    def bin(self) -> Path:
        """Links to the programs that a person finds on the node's ``PATH``."""
        return self.root / "bin"

    @property
    def logs(self) -> Path:
        """Logs of the lab's own processes: supervisor, kwok, registry."""
        return self.root / "logs"

    @property
    def registry(self) -> Path:
        """Storage of the lab's image registry."""
        return self.root / "registry"

    @property
    def pods(self) -> Path:
        """Volumes of the workload Pods."""
        return self.root / "pods"

    @property
    def outside_kubeconfig(self) -> Path:
        """The kubeconfig that works outside the node."""
        return self.root / "kubeconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """What a lab is made of, decided once when it is made, kept in ``lab.json``.

    Attributes:
        name: the lab's name.
        node_name: host name of its node.
        port: loopback port on which the API server answers outside.
        state: key of the start state that it was last set to.
        template: directory of the template family that it was copied from.
        definition: path of the cluster definition.
        programs: component name to executable.
        digests: component name to the executable's sha256.
        gatekeeper_manifest: Gatekeeper's deploy manifest.
        registry_storage: storage directory that the image registry serves, read-only.
        extra_mounts: path on the node to path relative to the lab's directory.
    """

    name: str
    node_name: str
    port: int
    state: StartState
    template: str
    definition: str
    programs: dict[str, str]
    digests: dict[str, str]
    gatekeeper_manifest: str
    registry_storage: str
    extra_mounts: dict[str, str]

    def save(self, path: Path) -> None:
        """Write the settings in one step."""
        document = asdict(self) | {"state": self.state.key}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=2) + "\n")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> LabSettings:
        """Read settings that `save` wrote."""
        document = json.loads(path.read_text())
        return cls(**document | {"state": StartState.from_key(document["state"])})
