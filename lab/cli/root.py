"""The command ``lab``: its list of commands, and what every command has in common.

Whatever a command raises ends here and nowhere else: it becomes a text for a person and an exit code.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import lab
from lab.cli import failures
from lab.cli.lazy import LazyCommand, LazyGroup
from lab.errors import EXIT_OK
from lab.interrupts import raised_for_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTIONS = {
    "Labs": {
        "up": LazyCommand(target="lab.cli.lifecycle:up_command", summary="Bring a lab up in a start state"),
        "down": LazyCommand(target="lab.cli.lifecycle:down_command", summary="Stop a lab and remove its files"),
        "reset": LazyCommand(target="lab.cli.lifecycle:reset_command", summary="Put a start state back in seconds"),
        "status": LazyCommand(target="lab.cli.view:status_command", summary="Show a lab as it is now"),
        "list": LazyCommand(target="lab.cli.view:list_command", summary="List the labs of this user"),
    },
    "Inside a lab": {
        "kubectl": LazyCommand(target="lab.cli.access:kubectl_command", summary="Run the pinned kubectl on a lab"),
        "kubeconfig": LazyCommand(target="lab.cli.access:kubeconfig_command", summary="Print a lab's kubeconfig"),
        "node": LazyCommand(target="lab.cli.access:node_group", summary="Work on the control-plane node of a lab"),
        "logs": LazyCommand(target="lab.cli.logs:logs_command", summary="Show the logs of a lab's components"),
    },
    "Practice": {
        "start": LazyCommand(target="lab.cli.practice:start_command", summary="Start a scenario as practice"),
        "task": LazyCommand(
            target="lab.cli.practice:task_command", summary="Show the task that was started, and the time used"
        ),
        "check": LazyCommand(target="lab.cli.practice:check_command", summary="Grade what was done so far"),
        "hint": LazyCommand(target="lab.cli.practice:hint_command", summary="Give the next hint"),
        "solution": LazyCommand(
            target="lab.cli.practice:solution_command", summary="Show the solution of the scenario that was started"
        ),
    },
    "Scenarios": {
        "scenarios": LazyCommand(
            target="lab.cli.scenarios:scenarios_group", summary="List the scenarios, or begin a new one"
        ),
        "run": LazyCommand(target="lab.cli.replay:run_command", summary="Replay scenarios as tests"),
        "parity": LazyCommand(
            target="lab.cli.parity:parity_command", summary="Replay scenarios on two backends, and compare the verdicts"
        ),
        "matrix": LazyCommand(
            target="lab.cli.matrix:matrix_command", summary="Measure who decides about an image, wherever it stands"
        ),
    },
    "Programs": {
        "bouncer": LazyCommand(
            target="lab.bouncer.cli:bouncer_command",
            summary="Serve ImageReview and AdmissionReview webhooks that admit images by policy",
        ),
        "components": LazyCommand(
            target="lab.components.cli:components_group",
            summary="The pinned third-party programs that a lab runs",
        ),
        "node-image": LazyCommand(
            target="lab.images.node.cli:node_image_group", summary="A node image for kind, made without a registry"
        ),
        "images": LazyCommand(
            target="lab.images.cli:images_group",
            summary="The images that run on the kind backend, made without a registry",
        ),
        "bench": LazyCommand(target="lab.bench.cli:bench_command", summary="Measure how fast a lab is"),
    },
}


@dataclass(slots=True)
class Invocation:
    """What the top-level options said; read when a command has ended.

    Attributes:
        debug: show the traceback of an error.
    """

    debug: bool = False


class RootGroup(LazyGroup):
    """The group that maps errors to exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its code; see `lab.errors` for the codes."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        argv = sys.argv[1:] if args is None else list(args)
        invocation = Invocation()
        try:
            with raised_for_signals():
                ended = super().main(argv, prog_name, complete_var, standalone_mode=False, obj=invocation, **extra)
        except _Interrupted as interrupted:
            sys.exit(failures.show_interrupt(interrupted.cause))
        except KeyboardInterrupt as interrupt:  # it came before a command began or after it had ended
            sys.exit(failures.show_interrupt(interrupt))
        except Exception as error:  # noqa: BLE001 - this is where every error ends, told and never swallowed
            sys.exit(failures.show(error, argv=argv, debug=invocation.debug))
        sys.exit(ended if isinstance(ended, int) else EXIT_OK)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt leaves as `_Interrupted`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(interrupt) from interrupt


class _Interrupted(Exception):  # noqa: N818 - not an error
    """Carries an interrupt past click, which would print a line of its own and forget which signal it was."""

    def __init__(self, cause: KeyboardInterrupt) -> None:
        super().__init__()
        self.cause = cause


_EPILOG = """\
Exit codes: 0 all is well or all passed, 1 something failed, 2 bad usage or bad input, 3 could not run, 130 interrupted.
"""


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click's signature
    """Note ``--debug`` before a command is even looked for."""
    if isinstance(context.obj, Invocation):
        context.obj.debug = value
    return value


@click.command(
    "lab",
    cls=RootGroup,
    sections=SECTIONS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(lab.__version__, "-V", "--version", prog_name="lab")
@click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)
def cli() -> None:
    """A Kubernetes supply-chain lab: a real API server and real admission control, on this machine.

    `lab up` makes a cluster without Docker and without root, `lab run --all` replays every scenario in one of its own,
    `lab down` leaves nothing behind.
    """
