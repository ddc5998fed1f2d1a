"""The verb ``exec``: a command on the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.scenario.compare import shown, text_mismatches
from lab.scenario.result import Mismatch
from lab.scenario.sighting import Sighting, failed

if TYPE_CHECKING:
    from lab.cluster.protocol import ExecResult
    from lab.scenario.schema.verbs import Exec
    from lab.scenario.sighting import Context

SHELL = ("bash", "-euo", "pipefail", "-c")
"""How scripts run on the node: the first command that fails ends them."""


def run(spec: Exec, context: Context) -> ExecResult:
    """Run the command."""
    argv = list(spec.command) if spec.command is not None else [*SHELL, str(spec.script)]
    return context.cluster.node_exec(argv, timeout_s=spec.timeout_seconds)


def look(spec: Exec, context: Context) -> Sighting:
    """Run the command and compare how it ended."""
    result = run(spec, context)
    facts = {"exitCode": str(result.exit_code), "stdout": result.stdout, "stderr": result.stderr}
    wrong: list[Mismatch] = []
    if result.exit_code != spec.exit_code:
        actual = f"{result.exit_code}: {shown(result.stderr.strip())}" if result.stderr else str(result.exit_code)
        wrong.append(Mismatch(what="exit code", expected=str(spec.exit_code), actual=actual))
    wrong += text_mismatches("stdout", spec.stdout, result.stdout, context.captures)
    wrong += text_mismatches("stderr", spec.stderr, result.stderr, context.captures)
    return failed(facts, wrong)
