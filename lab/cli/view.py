"""``lab status`` and ``lab list``: what there is, for a person and for a program."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from lab.cli.labs import command_line, find_lab, json_option, lab_options
from lab.cli.output import facts, megabytes, phase_word, shortened, table, terminal_width
from lab.cluster import backends
from lab.errors import EXIT_FAILED, LabError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.cluster.protocol import ApiServerStatus, ClusterStatus, ProcessStatus


@click.command("status")
@lab_options
@json_option
@click.pass_context
def status_command(context: click.Context, *, name: str, backend: str | None, as_json: bool) -> None:
    """Show a lab as it is now.

    Memory is the proportional set size (PSS): what several processes share is counted once. The exit code is 0 when
    the lab runs, and 1 when it is starting, broken or stopped.
    """
    status = find_lab(name, backend).status()
    if as_json:
        click.echo(json.dumps(status_as_json(status), indent=2))
    else:
        for line in render_status(status, width=terminal_width()):
            click.echo(line)
    if status.phase != "running":
        context.exit(EXIT_FAILED)


@click.command("list")
@json_option
def list_command(*, as_json: bool) -> None:
    """List the labs of this user.

    A lab whose state cannot be read is listed as unreadable, and the reason is told.
    """
    paths = LabPaths.from_environment()
    statuses, problems = _read_all(backends.list_labs(paths))
    if as_json:
        unreadable = [{"name": name, "phase": "unreadable", "problem": why} for name, why in problems.items()]
        click.echo(json.dumps([*map(status_as_json, statuses), *unreadable], indent=2))
        return
    rows = [_row(status) for status in statuses]
    rows += [(name, backends.backend_of(name, paths) or "-", "unreadable", "-", "-", "-") for name in problems]
    if not rows:
        click.echo("there is no lab; 'lab up' makes one", err=True)
        return
    for line in table(("NAME", "BACKEND", "PHASE", "STATE", "SERVER", "MEMORY"), rows, width=terminal_width()):
        click.echo(line)
    for name, why in problems.items():
        click.echo(f"{name}: {why}", err=True)


def status_as_json(status: ClusterStatus) -> dict[str, Any]:
    """A status for programs: its own fields, and the sum of the memory."""
    return {**dataclasses.asdict(status), "pss_bytes": status.pss_bytes}


def render_status(status: ClusterStatus, *, width: int | None) -> list[str]:
    """A status for a person, as lines.

    Args:
        status: the status.
        width: columns of the terminal; None for any.
    """
    if status.phase == "stopped":
        return [
            *facts({"lab": f"{status.name}, {phase_word(status.phase)}", "backend": status.backend}),
            *_notes(status.notes),
            f"'{command_line('up', status.name)}' brings it up",
        ]
    lines = facts(
        {
            "lab": f"{status.name}, {phase_word(status.phase)}",
            "backend": status.backend,
            "start state": status.state,
            "server": status.server or "-",
            "API server": _api_server(status.api_server),
        }
    )
    if status.api_server.error:
        lines += ["", click.style("the API server's own error", fg="red", bold=True)]
        lines += [f"  {line}" for line in status.api_server.error.splitlines()]
    return [*lines, *_memory(status, width=width), *_notes(status.notes)]


def _api_server(api_server: ApiServerStatus) -> str:
    times = "once" if api_server.restarts == 1 else f"{api_server.restarts} times"
    restarted = f", restarted {times} after it ended by itself" if api_server.restarts else ""
    return phase_word(api_server.state) + restarted


def _memory(status: ClusterStatus, *, width: int | None) -> list[str]:
    if not status.processes:
        return []
    rows = [("MEMORY", "PID", "PROCESS")]
    rows += [(megabytes(p.pss_bytes), str(p.pid), p.name) for p in _by_memory(status.processes)]
    total = megabytes(status.pss_bytes)
    unknown = sum(process.pss_bytes is None for process in status.processes)
    first, second = (max(len(cells[column]) for cells in [*rows, (total, "")]) for column in (0, 1))
    room = None if width is None else width - first - second - 4
    lines = [f"{m.rjust(first)}  {pid.rjust(second)}  {shortened(name, width=room)}" for m, pid, name in rows]
    missing = f", without {unknown} that cannot be read" if unknown else ""
    return ["", *lines, f"{total.rjust(first)}  {'':{second}}  sum of {len(status.processes)} processes{missing}"]


def _by_memory(processes: Iterable[ProcessStatus]) -> list[ProcessStatus]:
    return sorted(processes, key=lambda process: (-(process.pss_bytes or 0), process.name))


def _notes(notes: Sequence[str]) -> list[str]:
    return ["", *(click.style("note", fg="yellow", bold=True) + f": {note}" for note in notes)] if notes else []


def _read_all(names: Iterable[str]) -> tuple[list[ClusterStatus], dict[str, str]]:
    statuses, problems = [], {}
    for name in names:
        try:
            statuses.append(find_lab(name, None).status())
        except LabError as error:
            problems[name] = error.message
    return statuses, problems


def _row(status: ClusterStatus) -> tuple[str, ...]:
    memory = megabytes(status.pss_bytes) if status.processes else "-"
    return (status.name, status.backend, status.phase, status.state or "-", status.server or "-", memory)
