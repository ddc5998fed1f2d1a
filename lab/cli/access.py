"""``lab kubectl``, ``lab kubeconfig``, ``lab node``: ways into a lab."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from lab.cli.labs import backend_option, bin_dir_option, find_lab, lab_options, long_name_option
from lab.cli.output import progress_lines
from lab.errors import InputError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from pathlib import Path

_PASS_THROUGH = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""From the first word on, and from the first unknown option on, arguments belong to the other program."""


@click.command("kubectl", context_settings=_PASS_THROUGH)
@long_name_option
@backend_option
@bin_dir_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[--] [KUBECTL ARGUMENTS]...")
def kubectl_command(*, name: str, backend: str | None, bin_dir: Path | None, arguments: tuple[str, ...]) -> None:
    """Run the pinned kubectl on a lab.

    kubectl gets its arguments as they are, with or without a leading --, and its exit code is the command's. Options
    of this command stand before the first of them; the lab's name can also be given as LAB_NAME.
    """
    kubeconfig = find_lab(name, backend).kubeconfig()
    from lab.components import Components  # noqa: PLC0415 - only after the lab was found

    components = Components(LabPaths.from_environment(), bin_dir=bin_dir, progress=progress_lines())
    program = components.ensure("kubectl")["kubectl"]
    # By the environment, because kubectl finds no plug-in behind an option.
    become(program, arguments, {**os.environ, "KUBECONFIG": str(kubeconfig)})


def become(program: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """Go on as another program: its terminal, its signals and its exit code are then the command's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [program.name, *arguments], environment)


@click.command("kubeconfig")
@lab_options
@click.option("--path", "print_path", is_flag=True, help="Print the path of the file instead of its text.")
@click.option("--merge", is_flag=True, help="Add the lab to your own kubeconfig, as context lab-NAME.")
def kubeconfig_command(*, name: str, backend: str | None, print_path: bool, merge: bool) -> None:
    """Print a lab's kubeconfig.

    Your own kubeconfig (the first file of KUBECONFIG, else ~/.kube/config) is changed only with --merge. Its current
    context stays as it is.
    """
    if print_path and merge:
        raise InputError(
            "options-exclude-each-other", "--path prints and --merge writes", hint="use one of them at a time"
        )
    path = find_lab(name, backend).kubeconfig()
    if merge:
        from lab.cli.kubeconfig import merge_into, users_kubeconfig  # noqa: PLC0415 - only --merge needs YAML

        target = users_kubeconfig(os.environ)
        context = merge_into(target, path, name=name)
        click.echo(f"added to {target}; use it with: kubectl --context {context} ...")
    elif print_path:
        click.echo(str(path))
    else:
        click.echo(path.read_text(encoding="utf-8"), nl=False)


@click.group("node")
def node_group() -> None:
    """Work on the control-plane node of a lab."""


@node_group.command("shell")
@lab_options
@click.pass_context
def shell_command(context: click.Context, *, name: str, backend: str | None) -> None:
    """Open a shell as root of the node.

    /etc/kubernetes is the lab's own: a change of /etc/kubernetes/manifests/kube-apiserver.yaml takes effect at once.
    """
    cluster = find_lab(name, backend)
    context.exit(cluster.node_shell())


@node_group.command("exec", context_settings={"allow_interspersed_args": False})
@lab_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENTS]...")
@click.pass_context
def exec_command(context: click.Context, *, name: str, backend: str | None, command: tuple[str, ...]) -> None:
    """Run a command as root of the node.

    It has this terminal or these pipes as its own, and its exit code is the command's.
    """
    cluster = find_lab(name, backend)
    context.exit(cluster.node_shell(command))
