"""Where everything of one lab on kind lies on this machine, and what is remembered of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lab.cluster.protocol import StartState

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = "kind"
NODE_FILES = "/run/lab/node"
"""Where the node has what `KindLayout.node_files` holds."""
SHELL = ("bash", "--rcfile", f"{NODE_FILES}/bashrc")
"""What a person's shell on the node is: as on the embedded node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindLayout:
    """The files and directories of one lab, below its directory."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """What the lab is: see `KindSettings`."""
        return self.root / "lab.json"

    @property
    def kind_config(self) -> Path:
        """The cluster definition as kind is given it."""
        return self.root / "kind.yaml"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, written by kind."""
        return self.root / "kubeconfig"

    @property
    def node_files(self) -> Path:
        """What the lab itself puts on the node."""
        return self.root / "node"

    @property
    def resolv_conf(self) -> Path:
        """The node's ``/etc/resolv.conf``."""
        return self.root / "resolv.conf"

    @property
    def run(self) -> Path:
        """Sockets at which the commands of a node's shell are served; mounted at `node_python.RUN`."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of the lab's own programs: kind."""
        return self.root / "logs"

    @property
    def kind_log(self) -> Path:
        """What kind printed while it made the cluster."""
        return self.logs / "kind.log"

    @property
    def api_server_file(self) -> Path:
        """Which API server process was seen running, and for which manifest."""
        return self.root / "api-server.json"

    @property
    def followed_file(self) -> Path:
        """Which API server process the rest of the node is known to follow."""
        return self.root / "followed.txt"

    @property
    def baselines(self) -> Path:
        """What a start state looked like when it was made: objects and files of the node."""
        return self.root / "baselines"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSettings:
    """What a lab is made of, decided once when it is made, kept in ``lab.json``.

    Attributes:
        name: the lab's name.
        cluster: kind's name for it.
        state: key of the start state that it was last set to; empty until its first one holds.
        definition: path of the cluster definition.
        image: the node image.
        gatekeeper_manifest: Gatekeeper's deploy manifest.
    """

    name: str
    cluster: str
    state: str
    definition: str
    image: str
    gatekeeper_manifest: str

    def save(self, path: Path) -> None:
        """Write the settings in one step."""
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"backend": BACKEND} | asdict(self), indent=2) + "\n")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> KindSettings:
        """Read settings that `save` wrote."""
        document = json.loads(path.read_text())
        document.pop("backend")
        return cls(**document)

    @property
    def start_state(self) -> StartState | None:
        """The start state that it was last set to."""
        return StartState.from_key(self.state) if self.state else None


def cluster_name(name: str, labs: Path) -> str:
    """The name that kind gives a lab: no other user's and no other state directory's lab has it.

    Args:
        name: the lab's name.
        labs: the directory of all labs.
    """
    return f"{name}-{home_mark(labs)}"


def home_mark(labs: Path) -> str:
    """What the names of all clusters of one state directory end with."""
    return hashlib.sha256(str(labs.resolve()).encode()).hexdigest()[:6]
