"""``lab start``, ``task``, ``check``, ``hint``, ``solution``: a scenario as practice for a person."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from lab.cli.labs import bin_dir_option, command_line, find_lab, json_option, lab_options
from lab.cli.output import facts, progress_lines
from lab.cli.scenarios import load_scenario, scenarios_option
from lab.errors import EXIT_OK, InputError
from lab.paths import LabPaths
from lab.practice.record import RecordFile

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from lab.cluster.protocol import Cluster
    from lab.practice.record import Attempt, Record
    from lab.practice.session import Practice
    from lab.scenario.load import Scenario

INSIDE_VARIABLE = "LAB_INSIDE"
"""Set where a command was typed on a lab's node; there is a shell already."""

DEFAULT_PATIENCE_S = 0.5
"""Who asks to be graded has mostly waited already; a change that takes longer is told, and asked about again."""

_yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")


@click.command("start")
@lab_options
@scenarios_option
@bin_dir_option
@click.option("--no-shell", is_flag=True, help="Do not open a shell on the node.")
@_yes_option
@click.argument("scenario_name", metavar="SCENARIO")
def start_command(
    *,
    name: str,
    backend: str | None,
    root: Path | None,
    bin_dir: Path | None,
    no_shell: bool,
    yes: bool,
    scenario_name: str,
) -> None:
    """Start a scenario as practice.

    The lab is brought up if it does not run, and put into the scenario's start state: what was done to it is lost, so
    it asks first. Then the task is shown, and in a terminal a shell opens on the node. The time runs from then on.
    """
    scenario = load_scenario(root, scenario_name)
    cluster = find_lab(name, backend, bin_dir=bin_dir)
    records = _records(name)
    before = records.load()
    if not yes:
        _ask_about_work(cluster, before)
    began = time.monotonic()
    attempt = _practice(cluster, records).begin(scenario, progress=progress_lines())
    click.echo(f"{name} is ready after {time.monotonic() - began:.1f} s", err=True)
    _tell_of_past(before.ended(), scenario)
    _show_task(scenario, attempt)
    opens_shell = at_a_terminal() and not no_shell and INSIDE_VARIABLE not in os.environ
    click.echo()
    _show_commands(name, shell=opens_shell)
    if opens_shell:
        cluster.node_shell()
        click.echo(f"'{command_line('node shell', name)}' goes back, '{command_line('check', name)}' grades")


@click.command("task")
@lab_options
def task_command(*, name: str, backend: str | None) -> None:
    """Show the task that was started, and the time used."""
    del backend  # the task is known without the lab
    _, attempt, scenario = _under_way(name)
    _show_task(scenario, attempt)


@click.command("check")
@lab_options
@click.option(
    "--wait",
    "patience_s",
    type=click.FloatRange(min=0),
    default=DEFAULT_PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to look again at what is not as it must be, for a change that takes a while.",
)
@json_option
@click.pass_context
def check_command(context: click.Context, *, name: str, backend: str | None, patience_s: float, as_json: bool) -> None:
    """Grade what was done so far.

    It looks at what the cluster does: each check brings points, and one that fails says what was expected and what was
    seen. The exit code is 0 with full points, and 1 without.
    """
    records, attempt, scenario = _under_way(name)
    graded = _practice(find_lab(name, backend), records).check(attempt, scenario, patience_s=patience_s)
    attempt = records.load().current or attempt
    from lab.practice import clock  # noqa: PLC0415

    if as_json:
        from lab.practice.json_report import json_report  # noqa: PLC0415

        allowed = scenario.document.metadata.time_minutes
        click.echo(json_report(graded, attempt, used_s=attempt.used_s(clock.now()), allowed_minutes=allowed))
    else:
        from lab.practice.terminal import print_grade  # noqa: PLC0415 - it prints with rich

        print_grade(graded, scenario, attempt, _console(), now=clock.now())
    if graded.exit_code != EXIT_OK:
        context.exit(graded.exit_code)


@click.command("hint")
@lab_options
def hint_command(*, name: str, backend: str | None) -> None:
    """Give the next hint.

    Hints are counted. When there is no further one, all are shown.
    """
    records, attempt, scenario = _under_way(name)
    hint = _practice(find_lab(name, backend), records).hint(attempt, scenario)
    from lab.practice.terminal import print_hint  # noqa: PLC0415

    print_hint(hint, scenario, _console())


