"""A live copy of one collection of the API server, which survives the API server's restarts and time travel.

In the lab the API server is restarted all the time (that is what is being taught), and a reset puts etcd back to an
earlier state, so that resource versions go backwards. So the rule is stricter than that of the usual informers: a
watch is resumed only when it ended by its own time limit; after anything else the collection is listed again, which
is cheap at a lab's size, and the difference to what was known is reported as changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable, JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.cluster.embedded.api_client import ApiClient, WatchEvent
    from lab.cluster.embedded.memory import Memory

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""
OnChange = Callable[[JsonObject | None, JsonObject | None], None]
"""Called with the object before and after: None before when it is new, None after when it is gone.

An object that was replaced by another of the same name may arrive as one change: compare the uids where it matters.
"""

WATCH_TIMEOUT_S = 300.0
_EAGER_FOR_S = 5.0
_EAGER_DELAY_S = 0.1
_FIRST_DELAY_S = 0.05
_NO_DELAY_S = 1e-6
_GONE = 410
_MAX_DELAY_S = 1.0
_STEADY_S = 1.0
"""A round that lasted this long was in order, so the next failure is a new one."""

log = logging.getLogger(__name__)


class Informer:
    """Lists and watches one collection.

    Run `run` as a task; it ends only by cancellation (or when ``on_change`` raises, which is a programming error and
    must not pass unseen).

    Args:
        client: client of the API server.
        path: the collection, for example ``/api/v1/pods``.
        params: selectors, for example ``{"fieldSelector": "spec.nodeName=n"}``.
        on_change: called at every difference, in order, in the event loop; `objects` is up to date by then.
        memory: what is begun with, before the first list; the differences to that list are reported as changes.
        watch_timeout_s: how long the server is asked to hold one watch.

    Attributes:
        objects: the collection as last seen, by namespace and name; treat as read-only.
        synced: set while `objects` holds at least one full list, be it a remembered one (`relist` clears it until the
            next one).
        problem: why the API server could not be asked the last time; None while all is well.
    """

    def __init__(
        self,
        client: ApiClient,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        on_change: OnChange | None = None,
        memory: Memory | None = None,
        watch_timeout_s: float = WATCH_TIMEOUT_S,
    ) -> None:
        self._client = client
        self._path = path
        self._params = dict(params or {})
        self._on_change = on_change
        self._memory = memory
        self._watch_timeout_s = watch_timeout_s
        self._attempt: asyncio.Task[None] | None = None
        self._backoff = _Backoff()
        self.objects: dict[Key, JsonObject] = {}
        self.synced = asyncio.Event()
        self.problem: ApiError | ApiUnavailable | None = None

    @property
    def request(self) -> str:
        """What it asks for: path and query."""
        return f"{self._path}?{urlencode(sorted(self._params.items()))}"

    def get(self, namespace: str, name: str) -> JsonObject | None:
        """One object, or None."""
        return self.objects.get((namespace, name))

    def relist(self) -> None:
        """Forget the resource version and list at once, for example after etcd was put back.

        Clears `synced`, so that ``await informer.synced.wait()`` waits for the fresh list.
        """
        self.synced.clear()
        self._backoff.reset()
        if self._attempt is not None:
            self._attempt.cancel()

    async def run(self) -> None:
        """Keep `objects` up to date until cancelled."""
        try:
            self._recall()
            await self._keep()
        finally:
            if self._memory is not None:
                self._memory.let_go(self)

    def _recall(self) -> None:
        """Begin with what was known before, if anything."""
        items = None if self._memory is None else self._memory.recall(self)
        if items is not None:
            self._take({_key(item): item for item in items})

    async def _keep(self) -> None:
        while True:
            self._attempt = asyncio.create_task(self._follow())
            try:
                await asyncio.wait({self._attempt})
            except asyncio.CancelledError:
                self._attempt.cancel()
                await asyncio.wait({self._attempt})
                raise
            if not self._attempt.cancelled():  # cancelled alone: relist() asked for a fresh start
                self._attempt.result()

    async def _follow(self) -> None:
        """One round: list, then watch for as long as the watches end in good order; pause after a failure."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            version = await self._list()
            while True:
                version = await self._watch(version)
        except (ApiError, ApiUnavailable) as error:
            if str(error) != str(self.problem):
                log.info("informer of %s: %s", self._path, error.message)
            self.problem = error
            if loop.time() - started > _STEADY_S:
                self._backoff.reset()
            outdated = isinstance(error, ApiError) and error.outdated
            await asyncio.sleep(self._backoff.next_delay_s(eager=outdated))

    async def _list(self) -> str:
        answer = await self._client.get(self._path, self._params)
        kind = str(answer.get("kind", "")).removesuffix("List")
        fresh: dict[Key, JsonObject] = {}
        for item in answer.get("items") or []:
            # Lists leave these two out and watches send them; without them every object would look changed.
            item.setdefault("kind", kind)
            item.setdefault("apiVersion", answer.get("apiVersion", ""))
            fresh[_key(item)] = item
        self.problem = None
        self._take(fresh)
        return str(answer["metadata"]["resourceVersion"])

    def _take(self, fresh: dict[Key, JsonObject]) -> None:
        before, self.objects = self.objects, fresh
        self.synced.set()
        for old, new in _differences(before, fresh):
            self._changed(old, new)

    async def _watch(self, version: str) -> str:
        """Watch from a resource version on until the watch's own time limit; the version to go on from."""
        request = f"WATCH {self._path}"
        loop = asyncio.get_running_loop()
        started = loop.time()
        params = {**self._params, "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with aclosing(self._client.watch(self._path, params, timeout_s=self._watch_timeout_s)) as events:
            async for event in events:
                seen = str(event.object["metadata"].get("resourceVersion") or version)
                if _older(seen, version):
                    message = f"the resource version went back from {version} to {seen}"
                    raise ApiError(request=request, status=_GONE, reason="Expired", message=message, body={})
                version = seen
                self._receive(event)
        if loop.time() - started < self._watch_timeout_s - _STEADY_S:
            raise ApiUnavailable(request=request, cause=EOFError("it ended the watch early, so it is shutting down"))
        return version

    def _receive(self, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            return
        key = _key(event.object)
        if event.type == "DELETED":
            old = self.objects.pop(key, None)
            new = None
        else:
            old = self.objects.get(key)
            new = self.objects[key] = event.object
        if old != new:
            self._changed(old, new)

    def _changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        if self._on_change is not None:
            self._on_change(old, new)


class _Backoff:
    """Delays between attempts: eager while the API server may just be restarting, up to a second later."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._delay_s = 0.0

    def reset(self) -> None:
        self._waited_s = self._delay_s = 0.0

    def next_delay_s(self, *, eager: bool = False) -> float:
        """The next delay; none at all for the first failure when eager."""
        if self._waited_s == 0:
            self._delay_s = _NO_DELAY_S if eager else _FIRST_DELAY_S
        elif self._waited_s < _EAGER_FOR_S:
            self._delay_s = _EAGER_DELAY_S
        else:
            self._delay_s = min(self._delay_s * 1.5, _MAX_DELAY_S)
        self._waited_s += self._delay_s
        return self._delay_s


def _key(item: JsonObject) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _differences(
    before: Mapping[Key, JsonObject], after: Mapping[Key, JsonObject]
) -> Iterator[tuple[JsonObject | None, JsonObject | None]]:
    """What changed, deletions first, compared in full: after a reset the same version may hold another content."""
    for key, old in before.items():
        if key not in after:
            yield old, None
    for key, new in after.items():
        known = before.get(key)
        if known != new:
            yield known, new


def _older(version: str, than: str) -> bool:
    return version.isdigit() and than.isdigit() and int(version) < int(than)
