"""``python -m lab.bouncer``: the bouncer without the rest of the lab, as it runs inside a Pod."""

from __future__ import annotations

import sys

import click

from lab.bouncer.cli import bouncer_command
from lab.errors import LabError


def main() -> None:
    """Run the bouncer; an error is told on stderr, with what to do about it."""
    try:
        bouncer_command(prog_name="bouncer")
    except LabError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
