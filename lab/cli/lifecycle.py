"""``lab up``, ``lab down``, ``lab reset``: a lab's life."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lab.cli.labs import bin_dir_option, command_line, find_lab, lab_options
from lab.cli.output import progress_lines
from lab.cli.practice import end_attempt, reset_attempt
from lab.cluster import backends
from lab.cluster.protocol import DEFAULT_STATE, Addon, Cluster, ImagePolicy, Snapshots, StartState
from lab.errors import InputError, LabError
from lab.interrupts import undisturbed
from lab.paths import LabPaths

_ADDONS = [addon.value for addon in Addon]
_POLICIES = [policy.value for policy in ImagePolicy]


def parse_state(key: str) -> StartState:
    """The start state that a key on the command line names.

    Raises:
        InputError: ``state-unknown``.
    """
    try:
        return StartState.from_key(key)
    except ValueError as error:
        raise InputError(
            "state-unknown",
            f"there is no start state {key!r}: {error}",
            hint=f"write {'|'.join(_POLICIES)}, then +{', +'.join(_ADDONS)} as needed: {DEFAULT_STATE.key}",
        ) from error


def requested_state(*, key: str | None, policy: str | None, addons: tuple[str, ...]) -> StartState:
    """The start state that ``--state``, ``--image-policy`` and ``--with`` ask for.

    Without any of them it is the default state. Its bouncer comes with its policy: whoever asks for another policy
    names the addons that should run.

    Raises:
        InputError: ``state-twice`` when it is asked for in both ways; ``state-unknown``.
    """
    if key is not None:
        if policy is not None or addons:
            raise InputError(
                "state-twice",
                "--state says all of a start state, and --image-policy or --with says part of it",
                hint="use --state alone, or leave it out",
            )
        return parse_state(key)
    image_policy = DEFAULT_STATE.image_policy if policy is None else ImagePolicy(policy)
    implied = DEFAULT_STATE.addons if image_policy is DEFAULT_STATE.image_policy else frozenset[Addon]()
    return StartState(image_policy=image_policy, addons=implied | {Addon(addon) for addon in addons})


@click.command("up")
@lab_options
@click.option("--state", "key", metavar="KEY", help=f"Start state by its key.  [default: {DEFAULT_STATE.key}]")
@click.option("--with", "addons", multiple=True, type=click.Choice(_ADDONS), help="Run this too; may be repeated.")
@click.option("--image-policy", "policy", type=click.Choice(_POLICIES), help="How ImagePolicyWebhook is set up.")
@bin_dir_option
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Cluster definition.  [default: the project's kind-config.yaml]",
)
def up_command(
    *,
    name: str,
    backend: str | None,
    key: str | None,
    addons: tuple[str, ...],
    policy: str | None,
    bin_dir: Path | None,
    config: Path | None,
) -> None:
    """Bring a lab up in a start state.

    It returns when the state's first admission verdict is the right one. What it lacks of the pinned programs is
    downloaded or built first, once. A lab that is up in that state is left as it is.
    """
    state = requested_state(key=key, policy=policy, addons=addons)
    cluster = find_lab(name, backend, bin_dir=bin_dir, config=config)
    began = time.monotonic()
    if _already_up(cluster, state):
        click.echo(f"{name} is already up: {state.key}")
    else:
        end_attempt(name)  # of a lab that ended without 'lab down'
        try:
            cluster.up(state, progress=progress_lines())
            click.echo(f"{name} is up after {time.monotonic() - began:.1f} s: {state.key}")
        except KeyboardInterrupt:
            with undisturbed():
                cluster.down()  # also between its last step and this command's last line: Ctrl-C leaves no lab
            raise
    click.echo(_what_now(name))


def _already_up(cluster: Cluster, state: StartState) -> bool:
    """Whether there is nothing to do.

    Raises:
        InputError: ``lab-exists``: it runs, but not like that; a person's work in it is not thrown away unasked.
    """
    status = cluster.status()
    if status.phase == "stopped":
        return False
    if status.phase == "running" and status.state == state.key:
        return True
    raise InputError(
        "lab-exists",
        f"the lab {status.name} is there already: {status.phase}, start state {status.state}",
        hint=f"put the state back with '{command_line('reset', status.name)} --state {state.key}', remove it with "
        f"'{command_line('down', status.name)}', or give the new one another --name",
    )


def _what_now(name: str) -> str:
    commands = {
        command_line("kubectl", name) + " get pods -A": "everything that runs",
        command_line("node shell", name): "root on the node: edit /etc/kubernetes",
        command_line("down", name): "stop it and remove its files",
    }
    width = max(len(command) for command in commands)
    lines = [f"  {command.ljust(width)}  {purpose}" for command, purpose in commands.items()]
    return "\n".join(["", click.style("what now", bold=True), *lines])


@click.command("down")
@lab_options
@click.option("--all", "every", is_flag=True, help="All labs of this user.")
def down_command(*, name: str, backend: str | None, every: bool) -> None:
    """Stop a lab and remove its files.

    A lab that is already gone is no error. --all takes every backend's labs, and what a killed run left in Docker.
    """
    paths = LabPaths.from_environment()
    names = backends.list_labs(paths) if every else (name,)
    problems = {}
    for each in names:
        try:
            find_lab(each, None if every else backend).down()
            end_attempt(each)
        except LabError as error:
            if not every:
                raise
            problems[each] = str(error)
        else:
            click.echo(f"{each} is gone")
    left_over = backends.remove_left_over(paths) if every else ()
    for each in left_over:
        click.echo(f"{each}, what was left of it in Docker, is gone")
    if not names and not left_over:
        click.echo("there is no lab")
    if problems:
        raise LabError(
            "labs-left",
            f"{len(problems)} of {len(names)} labs could not be removed",
            hint="mend what each of them says, and run 'lab down --all' again",
            context=problems,
        )


@click.command("reset")
@lab_options
@click.option("--state", "key", metavar="KEY", help="Start state by its key.  [default: the one that it was set to]")
def reset_command(*, name: str, backend: str | None, key: str | None) -> None:
    """Put a start state back in seconds.

    Everything done to the lab since is undone: objects, manifests and files of the node. It returns when the
    state's first admission verdict is the right one. After 'lab start' it is the scenario's start state, unless
    another is asked for by --state.
    """
    wanted = None if key is None else parse_state(key)
    cluster = find_lab(name, backend)
    status = cluster.status()
    if status.phase == "stopped":
        raise LabError(
            "lab-not-running",
            f"the lab {name} does not run",
            hint=f"bring it up with '{command_line('up', name)}'",
        )
    if not isinstance(cluster, Snapshots):
        raise LabError(
            "backend-cannot-reset",
            f"the backend {cluster.backend} cannot put a start state back",
            hint=f"'{command_line('down', name)}', then '{command_line('up', name)}'",
        )
    began = time.monotonic()
    attempt = reset_attempt(cluster) if wanted is None else None
    if attempt is not None:
        click.echo(f"{name} is back after {time.monotonic() - began:.1f} s: {attempt.scenario}")
        return
    end_attempt(name)
    state = wanted or (parse_state(status.state) if status.state else DEFAULT_STATE)
    cluster.reset(state, progress=progress_lines())
    click.echo(f"{name} is back after {time.monotonic() - began:.1f} s: {state.key}")
