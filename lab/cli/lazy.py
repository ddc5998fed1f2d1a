"""A click group that knows its commands by name and summary, and imports one only when it is called.

The summaries stand in the group, so that its help needs no import; a test compares them with the commands' own.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyCommand:
    """A command that is not imported yet.

    Attributes:
        target: ``module:attribute`` of the `click.Command`.
        summary: first sentence of its help, without the full stop.
    """

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import it."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    Args:
        sections: heading to commands by name, in the order of the help.
        settings: those of `click.Group`.
    """

    def __init__(self, *, sections: Mapping[str, Mapping[str, LazyCommand]], **settings: Any) -> None:
        super().__init__(**settings)
        self.sections = sections
        self.lazy = {name: command for section in sections.values() for name, command in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of all commands, in the order of the help."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command; None when there is none of that name."""
        command = self.lazy.get(cmd_name)
        return None if command is None else command.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; an unknown one is told with its nearest names."""
        name = args[0]
        if name in self.lazy or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, self.lazy, n=3)
        suffix = f"; did you mean {' or '.join(near)}?" if near else ""
        raise click.UsageError(f"there is no command {name!r}{suffix}", ctx=ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the sections of the help without importing a command."""
        width = max(len(name) for name in self.lazy)
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), command.summary) for name, command in commands.items()])
