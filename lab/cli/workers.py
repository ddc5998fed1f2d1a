"""The labs that a command makes for itself, or the one that it was told to use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lab.cli.labs import find_lab
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.protocol import Cluster

DEFAULT_WORKERS = 2
"""Beyond two labs the machine's processors are what is waited for, unless it has many."""


def is_named(context: click.Context) -> bool:
    """Whether a person named the lab, by ``--name`` or by ``LAB_NAME``."""
    return context.get_parameter_source("name") is not ParameterSource.DEFAULT


def labs_for(
    context: click.Context,
    *,
    name: str | None,
    backend: str | None,
    bin_dir: Path | None,
    workers: int | None,
    tasks: int,
    kubeconfig: Path | None = None,
    kubeconfig_context: str | None = None,
    image_registry: str | None = None,
) -> tuple[Cluster, ...]:
    """The labs to work in: the one that was named, or one of the command's own for each worker.

    Args:
        context: of the command, which is part of the names of its own labs.
        name: of the lab, if one was named; None for a command that takes no name.
        backend: what they run on.
        bin_dir: a directory of the user's own programs.
        workers: how many labs; by default as many as the machine has processors for.
        tasks: how much there is to do; there are no more labs than that.
        kubeconfig: reaches the cluster that they are guests in, if they are.
        kubeconfig_context: one of its contexts.
        image_registry: where that cluster gets the lab's images from.

    Raises:
        click.UsageError: several workers in one lab.
    """
    if name is not None and is_named(context):
        if workers is not None and workers > 1:
            raise click.UsageError(
                f"--workers {workers} needs {workers} labs, and --name (or LAB_NAME) names one: in one lab, the "
                "workers would undo each other's start states",
                ctx=context,
            )
        names: tuple[str, ...] = (name,)
    else:
        count = min(workers or min(os.cpu_count() or 1, DEFAULT_WORKERS), tasks)
        own = f"{context.info_name}-{os.getpid()}"
        names = (own,) if count == 1 else tuple(f"{own}-{number}" for number in range(1, count + 1))
    return tuple(
        find_lab(
            each,
            backend,
            bin_dir=bin_dir,
            kubeconfig=kubeconfig,
            context=kubeconfig_context,
            image_registry=image_registry,
        )
        for each in names
    )


def prepare_files(*files: Path | None) -> None:
    """Make the directories of the reports now: a run of minutes must not end with a report that cannot be written."""
    for file in files:
        if file is None:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "report-directory", f"the report {file} cannot be written: {error}", hint="give another path"
            ) from error
