"""Makes the start state of a scenario on a cluster, and records what checks will compare with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lab.cluster.protocol import Capability, Checkpoints, Guest, ImageLoading, Snapshots
from lab.components import Components
from lab.errors import LabError, WaitError
from lab.paths import LabPaths
from lab.scenario import jsonpath
from lab.scenario.api import KIND_NOT_SERVED
from lab.scenario.checks import run_wait
from lab.scenario.compare import as_text
from lab.scenario.evidence import POLL_S
from lab.scenario.plan import needs_of
from lab.scenario.settling import API_SERVER_WAIT_S, POLICIES_WAIT_S, wait_policies
from lab.scenario.verbs import exec as exec_verb
from lab.scenario.verbs.request import manifests_in
from lab.scenario.verbs.resource import select

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import Cluster, StartState
    from lab.scenario.load import Scenario
    from lab.scenario.schema.scenario import Capture, StartFile
    from lab.scenario.sighting import Context

KIND_WAIT_S = 30.0
SCRIPT_TIMEOUT_S = 120.0


def put_back(cluster: Cluster, state: StartState, *, progress: Callable[[str], None]) -> None:
    """Put a start state back; a backend without snapshots makes it, unless it is in it.

    Raises:
        LabError: it could not.
    """
    if isinstance(cluster, Snapshots):
        cluster.reset(state, progress=progress)
    elif cluster.status().state != state.key:
        cluster.up(state, progress=progress)


def make(
    scenario: Scenario,
    cluster: Cluster,
    new_context: Callable[[], Context],
    *,
    fresh: bool,
    progress: Callable[[str], None],
) -> dict[str, str]:
    """Make the start state of a scenario; a backend that has made it before goes back to it.

    Args:
        scenario: the scenario.
        cluster: where; it is running.
        new_context: makes what the verbs work with; called once the cluster has gone back.
        fresh: the cluster has just been brought up in the state to start from.
        progress: told each step of what takes long.

    Returns:
        The captured values by name.

    Raises:
        LabError: it could not be made.
    """
    start = scenario.document.start
    if isinstance(cluster, Guest):
        cluster.claim(needs_of(scenario))
    label = f"scenario {scenario.fingerprint}"
    if not fresh and isinstance(cluster, Checkpoints) and (captures := cluster.rewind(label)) is not None:
        context = new_context()
        _settle(context, start.api_server)
        for wait in start.waits:
            run_wait(wait, context)
        return dict(captures)
    if not fresh:
        put_back(cluster, start.state, progress=progress)
    captures = _prepare(new_context(), progress=progress)
    if isinstance(cluster, Checkpoints):
        cluster.checkpoint(label, captures)
    return captures


def _prepare(context: Context, *, progress: Callable[[str], None]) -> dict[str, str]:
    """Make what a scenario adds to its start state, in the order in which its file lists it."""
    start = context.scenario.document.start
    if start.images and isinstance(context.cluster, ImageLoading):
        context.cluster.load_images(start.images, progress=progress)
    for file in start.files:
        context.cluster.write_node_file(file.path, _content(file, context), mode=int(file.mode, 8))
    for name in start.manifests:
        for manifest in manifests_in(context, name):
            _apply(manifest, context)
    for name in start.scripts:
        run_script(name, context, timeout_s=SCRIPT_TIMEOUT_S)
    if start.files or start.scripts:
        _settle(context, start.api_server)
    if start.api_server == "running":
        wait_policies(context, timeout_s=POLICIES_WAIT_S)
    for wait in start.waits:
        run_wait(wait, context)
    return {capture.name: _captured(capture, context) for capture in start.captures}


def run_script(name: str, context: Context, *, timeout_s: float) -> None:
    """Run one of the scenario's scripts on the node.

    Raises:
        LabError: ``script-failed`` with what it printed.
    """
    result = context.cluster.node_exec([*exec_verb.SHELL, context.scenario.text(name)], timeout_s=timeout_s)
    if result.exit_code != 0:
        raise LabError(
            "script-failed",
            f"{name} of the scenario {context.scenario.name} ended with exit code {result.exit_code}",
            hint="mend the script, or the start state that it runs in",
            context={"stdout": result.stdout.strip()[-2000:], "stderr": result.stderr.strip()[-2000:]},
        )


def _content(file: StartFile, context: Context) -> bytes:
    if file.from_file is not None:
        return context.scenario.text(file.from_file).encode()
    if file.content is not None:
        return file.content.encode()
    # Read on this machine and written to the node, because a node need not see this machine's files.
    return Components(LabPaths.from_environment()).gatekeeper_manifest().read_bytes()


def _apply(manifest: dict[str, Any], context: Context) -> None:
    """Apply an object; its kind may have been defined a moment ago and not be known everywhere yet."""
    deadline = context.clock() + KIND_WAIT_S
    while True:
        try:
            context.api.apply(manifest, namespace="default")
        except LabError as error:
            if not _comes_yet(error) or context.clock() >= deadline:
                raise
            context.pause(POLL_S)
        else:
            return


def _comes_yet(error: LabError) -> bool:
    """Whether the kind is only not served yet, or one of Gatekeeper's Pods is late.

    It has not heard of the template yet; or it is ready, and its webhook listens only a moment later.
    """
    late = ("missing ConstraintTemplate", 'failed calling webhook "check-ignore-label.gatekeeper.sh"')
    return error.code == KIND_NOT_SERVED or any(text in error.message for text in late)


def _settle(context: Context, wanted: str) -> None:
    """Wait until the API server is in the state that the start state has it in."""
    if Capability.NODE_FILES not in context.cluster.capabilities:
        return
    if wanted == "running":
        context.cluster.wait_api_server(timeout_s=API_SERVER_WAIT_S)
        return
    deadline = context.clock() + API_SERVER_WAIT_S
    while (state := context.cluster.status().api_server.state) != wanted:
        if context.clock() >= deadline:
            raise WaitError(
                what=f"the API server to be {wanted}",
                timeout_s=API_SERVER_WAIT_S,
                last_seen=f"it is {state}",
                hint="see what the start state of the scenario does to it",
            )
        context.pause(POLL_S)


def _captured(capture: Capture, context: Context) -> str:
    text = _raw_value(capture, context)
    if capture.pattern is None:
        return text
    match = re.search(capture.pattern, text)
    if match is None:
        raise _capture_error(capture, f"{text!r} does not match {capture.pattern}")
    return str(match[1])


def _raw_value(capture: Capture, context: Context) -> str:
    if capture.exec is not None:
        result = exec_verb.run(capture.exec, context)
        if result.exit_code != capture.exec.exit_code:
            raise _capture_error(capture, f"its command ended with {result.exit_code}: {result.stderr.strip()}")
        return result.stdout.strip()
    if capture.resource is None or capture.path is None:
        raise _capture_error(capture, "it has no source")
    objects = select(capture.resource, context)
    values = {as_text(value) for found in objects for value in jsonpath.values(capture.path, found)}
    if len(values) != 1:
        raise _capture_error(capture, f"one value is needed, there are {len(values)}: {', '.join(sorted(values))}")
    return values.pop()


def _capture_error(capture: Capture, why: str) -> LabError:
    return LabError(
        "capture-failed",
        f"the value {capture.name} could not be recorded: {why}",
        hint="add a wait for it to the start state, or mend its path",
    )
