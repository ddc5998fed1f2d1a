"""``python -m tests.sandbox``: see the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import yaml

from lab.errors import LabError
from tests.sandbox import engine
from tests.sandbox.kind_needs import kind_configuration
from tests.sandbox.machine import look


@click.group()
def sandbox() -> None:
    """Set this test machine up for kind."""


@sandbox.command()
def up() -> None:
    """Install and start Docker, unless one answers."""
    engine.up(look(), _say)


@sandbox.command()
def down() -> None:
    """Stop the Docker that `up` started."""
    engine.down(_say)


@sandbox.command(context_settings={"ignore_unknown_options": True})
@click.option("--if-possible", is_flag=True, help="Run it without, and say why, where Docker cannot be had.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(*, if_possible: bool, command: tuple[str, ...]) -> None:
    """Run a command with Docker, which is stopped afterwards if it did not run before."""
    started = False
    if engine.server_version() is None:
        try:
            engine.up(look(), _say)
            started = True
        except LabError as error:
            if not if_possible:
                raise
            _say(f"going on without Docker\n{error}")
    try:
        code = subprocess.run(command, check=False).returncode
    finally:
        if started:
            engine.down(_say)
    sys.exit(code)


@sandbox.command()
def status() -> None:
    """Say what runs, and what the machine lacks."""
    machine, started = look(), engine.running()
    click.echo(f"Docker: {engine.server_version() or 'does not answer'}")
    click.echo(f"started here: {f'process {started.pid}' if started else 'no'}")
    click.echo(f"cgroup version: {1 if machine.cgroup_v1 else 2}")
    click.echo(f"missing capabilities: {', '.join(sorted(machine.missing_capabilities)) or 'none'}")


@sandbox.command("kind-config")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, resolve_path=True))
def kind_config(directory: Path) -> None:
    """Print what a kind cluster needs here, as part of a kind configuration.

    What its node mounts is written to DIRECTORY.
    """
    directory.mkdir(parents=True, exist_ok=True)
    configuration = kind_configuration(look(), directory)
    click.echo(yaml.safe_dump(configuration, sort_keys=False) if configuration else "{}", nl=not configuration)


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    try:
        sandbox()
    except LabError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
