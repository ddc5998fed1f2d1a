"""The lab as the thing that is measured: each step that a figure is about, timed where a person would feel it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import lab
from lab.admission.manifest import parse_manifest, render_manifest, set_flag
from lab.bench.memory import sample
from lab.bench.terminal import timed_to_prompt
from lab.bench.timing import timed
from lab.cluster.first_probe import wait_first_verdict
from lab.cluster.start_state import API_SERVER_MANIFEST
from lab.errors import LabError, WaitError
from lab.interrupts import undisturbed
from lab.paths import LabPaths
from lab.practice.record import RecordFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.bench.memory import MemorySample
    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.protocol import Cluster, StartState

_LAB = (sys.executable, "-P", "-m", "lab")
_SCENARIOS = Path(lab.__file__).resolve().parents[1] / "scenarios"
_API_SERVER = "kube-apiserver"
_GATEKEEPER = "gatekeeper-system/"
_TIMEOUT_S = 60.0
_POLL_S = 0.01
_EDITED_FLAG = "event-ttl"
"""A flag that no scenario looks at and that changes no verdict."""


class Subject(Protocol):
    """What is measured; every method returns seconds unless it says otherwise."""

    def help(self) -> float:
        """``lab --help``, the whole process."""

    def interpreter(self) -> float:
        """A Python that does nothing: what no Python program can be faster than."""

    def up(self, state: StartState) -> float:
        """``lab up``, the whole process: it ends with the state's first verdict."""

    def down(self) -> None:
        """Remove the lab; not measured."""

    def start(self, scenario: str) -> float:
        """``lab start``, until the shell that it opens shows its prompt."""

    def solve(self, scenario: str) -> None:
        """Do what the scenario asks for, until it is graded with full points; not measured."""

    def check(self) -> float:
        """``lab check``, the whole process: it ends with the points of what was started."""

    def edit(self) -> float:
        """From before the API server's manifest is written until it answers under the new flag."""

    def reset(self) -> float:
        """``lab reset``, the whole process: it ends with the state's first verdict."""

    def restart(self) -> float:
        """From the API server's death until the next one answers a request."""

    def gatekeeper_restart(self, state: StartState) -> float:
        """From the death of Gatekeeper's processes until it denies again."""

    def memory(self) -> MemorySample:
        """The lab's memory now."""


class LabSubject:
    """A lab of this machine, used through its commands and its API server's port.

    Args:
        cluster: a lab that does not run yet.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._edits = 0

    def help(self) -> float:
        """``lab --help``."""
        return self._lab("--help")

    def interpreter(self) -> float:
        """``python -c pass``."""
        return timed((sys.executable, "-c", "pass")).elapsed_s

    def up(self, state: StartState) -> float:
        """``lab up``."""
        where = ("--backend", self._cluster.backend, "--name", self._cluster.name)
        return self._lab("up", *where, "--state", state.key)

    def down(self) -> None:
        """Remove the lab and what is remembered of its practice, whatever comes in between."""
        with undisturbed():
            self._cluster.down()
            RecordFile.of(self._cluster.name, LabPaths.from_environment()).path.unlink(missing_ok=True)

    def start(self, scenario: str) -> float:
        """``lab start`` in a pseudo-terminal."""
        where = ("--name", self._cluster.name, "--scenarios", str(_SCENARIOS))
        return timed_to_prompt((*_LAB, "start", "--yes", *where, scenario))

    def solve(self, scenario: str) -> None:
        """Run the scenario's solution on the node, and have it graded once."""
        from lab.scenario.load import discover, load, select  # noqa: PLC0415 - only the practice needs the scenarios
        from lab.scenario.run import context_of  # noqa: PLC0415
        from lab.scenario.start import run_script  # noqa: PLC0415

        (chosen,) = select([load(directory) for directory in discover(_SCENARIOS)], [scenario])
        solution = chosen.document.solution
        run_script(solution.script, context_of(chosen, self._cluster), timeout_s=solution.timeout_seconds)
        self._lab("check", "--name", self._cluster.name, "--wait", str(_TIMEOUT_S))

    def check(self) -> float:
        """``lab check``."""
        return self._lab("check", "--name", self._cluster.name)

    def edit(self) -> float:
        """Give the API server another flag, and wait until one that has it answers."""
        before = self._cluster.read_node_file(API_SERVER_MANIFEST)
        if before is None:
            raise LabError("manifest-missing", f"the node has no {API_SERVER_MANIFEST}", hint="report it")
        self._edits += 1
        value = f"{60 + self._edits}m"
        after = render_manifest(set_flag(parse_manifest(before.decode()), _EDITED_FLAG, value)).encode()
        with self._api() as api:
            began_s = time.monotonic()
            self._cluster.write_node_file(API_SERVER_MANIFEST, after, mode=0o600)
            status = self._cluster.wait_api_server(timeout_s=_TIMEOUT_S)
            api.wait_until_it_answers()
            elapsed_s = time.monotonic() - began_s
        if f"--{_EDITED_FLAG}={value}" not in status.flags:
            raise LabError(
                "bench-edit",
                f"the API server answered before it ran with --{_EDITED_FLAG}={value}",
                hint="this is a defect of the lab: report it",
                context={"flags": " ".join(status.flags)},
            )
        return elapsed_s

    def reset(self) -> float:
        """``lab reset``."""
        return self._lab("reset", "--name", self._cluster.name)

    def restart(self) -> float:
        """Kill the API server; the lab starts the next one by itself."""
        with self._api() as api:
            elapsed_s = self._kill_and_time(lambda name: name == _API_SERVER, api.wait_until_it_answers)
        self._cluster.wait_api_server(timeout_s=_TIMEOUT_S)
        return elapsed_s

    def gatekeeper_restart(self, state: StartState) -> float:
        """Kill every process of Gatekeeper; the lab starts them again by itself."""
        with self._api() as api:
            return self._kill_and_time(
                lambda name: name.startswith(_GATEKEEPER), lambda: api.wait_until_it_decides(state)
            )

    def memory(self) -> MemorySample:
        """Proportional set sizes as ``lab status`` shows them."""
        return sample(self._cluster.status().processes)

    def _lab(self, *arguments: str) -> float:
        return timed((*_LAB, *arguments)).elapsed_s

    def _kill_and_time(self, chosen: Callable[[str], bool], wait: Callable[[], None]) -> float:
        pids = [process.pid for process in self._cluster.status().processes if chosen(process.name)]
        if not pids:
            raise LabError("bench-process", "a process that was to be ended does not run", hint="see lab status")
        began_s = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        _wait_until_gone(pids)
        wait()
        return time.monotonic() - began_s

    @contextmanager
    def _api(self) -> Iterator[_OutsideApi]:
        api = _OutsideApi(self._cluster.kubeconfig())
        try:
            yield api
        finally:
            api.close()


