"""``python -m tests.sandbox``: see the package."""

from __future__ import annotations

import os
import sys

import click
import yaml

from lab.errors import LabError
from tests.sandbox import engine
from tests.sandbox.kind_needs import kind_configuration
from tests.sandbox.machine import look


@click.group()
def sandbox() -> None:
    """Set this test machine up for kind."""
    if os.geteuid() != 0:
        raise LabError("sandbox-root", "only root can set a test machine up", hint="run it as root, on a test machine")


@sandbox.command()
def up() -> None:
    """Install and start Docker, unless one answers."""
    engine.up(look(), _say)


@sandbox.command()
def down() -> None:
    """Stop the Docker that `up` started."""
    engine.down(_say)


@sandbox.command()
def status() -> None:
    """Say what runs, and what the machine lacks."""
    machine, started = look(), engine.running()
    click.echo(f"Docker: {engine.server_version() or 'does not answer'}")
    click.echo(f"started here: {f'process {started.pid}' if started else 'no'}")
    click.echo(f"cgroup version: {1 if machine.cgroup_v1 else 2}")
    click.echo(f"missing capabilities: {', '.join(sorted(machine.missing_capabilities)) or 'none'}")


@sandbox.command("kind-config")
def kind_config() -> None:
    """Print what a kind cluster needs here, as part of a kind configuration."""
    engine.DIRECTORY.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration = kind_configuration(look(), engine.DIRECTORY)
    click.echo(yaml.safe_dump(configuration, sort_keys=False) if configuration else "{}", nl=not configuration)


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    try:
        sandbox()
    except LabError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
