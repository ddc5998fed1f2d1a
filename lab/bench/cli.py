"""``lab bench``: how fast a lab is on this machine, beside what else makes a cluster here."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.bench.measurements import Bench, Measurement, measure
from lab.cli.labs import json_option
from lab.cli.output import progress_lines, terminal_width
from lab.paths import LabPaths

if TYPE_CHECKING:
    from lab.bench.report import BenchReport
    from lab.components import Components

_NAMES = [measurement.value for measurement in Measurement]
_MOST_ROUNDS = 100


@click.command("bench")
@click.argument("names", nargs=-1, type=click.Choice(_NAMES), metavar=f"[{'|'.join(_NAMES)}]...")
@click.option(
    "--repetitions",
    "-n",
    "rounds",
    type=click.IntRange(1, _MOST_ROUNDS),
    default=3,
    show_default=True,
    help="How often each thing is measured.",
)
@json_option
def bench_command(*, names: tuple[str, ...], rounds: int, as_json: bool) -> None:
    """Measure how fast a lab is.

    Each figure stands beside that of a peer, measured in turns in the same run; a peer that is not here is told. All
    is measured unless some are named. A missed target is no error: the exit code is 0.
    """
    from lab.bench.rendering import render  # noqa: PLC0415

    report = run_bench([Measurement(name) for name in names] or list(Measurement), rounds=rounds)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        for line in render(report, width=terminal_width()):
            click.echo(line)


def _kind_program(components: Components) -> Path | None:
    on_path = shutil.which("kind")
    return components.path("kind") or (Path(on_path) if on_path else None)


def run_bench(chosen: list[Measurement], *, rounds: int) -> BenchReport:
    """Measure with a lab of its own name in this user's directories.

    Raises:
        LabError: something that was to be measured could not be run.
    """
    from lab.bench import machine  # noqa: PLC0415
    from lab.bench.peers import Kind, Kwokctl  # noqa: PLC0415
    from lab.bench.report import BenchReport  # noqa: PLC0415
    from lab.bench.subject import LabSubject  # noqa: PLC0415
    from lab.cluster.backends import open_cluster  # noqa: PLC0415
    from lab.components import Components  # noqa: PLC0415

    paths = LabPaths.from_environment()
    name = f"bench-{os.getpid()}"
    before = machine.describe()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    components = Components(paths)
    programs = {each: path for each in Kwokctl.COMPONENTS if (path := components.path(each)) is not None}
    paths.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=paths.state) as scratch:
        kind = _kind_program(components)
        bench = Bench(
            subject=LabSubject(open_cluster(name, paths=paths, backend="embedded")),
            on_kind=LabSubject(open_cluster(f"{name}-kind", paths=paths, backend="kind")),
            kwokctl=Kwokctl(programs, Path(scratch)),
            kind=Kind(name, Path(scratch), kind),
            kind_unready=Kind(name, Path(scratch), kind, wait=None),
            kind_working=Kind(name, Path(scratch), kind, wait=None, kubectl=components.path("kubectl")),
            rounds=rounds,
            progress=progress_lines(),
        )
        try:
            rows = measure(bench, chosen)
        finally:
            # Each measurement removes its lab; this is for an interrupt that came just before it could begin to.
            bench.subject.down()
            if not bench.kind.missing():
                bench.on_kind.down()
    return BenchReport(started=started, rounds=rounds, machine=machine.at_the_end(before), rows=rows)
