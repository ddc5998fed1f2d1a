"""The backends there are, by name, and how a command finds the lab that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.protocol import Cluster
    from lab.paths import LabPaths

DEFAULT_BACKEND = "embedded"
DEFAULT_NAME = "lab"


def open_cluster(
    name: str,
    *,
    paths: LabPaths,
    backend: str = DEFAULT_BACKEND,
    bin_dir: Path | None = None,
    definition: Path | None = None,
) -> Cluster:
    """A lab by name, whether it runs or not; nothing is started or made.

    Args:
        name: the lab's name, a DNS label of at most 40 characters.
        paths: the lab's directories.
        backend: one of the backends.
        bin_dir: a directory of the user's own binaries, used by `Cluster.up`.
        definition: the cluster definition, used by `Cluster.up`; None for the project's ``kind-config.yaml``.

    Raises:
        InputError: ``backend-unknown`` or ``lab-name-invalid``.
    """
    if backend != DEFAULT_BACKEND:
        raise InputError(
            "backend-unknown",
            f"there is no backend {backend!r}",
            hint=f"use one of: {DEFAULT_BACKEND}",
        )
    from lab.cluster.embedded.backend import EmbeddedCluster  # noqa: PLC0415 - only the backend in use is loaded

    return EmbeddedCluster(name, paths=paths, bin_dir=bin_dir, definition=definition)


def list_labs(paths: LabPaths) -> tuple[str, ...]:
    """Names of the labs that have a directory, running or not, sorted."""
    if not paths.labs.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in paths.labs.iterdir() if (entry / "lab.json").is_file()))
