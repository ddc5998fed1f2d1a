"""``lab logs``: what the components of a lab have logged.

The backend copies its logs below a directory (`Cluster.collect_logs`); here they are found by component, the way a
person thinks of them: ``kube-apiserver``, ``supervisor``, ``audit``, a Pod's name.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.labs import command_line, find_lab, lab_options
from lab.cli.output import table, terminal_width
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CONTAINER_LOG = re.compile(r"(?P<namespace>[^_/]+)_(?P<pod>[^_/]+)_[^_/]+/(?P<container>[^/]+)/\d+\.log")
"""Below /var/log/pods, as a kubelet lays it out."""
_CRI_LINE = re.compile(r"(?P<time>\S+) (?:stdout|stderr) (?P<tag>[FP])(?:\S*) ?(?P<text>.*)", re.DOTALL)
"""A line of a container's log; ``P`` marks a piece of a line that goes on in the next one."""

_KILO = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One log.

    Attributes:
        path: where it is.
        component: what wrote it: a container, or a process of the lab.
        source: whose runs it is one of: ``kube-system/kube-apiserver-lab/kube-apiserver``.
        written_s: when it was last written to, in seconds since the epoch.
        aliases: other names that a person may give.
        is_container: whether its lines are those of a container runtime.
    """

    path: Path
    component: str
    source: str
    written_s: float
    aliases: frozenset[str] = frozenset()
    is_container: bool = False


@click.command("logs")
@lab_options
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Show only the last N lines of each log.")
@click.option("--all-runs", is_flag=True, help="Show what ran before the last restart too.")
@click.option("--timestamps", is_flag=True, help="Keep the time before each line of a container's log.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Copy all logs below a directory instead, audit log and manifests included.",
)
@click.argument("component", required=False)
def logs_command(
    *,
    name: str,
    backend: str | None,
    tail: int | None,
    all_runs: bool,
    timestamps: bool,
    output: Path | None,
    component: str | None,
) -> None:
    """Show the logs of a lab's components.

    COMPONENT is a container (kube-apiserver), a Pod, or a process of the lab (supervisor); without it, the logs that
    there are are listed. A container that was restarted has a log for each run; the last one is shown.
    """
    cluster = find_lab(name, backend)
    if output is not None:
        if component is not None:
            raise InputError("options-exclude-each-other", "--output copies all logs", hint="leave COMPONENT out")
        cluster.collect_logs(output)
        click.echo(str(output))
        return
    with tempfile.TemporaryDirectory(prefix="lab-logs-") as directory:
        cluster.collect_logs(Path(directory))
        logs = find_logs(Path(directory))
        if not logs:
            raise LabError(
                "no-logs", f"the lab {name} has no logs", hint=f"bring it up with '{command_line('up', name)}'"
            )
        if component is None:
            lines: Iterable[str] = _listing(logs)
        else:
            chosen = _select(logs, component)
            lines = _contents(chosen if all_runs else _last_runs(chosen), tail=tail, timestamps=timestamps)
        for line in lines:
            click.echo(line)


def find_logs(root: Path) -> tuple[LogFile, ...]:
    """The logs below a directory that a backend has filled, by component, earlier runs first."""
    logs = [_log_file(path, root) for path in root.rglob("*.log") if path.is_file()]
    return tuple(sorted(logs, key=lambda log: (log.component, log.source, log.written_s)))


def plain_lines(lines: Iterable[str], *, timestamps: bool) -> Iterator[str]:
    """The lines of a container's log as the container wrote them: without runtime's marks, pieces joined."""
    pending = ""
    for line in lines:
        match = _CRI_LINE.fullmatch(line)
        if match is None:
            yield pending + line
            pending = ""
            continue
        pending = pending or (f"{match['time']} " if timestamps else "")
        pending += match["text"]
        if match["tag"] == "F":
            yield pending
            pending = ""
    if pending:
        yield pending


def _log_file(path: Path, root: Path) -> LogFile:
    below = path.relative_to(root).as_posix()
    match = _CONTAINER_LOG.search(below)
    if match is None:
        return LogFile(path=path, component=path.stem, source=below, written_s=path.stat().st_mtime)
    return LogFile(
        path=path,
        component=match["container"],
        source=f"{match['namespace']}/{match['pod']}/{match['container']}",
        written_s=path.stat().st_mtime,
        aliases=frozenset({match["pod"], f"{match['namespace']}/{match['pod']}"}),
        is_container=True,
    )


def _select(logs: Sequence[LogFile], wanted: str) -> list[LogFile]:
    """The logs that a person means.

    Raises:
        InputError: ``log-unknown``, with the nearest names.
    """
    chosen = [log for log in logs if wanted == log.component or wanted in log.aliases]
    if chosen:
        return chosen
    names = sorted({name for log in logs for name in (log.component, *log.aliases)})
    near = difflib.get_close_matches(wanted, names, n=3)
    components = ", ".join(sorted({log.component for log in logs}))
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from: {components}"
    raise InputError("log-unknown", f"there is no log of {wanted!r}", hint=hint)


def _last_runs(logs: Sequence[LogFile]) -> list[LogFile]:
    """The newest log of each container; a Pod that was made anew under its name is the same to a person."""
    return list({log.source: log for log in logs}.values())


def _listing(logs: Sequence[LogFile]) -> list[str]:
    rows = []
    for last in _last_runs(logs):
        runs = [log for log in logs if log.source == last.source]
        rows.append((last.component, str(len(runs)), _size(last.path.stat().st_size), last.source))
    return table(("COMPONENT", "RUNS", "SIZE", "LOG"), rows, width=terminal_width())


def _size(size: int) -> str:
    return f"{size} B" if size < _KILO else f"{size / _KILO:,.0f} kB"


def _contents(logs: Sequence[LogFile], *, tail: int | None, timestamps: bool) -> Iterator[str]:
    for number, log in enumerate(logs):
        if len(logs) > 1:
            yield from ([""] if number else [])
            yield click.style(f"==> {log.source} <==", bold=True)
        lines = log.path.read_text(encoding="utf-8", errors="replace").split("\n")
        shown = lines[:-1] if lines[-1] == "" else lines
        if log.is_container:
            shown = list(plain_lines(shown, timestamps=timestamps))
        yield from shown if tail is None else shown[len(shown) - min(tail, len(shown)) :]
