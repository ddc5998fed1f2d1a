"""The command of CI: ``python -m ci COMMAND``. What it prints on standard output is for a workflow's files."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ci import junit, matrix, night, summary
from ci.programs import CONTROL_PLANE_BEFORE, LINTERS, gather
from lab.components import Components
from lab.components.cli import progress_printer
from lab.errors import EXIT_OK, LabError
from lab.parity import changes
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab.components.pins import Component

WORKFLOWS = Path(__file__).parents[1] / ".github" / "workflows"


def main(argv: Sequence[str] | None = None) -> int:
    """Do it; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except LabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ci", description="What only the project's own CI needs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    found = commands.add_parser("night", help="print a night's verdict table and what changed, as Markdown")
    found.add_argument("night", type=Path, metavar="DIR", help="what make verdicts has left")
    found.add_argument("--since", type=Path, required=True, metavar="DIR", help="the night before; need not be there")
    found.add_argument("--issue", type=Path, required=True, metavar="FILE", help="written if a verdict changed")
    found.set_defaults(run=_night)
    tests = commands.add_parser("tests", help="print how the tests went, as Markdown")
    tests.add_argument("junit", type=Path, metavar="FILE", help="pytest's --junitxml")
    tests.set_defaults(run=_tests)
    entries = commands.add_parser("matrix", help="print what a night replays, as an output of a workflow's step")
    entries.set_defaults(run=_matrix)
    kubernetes = commands.add_parser("kubernetes", help="gather the Kubernetes before the pinned one")
    kubernetes.add_argument("directory", type=Path, metavar="DIR", help="for lab --bin-dir DIR")
    kubernetes.set_defaults(run=_kubernetes)
    lint = commands.add_parser("lint", help="check the workflows with actionlint")
    lint.add_argument("workflows", nargs="*", type=Path, metavar="FILE", help="instead of all of the project's")
    lint.set_defaults(run=_lint)
    return parser


def _night(arguments: argparse.Namespace) -> int:
    new, old = night.read(arguments.night), night.before(arguments.since)
    found = changes.between(old.scenarios, new.scenarios)
    arguments.issue.unlink(missing_ok=True)
    if found:
        arguments.issue.write_text(summary.issue(old, new, found), encoding="utf-8")
    sys.stdout.write(
        (summary.issue(old, new, found) if found else summary.no_change(old)) + "\n" + summary.summary(new)
    )
    return EXIT_OK


def _tests(arguments: argparse.Namespace) -> int:
    sys.stdout.write(junit.summary_of_tests(arguments.junit))
    return EXIT_OK


def _matrix(_arguments: argparse.Namespace) -> int:
    entries = matrix.entries()
    sys.stdout.write(f"matrix={json.dumps({'include': entries})}\n")
    return EXIT_OK


def _kubernetes(arguments: argparse.Namespace) -> int:
    with progress_printer() as progress:
        gather(_components(CONTROL_PLANE_BEFORE, progress), arguments.directory)
    return EXIT_OK


def _lint(arguments: argparse.Namespace) -> int:
    with progress_printer() as progress:
        program = _components(LINTERS, progress).ensure("actionlint")["actionlint"]
    files = arguments.workflows or sorted(WORKFLOWS.glob("*.yaml"))
    # Without shellcheck and pyflakes, which a machine may have or not: a step runs make, and no script.
    argv = [str(program), "-no-color", "-shellcheck=", "-pyflakes=", *map(str, files)]
    return subprocess.run(argv, check=False).returncode


def _components(pins: Mapping[str, Component], progress: Callable[[str], None]) -> Components:
    return Components(LabPaths.from_environment(), pins=pins, progress=progress)


if __name__ == "__main__":
    sys.exit(main())
