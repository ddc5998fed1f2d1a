"""The other ways to get a cluster on this machine, run side by side with the lab where they can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lab.bench.timing import timed
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASK_TIMEOUT_S = 20.0
_PODS_READY_S = 120
_TAIL = 2000
_READY = "Cluster is ready"
"""What kwokctl logs last, when the time given by ``--wait`` was enough."""


class ClusterPeer(Protocol):
    """Something else that makes a cluster."""

    name: str
    """What is run, as a person would type it."""

    def missing(self) -> str:
        """Why it cannot be run here; empty when it can."""

    def create(self) -> float:
        """Make a cluster, remove it again, and say how many seconds making it took.

        Raises:
            LabError: it could not be made, or is not ready.
        """


class Kwokctl:
    """``kwokctl create cluster --runtime binary --wait 60s`` with the programs that the lab runs.

    Args:
        programs: path by component: kwokctl, kwok, etcd and the three Kubernetes ones; a missing one is told.
        directory: an existing directory, on the file system where labs are made.
    """

    name = "kwokctl create cluster --runtime binary --wait 60s"

    _FLAGS: Mapping[str, str] = {
        "etcd": "--etcd-binary",
        "kube-apiserver": "--kube-apiserver-binary",
        "kube-controller-manager": "--kube-controller-manager-binary",
        "kube-scheduler": "--kube-scheduler-binary",
        "kwok": "--kwok-controller-binary",
    }
    COMPONENTS = ("kwokctl", *_FLAGS)

    def __init__(self, programs: Mapping[str, Path], directory: Path) -> None:
        self._programs = programs
        self._directory = directory

    def missing(self) -> str:
        """Which program is not there."""
        absent = [name for name in self.COMPONENTS if name not in self._programs]
        return f"not in the store: {', '.join(absent)} (lab components fetch {' '.join(absent)})" if absent else ""

    def create(self) -> float:
        """Make a cluster in namespaces of its own; it ends with them."""
        with tempfile.TemporaryDirectory(prefix="kwokctl-", dir=self._directory) as scratch:
            done = timed(
                (sys.executable, "-P", "-m", "lab.bench.enclosure", *self.argv(Path(scratch))),
                env=self.environment(Path(scratch)),
            )
        if _READY not in done.stderr:
            raise LabError(
                "bench-peer",
                "kwokctl ended without an error, but its cluster was not ready",
                hint="leave this measurement out, or see in its output what its servers lack",
                context={"output": done.stderr[-_TAIL:].strip()},
            )
        return float(json.loads(done.stdout)["elapsed_s"])

    def argv(self, scratch: Path) -> tuple[str, ...]:
        """The command line."""
        binaries = [word for name, flag in self._FLAGS.items() for word in (flag, str(self._programs[name]))]
        kubeconfig = ("--kubeconfig", str(scratch / "kubeconfig"))
        command = ("create", "cluster", "--name", "bench", "--runtime", "binary", "--wait", "60s")
        return (str(self._programs["kwokctl"]), *command, *kubeconfig, *binaries)

    def environment(self, scratch: Path) -> dict[str, str]:
        """Its environment: a HOME without the user's kwok configuration, and none of the user's ``KWOK_*``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KWOK_")}
        return kept | {"HOME": str(scratch), "KWOK_WORKDIR": str(scratch / "kwok")}


class Kind:
    """``kind create cluster`` with a node image that Docker has already: kind's own, or the one that the lab makes.

    Args:
        name: name of the cluster that it makes.
        directory: an existing directory, for its configuration and kubeconfig.
        program: kind; None when there is none.
        wait: how long kind waits for the node to be ready, such as ``60s``; None for not at all.
        kubectl: waits, when kind has ended, until every Pod is ready; None for not at all.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        program: Path | None,
        *,
        wait: str | None = "60s",
        kubectl: Path | None = None,
    ) -> None:
        self._wait = () if wait is None else ("--wait", wait)
        self._kubectl = kubectl
        until = "" if kubectl is None else ", until every Pod is ready"
        self.name = f"{' '.join(('kind create cluster', *self._wait))}{until}, node image present"
        self._cluster = name
        self._directory = directory
        self._kubeconfig = ("--kubeconfig", str(directory / f"{name}.kubeconfig"))
        self._program = program

    def missing(self) -> str:
        """Whether Docker, kind and its image are there."""
        if _answers("docker", "info") is None:
            return "no Docker"
        if self._program is None:
            return "no kind in the store or on PATH (lab components fetch kind)"
        return "" if self._image() else "no node image in Docker (lab node-image build)"

    def create(self) -> float:
        """Make a cluster of one node, with nothing but what this machine needs, and delete it."""
        from lab.cluster.kind.definition import machine_overlay, render_bare  # noqa: PLC0415
        from lab.images.node import node_image_name  # noqa: PLC0415

        image = self._image()
        config = self._directory / f"{self._cluster}.kind.yaml"
        own = image == node_image_name()
        config.write_text(render_bare(overlay=machine_overlay(), has_own_network=own))
        named = ("--name", self._cluster, *self._kubeconfig)
        kind = str(self._program)
        try:
            made = timed((kind, "create", "cluster", *named, "--image", image, "--config", str(config), *self._wait))
            ready_s = sum(timed(argv).elapsed_s for argv in self._until_ready())
        finally:
            # Not undisturbed: a child would inherit that, and kind could not be ended.
            timed((kind, "delete", "cluster", *named))
        return made.elapsed_s + ready_s

    def _until_ready(self) -> tuple[tuple[str, ...], ...]:
        """What a person waits with: first for the Pods that kubeadm's add-ons get only now."""
        if self._kubectl is None:
            return ()
        kubectl, limit = (str(self._kubectl), *self._kubeconfig), f"--timeout={_PODS_READY_S}s"
        return (
            (*kubectl, "rollout", "status", "deployment/coredns", "--namespace", "kube-system", limit),
            (*kubectl, "wait", "--for=condition=Ready", "pods", "--all", "--all-namespaces", limit),
        )

    def _image(self) -> str:
        """A node image that is there already: a download would be measured else."""
        from lab.images.node import node_image_name  # noqa: PLC0415 - its libraries are heavy

        kinds_own = (_answers("docker", "image", "ls", "--quiet", "kindest/node") or "").partition("\n")[0]
        own = node_image_name()
        return kinds_own or (own if _answers("docker", "image", "ls", "--quiet", own) else "")


def _answers(*argv: str) -> str | None:
    """What a program prints; None when it is not there or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_ASK_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
