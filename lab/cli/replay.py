"""``lab run``: replays scenarios as tests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.labs import bin_dir_option, context_option, image_registry_option, kubeconfig_option, lab_options
from lab.cli.practice import end_attempt
from lab.cli.scenarios import load_scenarios, scenarios_option
from lab.cli.workers import is_named, labs_for, prepare_files
from lab.errors import EXIT_OK
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.cluster.protocol import Cluster
    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult
    from lab.scenario.run import Event


@click.command("run")
@lab_options
@kubeconfig_option
@context_option
@image_registry_option
@click.option("--all", "every", is_flag=True, help="All scenarios.")
@click.option("--no-mistakes", is_flag=True, help="Replay start and solution only, which is a good deal shorter.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Labs to replay in side by side, at most one per scenario.  [default: 2, or 1 with one CPU or with --name]",
)
@click.option(
    "--shuffle",
    "seed",
    type=int,
    metavar="SEED",
    help="Replay in a random order, always the same for a seed, to find what depends on the order.",
)
@click.option("--keep", is_flag=True, help="Leave the labs that were made for the run.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a JSON report.",
)
@click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a JUnit report.",
)
@click.option(
    "--bundles",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the evidence of failures is left.  [default: below the lab's state directory]",
)
@scenarios_option
@bin_dir_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def run_command(
    click_context: click.Context,
    *,
    name: str,
    backend: str | None,
    kubeconfig: Path | None,
    context: str | None,
    image_registry: str | None,
    every: bool,
    no_mistakes: bool,
    workers: int | None,
    seed: int | None,
    keep: bool,
    json_file: Path | None,
    junit_file: Path | None,
    bundles: Path | None,
    root: Path | None,
    bin_dir: Path | None,
    names: tuple[str, ...],
) -> None:
    """Replay scenarios as tests.

    The untouched start state must not pass, the solution must, and every mistake must be found.

    Labs are made for the run and removed afterwards: one for each worker, and the workers take the scenarios in turn.
    With --backend existing and --kubeconfig, the scenarios are replayed in a cluster that is there already, in
    namespaces of their own; those that need more than such a cluster has are skipped. 'lab down --all' removes what an
    interrupted run has left in it.

    With --name (or LAB_NAME) a lab of that name is used if it runs, and stays; what was done to it is lost, because
    every scenario puts its own start state back.

    The exit code is 0 when all passed or were skipped, 1 when any failed, 3 when any could not run.
    """
    if bool(names) == every:
        raise click.UsageError("give the names of scenarios, or --all", ctx=click_context)
    chosen = _in_order(chosen_from(load_scenarios(root), names), seed=seed)
    prepare_files(json_file, junit_file)
    labs = labs_for(
        click_context,
        name=name,
        backend=backend,
        bin_dir=bin_dir,
        workers=workers,
        tasks=len(chosen),
        kubeconfig=kubeconfig,
        kubeconfig_context=context,
        image_registry=image_registry,
    )
    directory = bundles or LabPaths.from_environment().state / "bundles"
    began = time.monotonic()
    if is_named(click_context):
        end_attempt(name)  # every scenario puts its own start state into the lab
    results = replay_in(labs, chosen, mistakes=not no_mistakes, keep=keep, bundles=directory, in_order=seed is not None)
    _report(results, seed=seed, json_file=json_file, junit_file=junit_file, took_s=time.monotonic() - began)
    from lab.scenario.result import exit_code  # noqa: PLC0415

    code = exit_code(results)
    if code != EXIT_OK:
        click_context.exit(code)


def chosen_from(scenarios: tuple[Scenario, ...], names: tuple[str, ...]) -> tuple[Scenario, ...]:
    """The scenarios of those names; all where none is given."""
    from lab.scenario.load import select  # noqa: PLC0415

    return select(scenarios, dict.fromkeys(names)) if names else scenarios


def _in_order(scenarios: tuple[Scenario, ...], *, seed: int | None) -> tuple[Scenario, ...]:
    """The scenarios as they come, or in the random order of a seed, which is told."""
    if seed is None:
        return scenarios
    from lab.scenario.load import shuffle  # noqa: PLC0415

    shuffled = shuffle(scenarios, seed)
    click.echo(f"order of seed {seed}: {', '.join(scenario.name for scenario in shuffled)}", err=True)
    return shuffled


def replay_in(
    labs: Sequence[Cluster],
    scenarios: Sequence[Scenario],
    *,
    mistakes: bool,
    keep: bool,
    bundles: Path,
    in_order: bool = False,
) -> tuple[ScenarioResult, ...]:
    """Run the scenarios, each in one of the labs; those that are skipped need none.

    Those of one start state run one after another, unless they are to run in their order.
    """
    from lab.cli.watching import watching  # noqa: PLC0415
    from lab.scenario.fleet import replay  # noqa: PLC0415
    from lab.scenario.run import plan_for, run_scenario  # noqa: PLC0415 - its libraries are heavy

    plans = {scenario.name: plan_for(scenario, labs[0], mistakes=mistakes) for scenario in scenarios}
    wanted = [scenario for scenario in scenarios if not plans[scenario.name].skip]

    def run(
        scenario: Scenario,
        cluster: Cluster,
        *,
        fresh: bool,
        on_event: Callable[[Event], None],
        pause: Callable[[float], None],
    ) -> ScenarioResult:
        to_run = plans[scenario.name]
        return run_scenario(
            scenario, cluster, to_run=to_run, bundles=bundles, fresh=fresh, on_event=on_event, pause=pause
        )

    results = {
        scenario.name: run_scenario(scenario, labs[0], to_run=plans[scenario.name])
        for scenario in scenarios
        if plans[scenario.name].skip
    }
    used = labs[: len(wanted)]
    if wanted:
        with watching(several=len(used) > 1) as watcher:
            replayed = replay(wanted, used, run=run, watch=watcher.lab, keep=keep, in_order=in_order)
        results |= {result.name: result for result in replayed}
    return tuple(results[scenario.name] for scenario in scenarios)


def _report(
    results: Sequence[ScenarioResult],
    *,
    seed: int | None,
    json_file: Path | None,
    junit_file: Path | None,
    took_s: float,
) -> None:
    from rich.console import Console  # noqa: PLC0415 - the printer of the report is rich's

    from lab.scenario.report.json_report import json_report  # noqa: PLC0415
    from lab.scenario.report.junit import junit_report  # noqa: PLC0415
    from lab.scenario.report.terminal import print_report  # noqa: PLC0415

    if json_file is not None:
        json_file.write_text(json_report(results, seed=seed), encoding="utf-8")
    if junit_file is not None:
        junit_file.write_text(junit_report(results), encoding="utf-8")
    print_report(results, Console(highlight=False), took_s=took_s, seed=seed)
