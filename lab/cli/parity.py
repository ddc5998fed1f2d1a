"""``lab parity``: replays scenarios on two backends and compares them, verdict by verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.labs import bin_dir_option, context_option, image_registry_option, kubeconfig_option
from lab.cli.replay import chosen_from, replay_in
from lab.cli.scenarios import load_scenarios, scenarios_option
from lab.cli.workers import labs_for, prepare_files
from lab.cluster.backends import BACKENDS, EXISTING
from lab.errors import EXIT_OK, InputError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.cluster.protocol import Cluster
    from lab.parity.parity import Parity
    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult

DEFAULT_BACKENDS = "embedded,kind"
_TWO = 2


@click.command("parity")
@click.option(
    "--backends",
    default=DEFAULT_BACKENDS,
    show_default=True,
    metavar="ONE,OTHER",
    help=f"The two to replay on, of {', '.join(BACKENDS)}.",
)
@click.option(
    "--from",
    "reports",
    nargs=2,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="ONE OTHER",
    help="Compare two reports of 'lab run --json' instead, and replay nothing.",
)
@kubeconfig_option
@context_option
@image_registry_option
@click.option("--all", "every", is_flag=True, help="All scenarios.")
@click.option("--no-mistakes", is_flag=True, help="Replay start and solution only, which is a good deal shorter.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Labs to replay in side by side, on one backend after the other.  [default: 2, or 1 with one CPU]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the comparison as JSON.",
)
@scenarios_option
@bin_dir_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def parity_command(
    click_context: click.Context,
    *,
    backends: str,
    reports: tuple[Path, Path] | None,
    kubeconfig: Path | None,
    context: str | None,
    image_registry: str | None,
    every: bool,
    no_mistakes: bool,
    workers: int | None,
    json_file: Path | None,
    root: Path | None,
    bin_dir: Path | None,
    names: tuple[str, ...],
) -> None:
    """Replay scenarios on two backends, and compare the verdicts.

    Check by check it is compared what became of a request, who decided, with which message, and what was stored. What
    must differ, such as a uid, is explained by a rule with a reason; everything else is a difference.

    With --from, two reports of 'lab run --json' are compared; names choose among their scenarios.

    The exit code is 0 when nothing differs or all of it is explained, 1 when something differs, 3 when not everything
    could be compared because a replay could not run, or when every scenario was skipped.
    """
    if every and reports is not None:
        raise click.UsageError("--from compares what is in the reports, and --all replays", ctx=click_context)
    if reports is None and bool(names) == every:
        raise click.UsageError("give the names of scenarios, or --all, or --from", ctx=click_context)
    prepare_files(json_file)
    if reports is not None:
        parity = _of_reports(reports, names)
    else:
        pair = _pair(backends, kubeconfig=kubeconfig)
        scenarios = chosen_from(load_scenarios(root), names)

        def labs_on(backend: str, tasks: int) -> tuple[Cluster, ...]:
            is_guest = backend == EXISTING
            return labs_for(
                click_context,
                name=None,
                backend=backend,
                bin_dir=bin_dir,
                workers=workers,
                tasks=tasks,
                kubeconfig=kubeconfig if is_guest else None,
                kubeconfig_context=context if is_guest else None,
                image_registry=image_registry if is_guest else None,
            )

        parity = _of_replays(pair, scenarios, labs_on, mistakes=not no_mistakes)
    _report(parity, json_file)
    if parity.exit_code != EXIT_OK:
        click_context.exit(parity.exit_code)


def _pair(backends: str, *, kubeconfig: Path | None) -> tuple[str, str]:
    """The two backends that an option names.

    Raises:
        InputError: ``backends-not-two``, ``backend-unknown``, ``kubeconfig-missing``: told before minutes of replaying.
    """
    names = [name.strip() for name in backends.split(",")]
    if len(names) != _TWO:
        raise InputError(
            "backends-not-two",
            f"{backends!r} are not two backends",
            hint=f"write two names and a comma between them: {DEFAULT_BACKENDS}",
        )
    for name in names:
        if name not in BACKENDS:
            raise InputError(
                "backend-unknown", f"there is no backend {name!r}", hint=f"use one of: {', '.join(BACKENDS)}"
            )
    if EXISTING in names and kubeconfig is None:
        raise InputError(
            "kubeconfig-missing", f"the backend {EXISTING} needs a kubeconfig", hint="give it: --kubeconfig FILE"
        )
    return names[0], names[1]


def _of_replays(
    pair: tuple[str, str],
    scenarios: Sequence[Scenario],
    labs_on: Callable[[str, int], tuple[Cluster, ...]],
    *,
    mistakes: bool,
) -> Parity:
    """Replay on one backend, then on the other what the first could hold, and compare."""
    from lab.parity.parity import compare, side_of  # noqa: PLC0415 - its libraries are heavy
    from lab.scenario.report.json_report import json_report  # noqa: PLC0415

    bundles = LabPaths.from_environment().state / "bundles"
    sides = []
    for backend, name in zip(pair, _told_apart(pair), strict=True):
        results: tuple[ScenarioResult, ...] = ()
        if scenarios:
            labs = labs_on(backend, len(scenarios))
            results = replay_in(labs, scenarios, mistakes=mistakes, keep=False, bundles=bundles)
        # By way of the report, so that there is one reading of this and of what was recorded.
        sides.append(side_of(name, json.loads(json_report(results))))
        skipped = {result.name for result in results if result.skipped}
        scenarios = [scenario for scenario in scenarios if scenario.name not in skipped]
    return compare(*sides)


def _of_reports(files: tuple[Path, Path], names: tuple[str, ...]) -> Parity:
    """Compare what was recorded.

    Raises:
        InputError: ``no-report``, ``scenario-not-recorded``.
    """
    from lab.parity.parity import Side, compare, side_of  # noqa: PLC0415
    from lab.parity.reading import read_report  # noqa: PLC0415

    reports = [read_report(file) for file in files]
    backends = [", ".join(sorted({scenario["backend"] for scenario in report["scenarios"]})) for report in reports]
    told = backends if backends[0] != backends[1] else [file.name for file in files]
    sides = [side_of(name, report) for name, report in zip(_told_apart(told), reports, strict=True)]
    if names:
        recorded = sides[0].scenarios.keys() | sides[1].scenarios.keys()
        if unknown := [name for name in names if name not in recorded]:
            raise InputError(
                "scenario-not-recorded",
                f"neither report has {', '.join(unknown)}",
                hint=f"recorded are: {', '.join(sorted(recorded))}",
            )
        sides = [
            Side(name=side.name, scenarios={name: side.scenarios[name] for name in names if name in side.scenarios})
            for side in sides
        ]
    return compare(*sides)


def _told_apart(names: Sequence[str]) -> tuple[str, str]:
    """Two names; with a number where they are the same."""
    one, other = names
    return (one, other) if one != other else (f"{one} (1)", f"{other} (2)")


def _report(parity: Parity, json_file: Path | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - the printer of the table is rich's

    from lab.parity.json_report import json_parity  # noqa: PLC0415
    from lab.parity.terminal import print_parity  # noqa: PLC0415

    if json_file is not None:
        json_file.write_text(json_parity(parity), encoding="utf-8")
    print_parity(parity, Console(highlight=False))
