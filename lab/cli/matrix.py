"""``lab matrix``: every way in for an image, against everybody who may decide about it, measured."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.labs import bin_dir_option, lab_options
from lab.cli.practice import end_attempt
from lab.cli.workers import is_named, labs_for, prepare_files
from lab.errors import EXIT_COULD_NOT_RUN, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.cluster.protocol import Cluster
    from lab.matrix.measure import Measured
    from lab.matrix.model import Matrix, Row, Workload
    from lab.matrix.points import DecisionPoint
    from lab.scenario.load import Scenario
    from lab.scenario.run import Event


@click.command("matrix")
@lab_options
@click.option(
    "--point", "points", multiple=True, metavar="NAME", help="A decision point; give it again for more.  [default: all]"
)
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Pod, Deployment, Job or CronJob.  [default: all]")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Labs to measure in side by side.  [default: 2, or 1 with one CPU or with --name]",
)
@click.option("--keep", is_flag=True, help="Leave the labs that were made for it.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with the details of every cell.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a JSON report."
)
@bin_dir_option
@click.pass_context
def matrix_command(
    context: click.Context,
    *,
    name: str,
    backend: str | None,
    points: tuple[str, ...],
    kinds: tuple[str, ...],
    workers: int | None,
    keep: bool,
    html_file: Path | None,
    json_file: Path | None,
    bin_dir: Path | None,
) -> None:
    """Measure who decides about an image, wherever it stands.

    An untrusted image tries every way into a cluster, in a container, an init container, an ephemeral container or an
    image volume, of a Pod, a Deployment, a Job or a CronJob, at one decision point after the other. Each cell of the
    table is a request to a real API server.

    Labs are made for it and removed afterwards. With --name (or LAB_NAME) a lab of that name is used if it runs, and
    stays; what was done to it is lost.

    The exit code is 0 when every cell was measured, whatever it says, and 3 when one could not be.
    """
    from lab.matrix.measure import check_can_measure  # noqa: PLC0415 - its libraries are heavy
    from lab.matrix.model import Finding, rows_of  # noqa: PLC0415

    chosen = _points(points)
    rows = rows_of(_workloads(kinds))
    prepare_files(html_file, json_file)
    labs = labs_for(context, name=name, backend=backend, bin_dir=bin_dir, workers=workers, tasks=len(chosen))
    for cluster in labs:
        check_can_measure(cluster, points=len(chosen))
    if is_named(context):
        end_attempt(name)  # the start states of the decision points are put into the lab
    matrix = _measure(chosen, rows, labs, keep=keep)
    _report(matrix, html_file=html_file, json_file=json_file)
    if any(cell.finding is Finding.UNKNOWN for cell in matrix.cells):
        context.exit(EXIT_COULD_NOT_RUN)


def _points(names: Sequence[str]) -> tuple[DecisionPoint, ...]:
    from lab.matrix.points import KEYS, POINTS  # noqa: PLC0415

    for name in names:
        if name not in KEYS:
            raise InputError(
                "decision-point-unknown", f"there is no decision point {name!r}", hint=f"write one of {', '.join(KEYS)}"
            )
    return tuple(point for point in POINTS if not names or point.column.key in names)


def _workloads(names: Sequence[str]) -> tuple[Workload, ...]:
    from lab.matrix.model import Workload  # noqa: PLC0415

    known = {workload.lower(): workload for workload in Workload}
    for name in names:
        if name.lower() not in known:
            raise InputError(
                "kind-unknown", f"the matrix has no kind {name!r}", hint=f"write one of {', '.join(Workload)}"
            )
    wanted = {known[name.lower()] for name in names}
    return tuple(workload for workload in Workload if not names or workload in wanted)


def _measure(points: Sequence[DecisionPoint], rows: Sequence[Row], labs: Sequence[Cluster], *, keep: bool) -> Matrix:
    from lab.cli.watching import watching  # noqa: PLC0415
    from lab.matrix.measure import measure  # noqa: PLC0415
    from lab.matrix.model import Matrix  # noqa: PLC0415
    from lab.matrix.requests import request_text  # noqa: PLC0415
    from lab.scenario.fleet import replay  # noqa: PLC0415

    def run(
        scenario: Scenario,
        cluster: Cluster,
        *,
        fresh: bool,
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> Measured:
        return measure(scenario, rows, cluster, fresh=fresh, on_event=on_event, pause=pause)

    measured_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    began = time.monotonic()
    with watching(several=len(labs) > 1) as watcher:
        measured = replay([point.scenario for point in points], labs, run=run, watch=watcher.lab, keep=keep)
    return Matrix(
        columns=tuple(point.column for point in points),
        rows=tuple(rows),
        cells=tuple(cell for each in measured for cell in each.cells),
        requests={row.key: request_text(row) for row in rows},
        kubernetes=measured[0].kubernetes,
        backend=labs[0].backend,
        measured=measured_at,
        took_s=time.monotonic() - began,
    )


def _report(matrix: Matrix, *, html_file: Path | None, json_file: Path | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - the printer of the table is rich's

    from lab.matrix.json_report import json_matrix  # noqa: PLC0415
    from lab.matrix.page import html_page  # noqa: PLC0415
    from lab.matrix.terminal import print_matrix  # noqa: PLC0415

    if json_file is not None:
        json_file.write_text(json_matrix(matrix), encoding="utf-8")
    if html_file is not None:
        html_file.write_text(html_page(matrix), encoding="utf-8")
    print_matrix(matrix, Console(highlight=False))
