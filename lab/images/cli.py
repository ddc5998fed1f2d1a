"""``lab images``: the workload images that the lab makes itself."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.group("images")
def images_group() -> None:
    """The images that run on the kind backend, made without a registry."""


@images_group.command("build")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    help="Directory of your own programs; what it lacks comes from the store.",
)
def build_command(*, images: tuple[str, ...], bin_dir: Path | None) -> None:
    """Make images that run and have the lab's registry serve them; all that there are when no IMAGE is given.

    They are made of the pinned programs, Debian packages from the mirror of this machine's apt, and Python packages.
    What has been made before is not made again. A lab on kind that needs one makes it by itself.
    """
    from lab.components.cli import progress_printer  # noqa: PLC0415
    from lab.components.progress import duration  # noqa: PLC0415
    from lab.images.workloads import WorkloadImages  # noqa: PLC0415
    from lab.paths import LabPaths  # noqa: PLC0415

    started_s = time.monotonic()
    with progress_printer() as progress:
        workloads = WorkloadImages(LabPaths.from_environment(), bin_dir=bin_dir, progress=progress)
        made = workloads.ensure(images) if images else workloads.ensure_all()
    for name in made:
        click.echo(name)
    click.echo(f"{len(made)} images run, {duration(time.monotonic() - started_s)}", err=True)
