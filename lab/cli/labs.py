"""Which lab a command is about: the options that say so, and finding it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lab.cluster import backends
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import Cluster

Command = TypeVar("Command", bound="Callable[..., Any]")

NAME_VARIABLE = "LAB_NAME"
BACKEND_VARIABLE = "LAB_BACKEND"

name_option = click.option(
    "--name",
    "-n",
    default=backends.DEFAULT_NAME,
    envvar=NAME_VARIABLE,
    show_default=True,
    show_envvar=True,
    metavar="NAME",
    help="The lab.",
)
long_name_option = click.option(
    "--name",
    default=backends.DEFAULT_NAME,
    envvar=NAME_VARIABLE,
    show_default=True,
    show_envvar=True,
    metavar="NAME",
    help="The lab.",
)
"""Without ``-n``, for a command whose own arguments know an option of that name."""

backend_option = click.option(
    "--backend",
    envvar=BACKEND_VARIABLE,
    show_envvar=True,
    metavar="BACKEND",
    help=f"What the lab runs on: {', '.join(backends.BACKENDS)}.  [default: what it was made on, or "
    f"{backends.DEFAULT_BACKEND}]",
)
bin_dir_option = click.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of your own programs; what it lacks comes from the store.",
)
kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="With --backend existing: reaches the cluster to be a guest in.",
)
context_option = click.option(
    "--context", metavar="NAME", help="Context of that kubeconfig.  [default: its current one]"
)
image_registry_option = click.option(
    "--image-registry",
    metavar="REF",
    help="With --backend existing: HOST[:PORT][/PATH] to push the lab's images to, where the cluster finds them.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def lab_options(command: Command) -> Command:
    """Add ``--name`` and ``--backend``."""
    return name_option(backend_option(command))


def find_lab(
    name: str,
    backend: str | None,
    *,
    bin_dir: Path | None = None,
    config: Path | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    image_registry: str | None = None,
) -> Cluster:
    """The lab that the options name, whether it runs or not.

    Raises:
        InputError: there cannot be such a lab.
    """
    return backends.open_cluster(
        name,
        paths=LabPaths.from_environment(),
        backend=backend,
        bin_dir=bin_dir,
        definition=config,
        kubeconfig=kubeconfig,
        context=context,
        image_registry=image_registry,
    )


def command_line(command: str, name: str) -> str:
    """A command of the lab as a person would type it for a lab: ``lab status -n two``."""
    return f"lab {command}" if name == backends.DEFAULT_NAME else f"lab {command} --name {name}"