@click.command("solution")
@lab_options
@_yes_option
def solution_command(*, name: str, backend: str | None, yes: bool) -> None:
    """Show the solution of the scenario that was started.

    It asks first; that the solution was shown is noted.
    """
    records, attempt, scenario = _under_way(name)
    if not yes and not _confirmed(f"show the solution of {scenario.name}?"):
        click.echo("the solution was not shown", err=True)
        return
    script = _practice(find_lab(name, backend), records).show_solution(attempt, scenario)
    from lab.practice.terminal import print_solution  # noqa: PLC0415

    print_solution(script, _console())


def reset_attempt(cluster: Cluster) -> Attempt | None:
    """Put back the start state of the scenario that was started in a lab; None when there is none."""
    records = _records(cluster.name)
    attempt = records.load().current
    if attempt is not None:
        from lab.practice.session import scenario_of  # noqa: PLC0415

        _practice(cluster, records).put_back(attempt, scenario_of(attempt), progress=progress_lines())
    return attempt


def end_attempt(name: str) -> None:
    """Note that the start state of what was started in a lab is gone, and say so."""
    attempt = _records(name).end_attempt()
    if attempt is not None:
        graded = f", {attempt.points} of {attempt.possible} points" if attempt.checked_at else ""
        click.echo(f"the practice of {attempt.scenario} has ended{graded}", err=True)


def at_a_terminal() -> bool:
    """Whether a person can be asked, and given a shell."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _records(name: str) -> RecordFile:
    return RecordFile.of(name, LabPaths.from_environment())


def _practice(cluster: Cluster, records: RecordFile) -> Practice:
    from lab.practice.session import Practice  # noqa: PLC0415 - its libraries are heavy

    return Practice(cluster, records=records)


def _under_way(name: str) -> tuple[RecordFile, Attempt, Scenario]:
    """The record of a lab, the attempt under way in it, and its scenario."""
    from lab.practice.session import scenario_of, under_way  # noqa: PLC0415

    records = _records(name)
    attempt = under_way(records, lab=name)
    return records, attempt, scenario_of(attempt)


def _ask_about_work(cluster: Cluster, record: Record) -> None:
    """Ask before the work in a lab that runs is thrown away; what is solved is not missed."""
    status = cluster.status()
    if status.phase == "stopped" or (record.current is not None and record.current.solved_at is not None):
        return
    inside = f"the practice of {record.current.scenario}" if record.current is not None else "what was done in it"
    if not _confirmed(f"the lab {status.name} runs; throw {inside} away?"):
        raise InputError(
            "lab-in-use",
            f"the lab {status.name} is left as it is",
            hint="start the scenario in another lab with --name",
        )


def _confirmed(question: str) -> bool:
    """The answer of the person at the terminal.

    Raises:
        InputError: ``nobody-to-ask``.
    """
    if not at_a_terminal():
        raise InputError("nobody-to-ask", f"there is no terminal to ask at: {question}", hint="say --yes")
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        raise KeyboardInterrupt from abort


def _tell_of_past(record: Record, scenario: Scenario) -> None:
    best = record.best(scenario.name)
    if best is None or best.checked_at is None:
        return
    from lab.practice.clock import duration  # noqa: PLC0415

    hints = f" with {best.hints} hint{'s' if best.hints > 1 else ''}" if best.hints else ""
    how = f"{best.points} of {best.possible} points in {duration(best.used_s(best.checked_at))}{hints}"
    click.echo(f"your best so far: {how}", err=True)


def _show_task(scenario: Scenario, attempt: Attempt) -> None:
    from lab.practice import clock  # noqa: PLC0415
    from lab.practice.terminal import print_task  # noqa: PLC0415 - it prints with rich

    print_task(scenario, attempt, _console(), now=clock.now())


def _show_commands(name: str, *, shell: bool) -> None:
    commands = {} if shell else {command_line("node shell", name): "root on the node, where the task is done"}
    commands |= {
        command_line("check", name): "points so far",
        command_line("hint", name): "the next hint",
        command_line("task", name): "the task again, and the time used",
        command_line("reset", name): "the start state again",
    }
    for line in facts(commands):
        click.echo(f"  {line}")


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(highlight=False)
