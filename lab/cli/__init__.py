"""The command ``lab``: thin. It parses, calls the rooms, and maps errors to exit codes.

    root        the command itself: its list of commands, its errors, signals and exit codes
    lazy        a group that imports a command's module only when the command is called
    failures    an error as a person reads it
    output      progress, tables and memory sizes for a person
    labs        the options that say which lab is meant; finding it
    lifecycle   up, down, reset
    view        status, list
    access      kubeconfig, kubectl, node
    logs        logs
    practice    start, task, check, hint, solution
    scenarios   scenarios; the option that says where they lie; finding them
    replay      run

``lab --help`` imports nothing but click: a person who asks for help gets it at once.
"""

from __future__ import annotations

from lab.cli.root import cli

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command of this process's arguments and exit with its code."""
    cli.main(prog_name="lab")
