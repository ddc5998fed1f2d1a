"""The one lab of a pytest process: named, brought up when it is first needed, put back, taken down.

Under pytest-xdist every worker is a process with a lab of its own. A worker can die without a word, so each one notes
the labs that it started in a ledger, a directory of the controlling process, which takes down what is left in it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.cluster import backends
from lab.cluster.protocol import DEFAULT_STATE
from lab.paths import LabPaths
from lab.scenario.start import put_back

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.protocol import Cluster, StartState

STOPPED = "stopped"
"""Phase of a lab that does not run (`lab.cluster.protocol.ClusterStatus`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which lab a pytest process uses.

    Attributes:
        name: its name, the worker's id included.
        backend: what it runs on.
        bin_dir: a directory of the user's own binaries; None for the pinned ones.
        kubeconfig: reaches the cluster that it is a guest in, if it is.
        context: one of its contexts; None for the current one.
        image_registry: where that cluster gets the lab's images from; None if it gets none.
        keep: whether it stays when the session ends.
        ledger: where its name is noted while it runs; None without xdist.
    """

    name: str
    backend: str
    bin_dir: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    image_registry: str | None = None
    keep: bool = False
    ledger: Path | None = None


class SessionLab:
    """The lab of a pytest process. It is in one start state at a time, and knows when a test has changed it.

    A lab that runs already (an earlier session kept it, or a person made it) is used and left running.

    Args:
        settings: which lab.

    Attributes:
        passed_after_s: by scenario and check, when the solution passed (see `run_scenario`).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.passed_after_s: dict[str, dict[str, float]] = {}
        self._cluster: Cluster | None = None
        self._state = DEFAULT_STATE
        self._is_up = False
        self._is_ours = False
        self._is_changed = False

    @property
    def cluster(self) -> Cluster:
        """The lab, whether it runs or not; nothing is started by asking.

        Raises:
            InputError: there is no such backend, or the name is none.
        """
        if self._cluster is None:
            self._cluster = open_cluster(self.settings.name, self.settings)
        return self._cluster

    @property
    def is_up(self) -> bool:
        """Whether it was brought up."""
        return self._is_up

    @property
    def is_left_running(self) -> bool:
        """Whether it was started here and stays when the session ends."""
        return self._is_ours and self.settings.keep

    def choose(self, state: StartState) -> None:
        """Have the lab in a start state: at once if it runs, else when it is brought up."""
        if not self._is_up:
            self._state = state
        elif self._is_changed or state != self._state:
            self._put_back(state)

    def mark_changed(self) -> None:
        """Remember that the cluster is no longer as its start state has it, so that the next test finds it put back."""
        self._is_changed = True

    def up(self) -> Cluster:
        """Bring the lab up in the state that was chosen.

        Raises:
            LabError: it did not come up.
        """
        cluster = self.cluster
        if not self._is_up:
            if cluster.status().phase == STOPPED:
                self._start(self._state)
            else:
                self._put_back(self._state)
            self._is_up = True
        return cluster

    def down(self) -> None:
        """Take down what was started here, unless it is to be kept."""
        self._is_up = False
        if self._is_ours and not self.settings.keep:
            self.cluster.down()
            self._is_ours = False
            if self.settings.ledger is not None:
                (self.settings.ledger / self.settings.name).unlink(missing_ok=True)

    def _start(self, state: StartState) -> None:
        # Before it starts: whatever happens from here on, there is something to take down.
        self._is_ours = True
        if self.settings.ledger is not None:
            (self.settings.ledger / self.settings.name).touch()
        self.cluster.up(state, progress=_tell)
        self._state, self._is_changed = state, False

    def _put_back(self, state: StartState) -> None:
        # Until it succeeds, nobody knows in which state the lab is.
        self._is_changed = True
        put_back(self.cluster, state, progress=_tell)
        self._state, self._is_changed = state, False


def open_cluster(name: str, settings: Settings) -> Cluster:
    """A lab by name, on the backend of the session; nothing is started."""
    return backends.open_cluster(
        name,
        paths=LabPaths.from_environment(),
        backend=settings.backend,
        bin_dir=settings.bin_dir,
        kubeconfig=settings.kubeconfig,
        context=settings.context,
        image_registry=settings.image_registry,
    )


def take_down_left_over(settings: Settings) -> None:
    """Take down the labs of workers that did not live to do it themselves.

    Args:
        settings: the controlling process's; its ledger holds what is left.
    """
    if settings.ledger is None:
        return
    for name in noted(settings.ledger):
        if not settings.keep:
            open_cluster(name, settings).down()
        (settings.ledger / name).unlink()


def noted(ledger: Path) -> tuple[str, ...]:
    """The labs in a ledger, sorted."""
    return tuple(sorted(entry.name for entry in ledger.iterdir()))


def _tell(text: str) -> None:
    """Progress goes where pytest captures it, and shows it when the set-up fails."""
    sys.stderr.write(f"lab: {text}\n")
