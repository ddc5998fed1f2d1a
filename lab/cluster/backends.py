"""The backends there are, by name, and how a command finds the lab that it is about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lab.cluster.protocol import Cluster
    from lab.paths import LabPaths

DEFAULT_BACKEND = "embedded"
EXISTING = "existing"
DEFAULT_NAME = "lab"


def open_cluster(
    name: str,
    *,
    paths: LabPaths,
    backend: str | None = None,
    bin_dir: Path | None = None,
    definition: Path | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    image_registry: str | None = None,
) -> Cluster:
    """A lab by name, whether it runs or not; nothing is started or made.

    A lab that is there is opened on the backend that it was made on, unless another one than the default is asked for.

    Args:
        name: the lab's name, a DNS label of at most 40 characters.
        paths: the lab's directories.
        backend: one of `BACKENDS`; None for the one that the lab was made on, or the default for a new one.
        bin_dir: a directory of the user's own binaries, used by `Cluster.up`.
        definition: the cluster definition, used by `Cluster.up`; None for the project's ``kind-config.yaml``.
        kubeconfig: reaches the cluster of the backend ``existing``.
        context: one of its contexts; None for the current one.
        image_registry: where that cluster gets the lab's images from; None if it gets none.

    Raises:
        InputError: ``backend-unknown``, ``backend-differs``, ``lab-name-invalid``, ``kubeconfig-unused``,
            ``kubeconfig-missing`` or ``image-registry-invalid``.
    """
    made_on = backend_of(name, paths)
    chosen = backend or made_on or DEFAULT_BACKEND
    if chosen not in BACKENDS:
        raise InputError(
            "backend-unknown",
            f"there is no backend {chosen!r}",
            hint=f"use one of: {', '.join(BACKENDS)}",
        )
    if made_on is not None and made_on != chosen:
        raise InputError(
            "backend-differs",
            f"the lab {name} was made on {made_on}, not on {chosen}",
            hint="leave --backend (LAB_BACKEND) out, give the new lab another --name, or run 'lab down' first",
        )
    if chosen == EXISTING:
        from lab.cluster.existing.backend import ExistingCluster  # noqa: PLC0415 - only the backend in use is loaded

        return ExistingCluster(
            name,
            paths=paths,
            kubeconfig=kubeconfig,
            context=context,
            image_registry=image_registry,
            bin_dir=bin_dir,
        )
    if any(option is not None for option in (kubeconfig, context, image_registry)):
        raise InputError(
            "kubeconfig-unused",
            f"the backend {chosen} makes its own cluster and takes no kubeconfig and no image registry",
            hint=f"give --backend {EXISTING} with it",
        )
    return _MADE[chosen](name, paths, bin_dir, definition)


def backend_of(name: str, paths: LabPaths) -> str | None:
    """The backend that a lab was made on; None when there is no such lab."""
    try:
        document = json.loads((paths.labs / name / "lab.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return None  # damaged: whoever reads it next says so
    return str(document.get("backend", DEFAULT_BACKEND))


def list_labs(paths: LabPaths) -> tuple[str, ...]:
    """Names of the labs that have a directory, running or not, sorted."""
    if not paths.labs.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in paths.labs.iterdir() if (entry / "lab.json").is_file()))


def remove_left_over(paths: LabPaths) -> tuple[str, ...]:
    """Remove what labs without a directory have left outside of it; what was removed.

    Raises:
        LabError: Docker holds something of a lab's and does not remove it.
    """
    from lab.cluster.kind.leftovers import remove_left_over as remove  # noqa: PLC0415 - as below

    return remove(paths)


def _embedded(name: str, paths: LabPaths, bin_dir: Path | None, definition: Path | None) -> Cluster:
    from lab.cluster.embedded.backend import EmbeddedCluster  # noqa: PLC0415 - only the backend in use is loaded

    return EmbeddedCluster(name, paths=paths, bin_dir=bin_dir, definition=definition)


def _kind(name: str, paths: LabPaths, bin_dir: Path | None, definition: Path | None) -> Cluster:
    from lab.cluster.kind.backend import KindCluster  # noqa: PLC0415 - as above

    return KindCluster(name, paths=paths, bin_dir=bin_dir, definition=definition)


_MADE: Mapping[str, Callable[[str, LabPaths, Path | None, Path | None], Cluster]] = {
    "embedded": _embedded,
    "kind": _kind,
}
"""Backends that make their own cluster: name to what opens a lab on it."""
BACKENDS = (*_MADE, EXISTING)
