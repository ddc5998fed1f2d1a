"""``lab scenarios``: the scenarios there are, how commands find them, and beginning a new one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lab
from lab.cli.labs import json_option
from lab.cli.output import facts, table, terminal_width
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.scenario.load import Scenario

DEFAULT_TOPIC = "own"
_HERE = Path("scenarios")

scenarios_option = click.option(
    "--scenarios",
    "root",
    type=click.Path(path_type=Path),
    envvar="LAB_SCENARIOS",
    show_envvar=True,
    metavar="DIR",
    help="Where scenarios lie: <topic>/<name>/scenario.yaml.  [default: ./scenarios, else the project's own]",
)


@click.group("scenarios", invoke_without_command=True)
@scenarios_option
@json_option
@click.pass_context
def scenarios_group(context: click.Context, *, root: Path | None, as_json: bool) -> None:
    """List the scenarios, or begin a new one.

    Every one of them is read strictly; all faults of all files are told at once.
    """
    if context.invoked_subcommand is not None:
        context.obj = root
        return
    scenarios = load_scenarios(root)
    if as_json:
        click.echo(json.dumps([scenario_as_json(scenario) for scenario in scenarios], indent=2))
        return
    width = terminal_width()
    for line in _by_topic(scenarios, width=width) if width else _as_table(scenarios):
        click.echo(line)


@scenarios_group.command("new")
@click.option(
    "--topic", default=DEFAULT_TOPIC, show_default=True, metavar="TOPIC", help="Its topic, the directory above its own."
)
@scenarios_option
@click.argument("name", metavar="NAME")
@click.pass_obj
def new_command(of_group: Path | None, *, topic: str, root: Path | None, name: str) -> None:
    """Begin a new scenario.

    Writes <topic>/<NAME>/ below ./scenarios (or --scenarios DIR), with everything that a scenario needs and a TODO
    wherever something is to be said. A directory that exists is left as it is.
    """
    from lab.scenario import skeleton  # noqa: PLC0415 - its libraries are heavy

    directory = root or of_group or _HERE
    scenario = skeleton.make(directory, name=name, topic=topic)
    click.echo(f"made {scenario.directory}, to be filled in where it says TODO")
    for line in facts(skeleton.PURPOSES):
        click.echo(f"  {line}")
    elsewhere = "" if directory == _HERE else f" --scenarios {shlex.quote(str(directory))}"
    commands = {
        f"lab run {name}{elsewhere}": "says what is still wrong, until it passes",
        f"lab start {name}{elsewhere}": "do it as a person would",
    }
    click.echo("\n" + click.style("what now", bold=True))
    for line in facts(commands):
        click.echo(f"  {line}")
    click.echo("  docs/how-to/write-a-scenario.md shows the way from here to a PASS")


def scenarios_root(root: Path | None) -> Path:
    """The directory of the scenarios: the one given, or ``scenarios`` of the working directory, or of the project."""
    from lab.scenario.load import FILE_NAME  # noqa: PLC0415 - its libraries are heavy

    own = Path(lab.__file__).resolve().parents[1] / "scenarios"
    return root or (_HERE if any(_HERE.glob(f"*/*/{FILE_NAME}")) else own)


def load_scenarios(root: Path | None) -> tuple[Scenario, ...]:
    """All scenarios.

    Args:
        root: see `scenarios_root`.

    Raises:
        InputError: there are none, or some are invalid.
    """
    from lab.scenario.load import FILE_NAME, discover, load_all  # noqa: PLC0415

    directory = scenarios_root(root)
    found = discover(directory)
    if not found:
        raise InputError(
            "no-scenarios",
            f"there is no <topic>/<name>/{FILE_NAME} below {directory}",
            hint="give the directory that holds them: --scenarios DIR",
        )
    return load_all(found)


def load_scenario(root: Path | None, name: str) -> Scenario:
    """One scenario by its name; the others are read only to name those that are near.

    Raises:
        InputError: there is none of that name, or it is invalid.
    """
    from lab.scenario.load import discover, load, select  # noqa: PLC0415

    named = [directory for directory in discover(scenarios_root(root)) if directory.name == name]
    return load(named[0]) if len(named) == 1 else select(load_scenarios(root), [name])[0]


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
