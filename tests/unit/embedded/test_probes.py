from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from lab.cluster.embedded.probe_requests import ProbeResult, probe_once, resolve_port
from lab.cluster.embedded.probes import ProbeKind, Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answer_ok(_: web.Request) -> web.Response:
    return web.Response()


async def no_exec(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
    raise AssertionError(f"not asked for: {argv} within {timeout_s}")


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def ask(spec: dict[str, Any], **container: Any) -> ProbeResult:
    return await probe_once(spec, container=container, address="127.0.0.1", run_in_container=no_exec)


def http_get(port: int | str, **action: Any) -> dict[str, Any]:
    return {"httpGet": {"port": port, **action}}


# --- one probe


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (204, True), (302, True), (399, True), (400, False), (503, False)]
)
def test_the_status_decides(status: int, *, ok: bool) -> None:
    async def run() -> ProbeResult:
        async def handler(_: web.Request) -> web.Response:
            return web.Response(status=status, text="secret body")

        async with serving(handler) as port:
            return await ask(http_get(port))

    result = asyncio.run(run())
    assert result.ok is ok
    assert result.output == ("" if ok else f"HTTP probe failed with statuscode: {status}")


def test_path_headers_and_user_agent_are_sent_and_a_port_is_found_by_name() -> None:
    seen: list[tuple[str, str, str]] = []

    async def run() -> ProbeResult:
        async def handler(request: web.Request) -> web.Response:
            seen.append((request.path_qs, request.headers["X-Probe"], request.headers["User-Agent"]))
            return web.Response()

        async with serving(handler) as port:
            spec = http_get("web", path="/healthz?full=1", httpHeaders=[{"name": "X-Probe", "value": "1"}])
            return await ask(spec, ports=[{"name": "web", "containerPort": port}])

    assert asyncio.run(run()).ok
    assert seen == [("/healthz?full=1", "1", "kube-probe/1.37")]


def test_a_local_redirect_is_followed_and_a_foreign_one_is_an_answer() -> None:
    async def run(target: str) -> ProbeResult:
        async def handler(request: web.Request) -> web.Response:
            if request.path == "/":
                raise web.HTTPFound(target)
            return web.Response(status=500)

        async with serving(handler) as port:
            return await ask(http_get(port))

    assert asyncio.run(run("/broken")) == ProbeResult(ok=False, output="HTTP probe failed with statuscode: 500")
    assert asyncio.run(run("http://192.0.2.1/elsewhere")).ok


def test_a_refused_connection_is_told_as_go_tells_it() -> None:
    async def run() -> tuple[int, ProbeResult, ProbeResult]:
        async with serving(answer_ok) as port:
            pass  # nothing listens on it any more
        return port, await ask(http_get(port, path="/x")), await ask({"tcpSocket": {"port": port}})

    port, http, tcp = asyncio.run(run())
    assert http.output == f'Get "http://127.0.0.1:{port}/x": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert tcp.output == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert not http.ok
    assert not tcp.ok


def test_a_server_that_does_not_answer_in_time_has_failed() -> None:
    async def run() -> ProbeResult:
        async def handler(_: web.Request) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        async with serving(handler) as port:
            return await ask({**http_get(port), "timeoutSeconds": 0.05})

    result = asyncio.run(run())
    assert not result.ok
    assert result.output.endswith("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")


def test_an_open_port_satisfies_a_tcp_probe() -> None:
    async def run() -> ProbeResult:
        async with serving(answer_ok) as port:
            return await ask({"tcpSocket": {"port": port}})

    assert asyncio.run(run()).ok


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"grpc": {"port": 9000}}, "grpc probes are not offered"),
        ({"httpGet": {"port": 80, "host": "example.com"}}, "example.com is a name"),
        ({"httpGet": {"port": "nope"}}, 'couldn\'t resolve port "nope"'),
        ({}, "missing probe handler"),
    ],
)
def test_a_probe_that_cannot_be_carried_out_has_failed_and_says_why(spec: dict[str, Any], words: str) -> None:
    result = asyncio.run(ask(spec))
    assert not result.ok
    assert words in result.output


