"""The informer against a small API server whose restarts, expiries and time travel the test controls."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from lab.cluster.embedded.api_client import ApiClient
from lab.cluster.embedded.informer import Informer, _Backoff
from lab.cluster.embedded.memory import Memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

PATH = "/api/v1/configmaps"
PATIENCE_S = 30.0


class FakeApiServer:
    """Lists and watches one collection; keeps no history, so it ends every watch for a version it does not know."""

    def __init__(self) -> None:
        self.version = 10
        self.items: dict[str, dict[str, Any]] = {}
        self.lists = 0
        self.watched_from: list[str] = []
        self.watches: set[asyncio.Queue[dict[str, Any]]] = set()
        self.list_refusal: int | None = None
        self.always_gone = False
        self.watch_limit_s: float | None = None
        self._runner: web.ServerRunner | None = None
        self._port = 0

    async def start(self) -> str:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def put(self, name: str, value: str) -> None:
        self.version += 1
        kind = "MODIFIED" if name in self.items else "ADDED"
        self.items[name] = item = self._item(name, value)
        self.send({"type": kind, "object": {"kind": "ConfigMap", "apiVersion": "v1", **item}})

    def remove(self, name: str) -> None:
        self.version += 1
        last = self._item(name, self.items.pop(name)["data"]["value"])
        self.send({"type": "DELETED", "object": {"kind": "ConfigMap", "apiVersion": "v1", **last}})

    def send(self, event: dict[str, Any]) -> None:
        for queue in self.watches:
            queue.put_nowait(event)

    def _item(self, name: str, value: str) -> dict[str, Any]:
        metadata = {"namespace": "ns", "name": name, "resourceVersion": str(self.version)}
        return {"metadata": metadata, "data": {"value": value}}

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == PATH
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self.lists += 1
        if self.list_refusal is not None:
            return web.json_response({"kind": "Status", "code": self.list_refusal}, status=self.list_refusal)
        body = {
            "kind": "ConfigMapList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(self.version)},
            "items": list(self.items.values()),
        }
        return web.json_response(body)

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.query["allowWatchBookmarks"] == "true"
        self.watched_from.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if self.always_gone:
            queue.put_nowait({"type": "ERROR", "object": {"code": 410}})
        self.watches.add(queue)
        try:
            async with asyncio.timeout(self.watch_limit_s):
                event: dict[str, Any] = {"type": ""}
                while event["type"] != "ERROR":
                    event = await queue.get()
                    await response.write(json.dumps(event).encode() + b"\n")
        except TimeoutError:
            pass
        finally:
            self.watches.discard(queue)
        return response


def value(item: dict[str, Any] | None) -> str | None:
    return None if item is None else item["data"]["value"]


class Harness:
    """A fake server, an informer that follows it, and the changes that the informer reported."""

    def __init__(
        self, server: FakeApiServer, client: ApiClient, watch_timeout_s: float, memory: Memory | None = None
    ) -> None:
        self.server = server
        self.informer = Informer(client, PATH, on_change=self._note, watch_timeout_s=watch_timeout_s, memory=memory)
        self.changes: list[tuple[str | None, str | None]] = []

    def _note(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        self.changes.append((value(old), value(new)))

    def values(self) -> dict[str, str]:
        return {name: item["data"]["value"] for (_, name), item in self.informer.objects.items()}

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.002)

    async def watching(self) -> None:
        await self.until(lambda: self.server.watches)


@asynccontextmanager
async def following(
    server: FakeApiServer, *, watch_timeout_s: float = 300.0, memory: Memory | None = None
) -> AsyncIterator[Harness]:
    async with ApiClient(await server.start(), None) as client:
        harness = Harness(server, client, watch_timeout_s, memory)
        task = asyncio.create_task(harness.informer.run())
        try:
            yield harness
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await server.stop()


def run(scenario: Callable[[FakeApiServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(3 * PATIENCE_S):
            await scenario(FakeApiServer())

    asyncio.run(main())


def test_it_lists_and_then_follows_every_change() -> None:
    async def scenario(server: FakeApiServer) -> None:
        server.put("a", "1")
        async with following(server) as lab:
            await lab.informer.synced.wait()
            assert lab.values() == {"a": "1"}
            await lab.watching()
            server.put("b", "1")
            server.put("a", "2")
            server.remove("b")
            await lab.until(lambda: len(lab.changes) == 4)
        assert lab.changes == [(None, "1"), (None, "1"), ("1", "2"), ("1", None)]
        assert lab.values() == {"a": "2"}
        assert server.watched_from == ["11"]

    run(scenario)


def test_a_killed_server_is_picked_up_again_and_only_differences_are_reported() -> None:
    async def scenario(server: FakeApiServer) -> None:
        server.put("same", "1")
        server.put("gone", "1")
        async with following(server) as lab:
            await lab.watching()
            lab.changes.clear()
            await server.stop()
            await lab.until(lambda: lab.informer.problem)
            assert lab.informer.synced.is_set(), "what was known stays usable meanwhile"
            server.remove("gone")
            server.put("new", "1")
            await server.start()
            await lab.until(lambda: len(lab.changes) == 2)
        assert lab.changes == [("1", None), (None, "1")]
        assert lab.informer.problem is None

    run(scenario)


@pytest.mark.parametrize(
    "status",
    [
        {"code": 410, "reason": "Expired", "message": "too old resource version"},
        {"code": 504, "reason": "Timeout", "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}},
    ],
)
def test_an_outdated_watch_lists_again(status: dict[str, Any]) -> None:
    async def scenario(server: FakeApiServer) -> None:
        async with following(server) as lab:
            await lab.watching()
            server.items["late"] = server._item("late", "1")
            server.send({"type": "ERROR", "object": status})
            await lab.until(lambda: lab.values() == {"late": "1"})
            assert server.lists == 2

    run(scenario)


def test_a_server_that_always_says_gone_is_not_hammered() -> None:
    async def scenario(server: FakeApiServer) -> None:
        server.always_gone = True
        async with following(server) as lab:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await lab.until(lambda: server.lists == 5)
            assert loop.time() - started > 0.25

    run(scenario)


def test_relist_takes_over_a_state_from_the_past() -> None:
    async def scenario(server: FakeApiServer) -> None:
        server.put("a", "1")
        snapshot, version = {"a": dict(server.items["a"])}, server.version
        async with following(server) as lab:
            await lab.watching()
            server.put("a", "2")
            server.put("b", "1")
            await lab.until(lambda: lab.values() == {"a": "2", "b": "1"})
            server.items, server.version = snapshot, version
            lab.changes.clear()
            lab.informer.relist()
            assert not lab.informer.synced.is_set()
            await lab.informer.synced.wait()
            assert lab.values() == {"a": "1"}
            assert lab.changes == [("1", None), ("2", "1")]
            await lab.until(lambda: server.watched_from == ["11", "11"])

    run(scenario)


def test_an_event_from_the_past_lists_again() -> None:
    async def scenario(server: FakeApiServer) -> None:
        async with following(server) as lab:
            await lab.watching()
            server.version = 3
            server.put("a", "restored")
            await lab.until(lambda: lab.values() == {"a": "restored"})
            assert server.lists == 2

    run(scenario)


def test_a_watch_that_ends_by_its_own_limit_is_resumed_from_the_bookmark() -> None:
    async def scenario(server: FakeApiServer) -> None:
        server.watch_limit_s = 0.3
        async with following(server, watch_timeout_s=1.2) as lab:
            await lab.watching()
            server.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "40"}}})
            await lab.until(lambda: len(server.watched_from) == 2)
        assert server.watched_from == ["10", "40"]
        assert server.lists == 1
        assert lab.changes == []

    run(scenario)


def test_a_refused_list_is_retried_and_told() -> None:
    async def scenario(server: FakeApiServer) -> None:
        server.list_refusal = 403
        async with following(server) as lab:
            await lab.until(lambda: server.lists >= 2)
            assert lab.informer.problem is not None
            assert not lab.informer.synced.is_set()
            server.list_refusal = None
            await lab.informer.synced.wait()
            assert lab.informer.problem is None

    run(scenario)


def test_an_error_in_the_callback_ends_the_informer_loudly() -> None:
    async def scenario(server: FakeApiServer) -> None:
        def fail(_old: object, _new: object) -> None:
            raise ZeroDivisionError

        server.put("a", "1")
        async with ApiClient(await server.start(), None) as client:
            with pytest.raises(ZeroDivisionError):
                await Informer(client, PATH, on_change=fail).run()
        await server.stop()

    run(scenario)


def test_retries_are_quick_for_the_length_of_a_restart_and_then_slow_down_to_a_second() -> None:
    backoff = _Backoff()
    delays = [backoff.next_delay_s() for _ in range(70)]
    assert delays[0] == 0.05
    assert set(delays[1:40]) == {0.1}
    assert delays[-1] == 1.0
    assert delays == sorted(delays)
    backoff.reset()
    assert backoff.next_delay_s() == 0.05


def test_it_begins_with_what_was_remembered_and_reports_what_the_first_list_has_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"

    async def earlier(server: FakeApiServer) -> None:
        for name in ("same", "changed", "gone"):
            server.put(name, "1")
        memory = Memory()
        async with following(server, memory=memory) as lab:
            await lab.informer.synced.wait()
            memory.save(file)

    async def later(server: FakeApiServer) -> None:
        server.list_refusal = 503
        server.put("same", "1")
        server.put("changed", "2")
        server.items["same"]["metadata"]["resourceVersion"] = "11"  # as it was
        async with following(server, memory=Memory.load(file)) as lab:
            await lab.until(lambda: lab.informer.problem)
            assert lab.informer.synced.is_set()
            assert lab.values() == {"same": "1", "changed": "1", "gone": "1"}
            assert lab.changes == [(None, "1")] * 3
            lab.changes.clear()
            server.list_refusal = None
            await lab.until(lambda: lab.values() == {"same": "1", "changed": "2"})
            assert sorted(lab.changes, key=str) == [("1", "2"), ("1", None)]

    run(earlier)
    assert file.stat().st_mode & 0o777 == 0o600
    run(later)


def test_nothing_is_remembered_of_an_informer_that_has_ended_nor_of_one_that_never_had_a_list(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    memory = Memory()

    async def scenario(server: FakeApiServer) -> None:
        server.put("a", "1")
        async with following(server, memory=memory) as lab:
            await lab.informer.synced.wait()
        server.list_refusal = 503
        async with following(server, memory=memory) as lab:
            await lab.until(lambda: lab.informer.problem)
            memory.save(file)

    run(scenario)
    assert json.loads(file.read_text()) == {}
    assert json.loads(file.read_text()) == Memory.load(tmp_path / "none.json")._known


def test_collections_with_other_selectors_are_remembered_apart() -> None:
    async def scenario(server: FakeApiServer) -> None:
        async with ApiClient(await server.start(), None) as client:
            own = Informer(client, PATH, params={"fieldSelector": "metadata.name=a"})
            other = Informer(client, PATH, params={"fieldSelector": "metadata.name=b"})
            memory = Memory({own.request: [{"metadata": {"name": "a"}}]})
            assert memory.recall(other) is None
            assert memory.recall(own) == [{"metadata": {"name": "a"}}]
            assert memory.recall(own) is None
        await server.stop()

    run(scenario)
