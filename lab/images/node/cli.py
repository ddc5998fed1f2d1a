"""``lab node-image``: a node for kind without an image registry."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.group("node-image")
def node_image_group() -> None:
    """A node image for kind, made without a registry."""


@node_image_group.command("build")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file instead of to Docker."
)
@click.option("--fresh-packages", is_flag=True, help="Install the packages anew, as the mirror has them now.")
@click.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    help="Directory of your own programs; what it lacks comes from the store.",
)
def build_command(*, output: Path | None, fresh_packages: bool, bin_dir: Path | None) -> None:
    """Make a node image for kind and give it to Docker.

    Its parts are Debian packages from the mirror of this machine's apt, and the pinned programs. What has not changed
    since the last time is not made again. Prints the image's name.
    """
    from lab.components import Components  # noqa: PLC0415
    from lab.components.cli import progress_printer  # noqa: PLC0415
    from lab.components.progress import duration  # noqa: PLC0415
    from lab.images.node import build_node_image, engine, load_node_image  # noqa: PLC0415
    from lab.images.node.tarballs import write  # noqa: PLC0415
    from lab.paths import LabPaths  # noqa: PLC0415

    if output is None:
        engine.require()
    started_s = time.monotonic()
    paths = LabPaths.from_environment()
    with progress_printer() as progress:
        components = Components(paths, bin_dir=bin_dir, progress=progress)
        image = build_node_image(paths, components, progress=progress, fresh_packages=fresh_packages)
        if output is not None:
            write(output, image.archive())
            done = f"written to {output}"
        else:
            done = "given to Docker" if load_node_image(image, progress=progress) else "Docker has it already"
    click.echo(image.name)
    click.echo(f"{done}, {duration(time.monotonic() - started_s)}", err=True)