def test_an_exec_probe_goes_by_the_exit_code_and_a_time_out_is_a_failure() -> None:
    async def run(code: int | None) -> ProbeResult:
        async def run_in_container(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
            assert (list(argv), timeout_s) == (["cat", "/x"], 2.0)
            if code is None:
                raise TimeoutError
            return code, "what it printed"

        spec = {"exec": {"command": ["cat", "/x"]}, "timeoutSeconds": 2}
        return await probe_once(spec, container={}, address="127.0.0.1", run_in_container=run_in_container)

    assert asyncio.run(run(0)).ok
    assert asyncio.run(run(1)) == ProbeResult(ok=False, output="what it printed")
    assert "timed out after 2s" in asyncio.run(run(None)).output


def test_ports_by_number_name_and_numeric_text() -> None:
    container = {"ports": [{"name": "web", "containerPort": 8080}]}
    assert [resolve_port(port, container) for port in (80, "web", "81", "none")] == [80, 8080, 81, None]


# --- a prober over time


class Recorder:
    """Collects what a prober reports, and can be waited on."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.messages: list[str] = []
        self._changed = asyncio.Event()

    def container_started(self) -> None:
        self._note("started")

    def readiness_changed(self, ready: bool) -> None:  # noqa: FBT001 - the prober's protocol
        self._note("ready" if ready else "unready")

    def probe_failed(self, kind: ProbeKind, message: str) -> None:
        del kind
        self.messages.append(message)
        self._changed.set()

    def restart_wanted(self, kind: ProbeKind) -> None:
        self._note(f"restart:{kind}")

    def _note(self, text: str) -> None:
        self.log.append(text)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Answers:
    """An exec probe's command whose exit codes are scripted; the last one stays."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.asked = 0
        self.exhausted = asyncio.Event()

    async def __call__(self, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        del argv, timeout_s
        self.asked += 1
        if len(self.codes) == 1:
            self.exhausted.set()
            return self.codes[0], "no"
        return self.codes.pop(0), "no"


def exec_probe(**spec: Any) -> dict[str, Any]:
    return {"exec": {"command": ["x"]}, "periodSeconds": 0.01, **spec}


@asynccontextmanager
async def probing(container: dict[str, Any], answers: Answers) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    prober = Prober(container, address="127.0.0.1", events=recorder, run_in_container=answers, eager_period_s=0.001)
    prober.start()
    try:
        yield recorder
    finally:
        await prober.stop()


def test_without_probes_a_container_is_started_and_ready_at_once() -> None:
    async def run() -> list[str]:
        async with probing({}, Answers(1)) as seen:
            await seen.until(lambda: "ready" in seen.log)
            return seen.log

    assert asyncio.run(run()) == ["started", "ready"]


def test_readiness_waits_for_success_and_falls_after_the_failure_threshold() -> None:
    async def run() -> tuple[list[str], list[str]]:
        answers = Answers(1, 1, 0, 1, 1, 1, 0)
        async with probing({"readinessProbe": exec_probe(failureThreshold=3)}, answers) as seen:
            await seen.until(lambda: seen.log.count("ready") == 2)
            return seen.log, seen.messages

    log, messages = asyncio.run(run())
    assert log == ["started", "ready", "unready", "ready"]
    assert set(messages) == {"Readiness probe failed: no"}


def test_a_single_failure_below_the_threshold_leaves_a_container_ready() -> None:
    async def run() -> list[str]:
        answers = Answers(0, 1, 0, 1, 1, 0, 0)
        async with probing({"readinessProbe": exec_probe(failureThreshold=3)}, answers) as seen:
            async with asyncio.timeout(30):
                await answers.exhausted.wait()
            return seen.log

    assert asyncio.run(run()) == ["started", "ready"]


def test_the_success_threshold_asks_for_successes_in_a_row() -> None:
    async def run() -> int:
        answers = Answers(0, 1, 0, 0, 0)
        async with probing({"readinessProbe": exec_probe(successThreshold=3)}, answers) as seen:
            await seen.until(lambda: "ready" in seen.log)
            return answers.asked

    assert asyncio.run(run()) == 5


def test_an_unready_container_is_probed_far_more_often_than_its_period() -> None:
    async def run() -> tuple[int, list[str]]:
        answers = Answers(*[1] * 20, 0)
        async with probing({"readinessProbe": exec_probe(periodSeconds=60)}, answers) as seen:
            await seen.until(lambda: "ready" in seen.log)
            return answers.asked, seen.messages

    asked, messages = asyncio.run(run())
    assert asked == 21
    assert len(messages) == 1  # events keep to the period


def test_liveness_asks_for_a_restart_once_and_ends() -> None:
    async def run() -> tuple[list[str], int]:
        answers = Answers(0, 1, 1, 1)
        async with probing({"livenessProbe": exec_probe(failureThreshold=2)}, answers) as seen:
            await seen.until(lambda: "restart:Liveness" in seen.log)
            asked = answers.asked
            await asyncio.sleep(0.05)
            assert answers.asked == asked
            return seen.log, asked

    assert asyncio.run(run()) == (["started", "ready", "restart:Liveness"], 3)


def test_other_probes_wait_for_the_startup_probe() -> None:
    async def run() -> list[str]:
        container = {"startupProbe": exec_probe(failureThreshold=100), "readinessProbe": exec_probe()}
        async with probing(container, Answers(1, 1, 0, 0)) as seen:
            await seen.until(lambda: "ready" in seen.log)
            return seen.log

    assert asyncio.run(run()) == ["started", "ready"]


def test_a_startup_probe_that_never_succeeds_asks_for_a_restart_after_its_whole_time() -> None:
    async def run() -> tuple[list[str], float, int]:
        answers, begun = Answers(1), asyncio.get_running_loop().time()
        container = {"startupProbe": exec_probe(periodSeconds=0.05, failureThreshold=3)}
        async with probing(container, answers) as seen:
            await seen.until(lambda: "restart:Startup" in seen.log)
            return seen.log, asyncio.get_running_loop().time() - begun, answers.asked

    log, took_s, asked = asyncio.run(run())
    assert log == ["restart:Startup"]
    assert took_s >= 0.1  # three failures count, one period apart: eager probing did not shorten the deadline
    assert asked > 3


def test_nothing_is_reported_after_stop() -> None:
    async def run() -> list[str]:
        async with probing({"readinessProbe": exec_probe(initialDelaySeconds=30)}, Answers(0)) as seen:
            await seen.until(lambda: "started" in seen.log)
        await asyncio.sleep(0.02)
        return seen.log

    assert asyncio.run(run()) == ["started"]


def test_a_prober_that_was_never_started_can_be_stopped() -> None:
    async def run() -> None:
        await Prober({}, address="127.0.0.1", events=Recorder(), run_in_container=no_exec).stop()

    asyncio.run(run())
