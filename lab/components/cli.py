"""``lab components``: what the lab is made of, and fetching it ahead of time."""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.components.catalog import ComponentInfo

_bin_dir_option = click.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    help="Directory of your own programs; what it lacks comes from the store.",
)


@click.group("components")
def components_group() -> None:
    """The pinned third-party programs that a lab runs."""


@components_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--verify", is_flag=True, help="Compute the sha256 of every file instead of comparing size and time.")
@_bin_dir_option
def list_components(*, as_json: bool, verify: bool, bin_dir: Path | None) -> None:
    """Show each program: version, state, source, size, path."""
    from lab.components.catalog import Components  # noqa: PLC0415
    from lab.paths import LabPaths  # noqa: PLC0415

    infos = Components(LabPaths.from_environment(), bin_dir=bin_dir).list(thorough=verify)
    if as_json:
        rows = [{**dataclasses.asdict(info), "path": str(info.path)} for info in infos]
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(infos)


@components_group.command("fetch")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_bin_dir_option
def fetch_components(*, names: tuple[str, ...], bin_dir: Path | None) -> None:
    """Download or build programs into the store; without a NAME, those that need no Docker."""
    from lab.components.catalog import Components  # noqa: PLC0415
    from lab.components.pins import EVERY_LAB  # noqa: PLC0415
    from lab.components.progress import duration  # noqa: PLC0415
    from lab.paths import LabPaths  # noqa: PLC0415

    started_s = time.monotonic()
    with progress_printer() as progress:
        components = Components(LabPaths.from_environment(), bin_dir=bin_dir, progress=progress)
        paths = components.ensure(*(names or EVERY_LAB))
    for path in paths.values():
        click.echo(str(path))
    click.echo(f"{len(paths)} ready, {duration(time.monotonic() - started_s)}", err=True)


@contextmanager
def progress_printer() -> Iterator[Callable[[str], None]]:
    """A callback that shows progress on standard error.

    In a terminal every line stays and the last one is repeated below with a spinner and its time; elsewhere lines
    only, one about every 12 seconds.
    """
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda line: click.echo(line, err=True)
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None)
        shown = ""

        def show(line: str) -> None:
            nonlocal shown
            subject = line.partition(": ")[0]
            if subject != shown:
                display.reset(task)  # the clock is the subject's
                shown = subject
            display.update(task, description=line)
            console.print(line, markup=False)

        yield show


def _print_table(infos: tuple[ComponentInfo, ...]) -> None:
    """Aligned columns; the path comes last and is never wrapped, so that it can be copied."""
    rows = [("NAME", "VERSION", "STATE", "SOURCE", "SIZE", "PATH")]
    for info in infos:
        size = f"{info.size / 1e6:.0f} MB" if info.size else "-"
        rows.append((info.name, info.version, info.state, info.source or "-", size, str(info.path)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for *cells, path in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), path]))
    for info in infos:
        if info.problem:
            click.echo(f"{info.name}: {info.problem}", err=True)
