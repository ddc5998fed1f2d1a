"""The reference must not fall behind the command, nor run ahead of it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from lab.cli import cli
from lab.cli.root import SECTIONS

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference-cli.md").read_text()
COMMON = {"--name", "-n", "--backend", "--help", "-h"}
COMMANDS = [
    name
    for section in SECTIONS.values()
    for name in section
    if name not in ("bouncer", "components", "images", "bench")
]


def section(name: str) -> str:
    """What the reference says of a command."""
    match = re.search(rf"^### `lab {name}`\n(.*?)(?=^##|\Z)", REFERENCE, flags=re.MULTILINE | re.DOTALL)
    assert match is not None, f"the reference has no section on lab {name}"
    return match[1]


def options(command: click.Command) -> set[str]:
    """Every option of a command and of those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {opt for param in command.params if isinstance(param, click.Option) for opt in param.opts}
    return own.union(*map(options, below))


@pytest.mark.parametrize("name", [name for section in SECTIONS.values() for name in section])
def test_every_command_has_a_section(name: str) -> None:
    assert section(name).strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_names_exactly_the_options_that_there_are(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    synopsis = section(name).split("\n\n")[0]

    assert set(re.findall(r"--[a-z][a-z-]*", synopsis)) - COMMON == options(command) - COMMON


def test_the_options_of_the_command_itself_are_named() -> None:
    assert all(f"`{option}`" in REFERENCE for option in options(cli) - COMMON)
