"""``lab scenarios`` and ``lab run``: the scenarios there are, and replaying them as tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

import lab
from lab.cli.labs import bin_dir_option, command_line, find_lab, json_option, lab_options
from lab.cli.output import table, terminal_width
from lab.errors import EXIT_OK, InputError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.cli.watching import Watcher
    from lab.cluster.protocol import Cluster
    from lab.scenario.load import Scenario
    from lab.scenario.result import ScenarioResult

_scenarios_option = click.option(
    "--scenarios",
    "root",
    type=click.Path(path_type=Path),
    envvar="LAB_SCENARIOS",
    show_envvar=True,
    metavar="DIR",
    help="Where scenarios lie: <topic>/<name>/scenario.yaml.  [default: ./scenarios, else the project's own]",
)


@click.command("scenarios")
@_scenarios_option
@json_option
def scenarios_command(*, root: Path | None, as_json: bool) -> None:
    """List the scenarios.

    Every one of them is read strictly; all faults of all files are told at once.
    """
    scenarios = load_scenarios(root)
    if as_json:
        click.echo(json.dumps([scenario_as_json(scenario) for scenario in scenarios], indent=2))
        return
    width = terminal_width()
    for line in _by_topic(scenarios, width=width) if width else _as_table(scenarios):
        click.echo(line)


@click.command("run")
@lab_options
@click.option("--all", "every", is_flag=True, help="All scenarios.")
@click.option("--no-mistakes", is_flag=True, help="Replay start and solution only, which is a good deal shorter.")
@click.option("--keep", is_flag=True, help="Leave the lab that was made for the run.")
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
@_scenarios_option
@bin_dir_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_context
def run_command(
    context: click.Context,
    *,
    name: str,
    backend: str,
    every: bool,
    no_mistakes: bool,
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

    A lab is made for the run and removed afterwards. With --name (or LAB_NAME) a lab of that name is used if it runs,
    and stays; what was done to it is lost, because every scenario puts its own start state back.

    The exit code is 0 when all passed or were skipped, 1 when any failed, 3 when any could not run.
    """
    if bool(names) == every:
        raise click.UsageError("give the names of scenarios, or --all", ctx=context)
    chosen = _choose(load_scenarios(root), names)
    _prepare_files(json_file, junit_file)
    named = context.get_parameter_source("name") is not ParameterSource.DEFAULT
    cluster = find_lab(name if named else f"run-{os.getpid()}", backend, bin_dir=bin_dir)
    directory = bundles or LabPaths.from_environment().state / "bundles"
    results = _replay(chosen, cluster, mistakes=not no_mistakes, keep=keep, bundles=directory)
    _report(results, json_file=json_file, junit_file=junit_file)
    from lab.scenario.result import exit_code  # noqa: PLC0415

    code = exit_code(results)
    if code != EXIT_OK:
        context.exit(code)


def load_scenarios(root: Path | None) -> tuple[Scenario, ...]:
    """All scenarios.

    Args:
        root: the directory that holds them; None for ``scenarios`` of the working directory, or else of the project.

    Raises:
        InputError: there are none, or some are invalid.
    """
    from lab.scenario.load import FILE_NAME, discover, load_all  # noqa: PLC0415 - its libraries are heavy

    own = Path(lab.__file__).resolve().parents[1] / "scenarios"
    here = Path("scenarios")
    directory = root or (here if any(here.glob(f"*/*/{FILE_NAME}")) else own)
    found = discover(directory)
    if not found:
        raise InputError(
            "no-scenarios",
            f"there is no <topic>/<name>/{FILE_NAME} below {directory}",
            hint="give the directory that holds them: --scenarios DIR",
        )
    return load_all(found)