class _OutsideApi:
    """The API server as asked from outside the lab; connections are made beforehand, so that only answers count."""

    def __init__(self, kubeconfig: Path) -> None:
        from lab.cluster.embedded.api_client import ApiClient  # noqa: PLC0415 - aiohttp is loaded before the clock runs

        self._runner = asyncio.Runner()
        self._client: ApiClient = self._runner.run(self._open(ApiClient, kubeconfig))

    @staticmethod
    async def _open(kind: type[ApiClient], kubeconfig: Path) -> ApiClient:
        client = kind.from_kubeconfig(kubeconfig, user_agent="lab-bench")
        await client.get("/version")
        return client

    def wait_until_it_answers(self) -> None:
        """Wait for the answer to an ordinary request.

        Raises:
            WaitError: there was none in time.
        """
        self._runner.run(self._wait_until_it_answers())

    def wait_until_it_decides(self, state: StartState) -> None:
        """Wait for the verdicts of a start state's probes.

        Raises:
            WaitError: they did not come in time.
        """

        async def create(collection: str, body: dict[str, Any]) -> None:
            await self._client.create(collection, body, params={"dryRun": "All"})

        self._runner.run(wait_first_verdict(state, create, timeout_s=_TIMEOUT_S))

    def close(self) -> None:
        """Drop every connection."""
        self._runner.run(self._client.close())
        self._runner.close()

    async def _wait_until_it_answers(self) -> None:
        deadline_s = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                await self._client.get("/version")
            except LabError as error:
                if time.monotonic() > deadline_s:
                    raise WaitError(
                        what="the API server to answer",
                        timeout_s=_TIMEOUT_S,
                        last_seen=error.message,
                        hint="see lab logs kube-apiserver",
                    ) from error
                await asyncio.sleep(_POLL_S)
            else:
                return


def _wait_until_gone(pids: list[int]) -> None:
    """Wait until killed processes have ended, so that no answer of theirs is taken for their successors'."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    for pid in pids:
        while _runs(pid):
            if time.monotonic() > deadline_s:
                raise WaitError(
                    what=f"process {pid} to end", timeout_s=_TIMEOUT_S, last_seen="still there", hint="see lab status"
                )
            time.sleep(_POLL_S / 10)


def _runs(pid: int) -> bool:
    import psutil  # noqa: PLC0415

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