def scenario_as_json(scenario: Scenario) -> dict[str, Any]:
    """A scenario for programs."""
    document = scenario.document
    metadata = document.metadata
    return {
        "name": scenario.name,
        "topic": scenario.topic,
        "title": metadata.title,
        "difficulty": metadata.difficulty,
        "weight": metadata.weight,
        "time_minutes": metadata.time_minutes,
        "seeds": list(metadata.seeds),
        "reason": metadata.reason,
        "requires": sorted(capability.value for capability in document.requires),
        "state": document.start.state.key,
        "checks": [check.id for check in document.checks],
        "mistakes": [mistake.id for mistake in document.mistakes],
        "directory": str(scenario.directory),
    }


def _by_topic(scenarios: Sequence[Scenario], *, width: int) -> list[str]:
    formatter = click.HelpFormatter(width=width)
    for topic in dict.fromkeys(scenario.topic for scenario in scenarios):
        with formatter.section(topic):
            formatter.write_dl([(s.name, _about(s)) for s in scenarios if s.topic == topic])
    return formatter.getvalue().splitlines()


def _about(scenario: Scenario) -> str:
    metadata = scenario.document.metadata
    return f"{metadata.title} ({metadata.difficulty}, {metadata.time_minutes} min)"


def _as_table(scenarios: Sequence[Scenario]) -> list[str]:
    rows = []
    for scenario in scenarios:
        metadata = scenario.document.metadata
        minutes = f"{metadata.time_minutes} min"
        rows.append((scenario.name, scenario.topic, metadata.difficulty, minutes, metadata.title))
    return table(("NAME", "TOPIC", "DIFFICULTY", "TIME", "TITLE"), rows, width=None)


def _choose(scenarios: tuple[Scenario, ...], names: tuple[str, ...]) -> tuple[Scenario, ...]:
    from lab.scenario.load import select  # noqa: PLC0415

    return select(scenarios, dict.fromkeys(names)) if names else scenarios


def _prepare_files(*files: Path | None) -> None:
    """Make the directories of the reports now: a run of minutes must not end with a report that cannot be written."""
    for file in files:
        if file is None:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "report-directory", f"the report {file} cannot be written: {error}", hint="give another path"
            ) from error


def _replay(
    scenarios: Sequence[Scenario], cluster: Cluster, *, mistakes: bool, keep: bool, bundles: Path
) -> tuple[ScenarioResult, ...]:
    """Run the scenarios, one after another, in a lab that runs or in one that is made for them."""
    from lab.cli.watching import watching  # noqa: PLC0415
    from lab.scenario.run import plan_for, run_scenario  # noqa: PLC0415 - its libraries are heavy

    with watching() as watcher:
        made = cluster.status().phase == "stopped"
        if made:
            cluster.up(scenarios[0].document.start.state, progress=watcher.step)
        try:
            return tuple(
                run_scenario(
                    scenario,
                    cluster,
                    to_run=plan_for(scenario, cluster, mistakes=mistakes),
                    bundles=bundles,
                    fresh=made and scenario is scenarios[0],
                    on_event=watcher.event,
                )
                for scenario in scenarios
            )
        finally:
            if made:
                _leave(cluster, watcher, keep=keep)


def _leave(cluster: Cluster, watcher: Watcher, *, keep: bool) -> None:
    if keep:
        watcher.step(f"{cluster.name} is kept; remove it with: {command_line('down', cluster.name)}")
        return
    watcher.step(f"removing {cluster.name}")
    cluster.down()


def _report(results: Sequence[ScenarioResult], *, json_file: Path | None, junit_file: Path | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - the printer of the report is rich's

    from lab.scenario.report.json_report import json_report  # noqa: PLC0415
    from lab.scenario.report.junit import junit_report  # noqa: PLC0415
    from lab.scenario.report.terminal import print_report  # noqa: PLC0415

    if json_file is not None:
        json_file.write_text(json_report(results), encoding="utf-8")
    if junit_file is not None:
        junit_file.write_text(junit_report(results), encoding="utf-8")
    print_report(results, Console(highlight=False))
