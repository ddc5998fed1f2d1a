"""Gathers the evidence about one request: its audit event, the bouncer's record, what could have decided.

Nothing here judges. Evidence that cannot be had is None, which `lab.scenario.verdict` never takes for "no".
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from lab.cluster.protocol import Capability
from lab.scenario.api import HTTP_CREATED
from lab.scenario.verdict import Review

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lab.cluster.protocol import Cluster
    from lab.scenario.api import Api

AUDIT_LOG = "/var/log/kubernetes/audit/audit.log"
"""Where the cluster definition has the API server write it (kind-config.yaml)."""

AUDIT_WAIT_S = 2.0
"""The event is written when the request ends, so it is there at once unless nobody writes one."""
POLL_S = 0.05

# Prints the size of the log, then what was appended behind an offset; a log that shrank was begun anew.
_APPENDED = r"""
size=$(stat -c %s "$1") || exit 3
[ "$size" -ge "$2" ] || set -- "$1" 0
echo "$2"
tail -c "+$(($2 + 1))" "$1"
"""
_NO_LOG = 3

BOUNCER_LABELS = "app=image-bouncer-webhook"
_REVIEW_LINE = re.compile(r"^\S+ info review (?P<fields>.*)$")


class AuditLog:
    """The API server's audit log, read from where it was read last.

    Args:
        cluster: whose node holds it.
        clock: monotonic, in seconds.
        pause: waits that many seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._pause = pause
        self._offset = 0
        self._events: dict[str, dict[str, Any]] = {}
        self.readable = Capability.AUDIT_LOG in cluster.capabilities

    def skip_to_end(self) -> None:
        """Leave out what was written before; a log that does not exist yet begins at its start."""
        if not self.readable:
            return
        result = self._cluster.node_exec(["stat", "-c", "%s", AUDIT_LOG])
        self._offset = int(result.stdout) if result.exit_code == 0 else 0
        self._events.clear()

    def event(self, audit_id: str, *, wait_s: float = AUDIT_WAIT_S) -> dict[str, Any] | None:
        """The event that closes a request; None when there is no log, or none of it within the time."""
        deadline = self._clock() + wait_s
        while self.readable:
            self._read()
            if audit_id in self._events:
                return self._events[audit_id]
            if self._clock() >= deadline:
                return None
            self._pause(POLL_S)
        return None

    def creations(self, resource: str, *, namespace: str) -> tuple[dict[str, Any], ...]:
        """The events of what was created in a namespace, by whomever, as far as they are written.

        Args:
            resource: for example ``pods``.
            namespace: where.
        """
        self._read()
        return tuple(event for event in self._events.values() if _created(event, resource, namespace))

    def _read(self) -> None:
        result = self._cluster.node_exec(["sh", "-c", _APPENDED, "sh", AUDIT_LOG, str(self._offset)])
        if result.exit_code != 0:
            # No log (status 3) may appear yet; anything else shows in the events that are never found.
            return
        start, _, appended = result.stdout.partition("\n")
        complete = appended[: appended.rfind("\n") + 1]
        self._offset = int(start) + len(complete.encode())
        for line in complete.splitlines():
            event = _json_object(line)
            if event.get("stage") in ("ResponseComplete", "Panic"):
                self._events[str(event.get("auditID"))] = event


def _created(event: Mapping[str, Any], resource: str, namespace: str) -> bool:
    about = event.get("objectRef") or {}
    return (
        event.get("verb") == "create"
        and (about.get("resource"), about.get("subresource"), about.get("namespace")) == (resource, None, namespace)
        and (event.get("responseStatus") or {}).get("code") == HTTP_CREATED
    )


class BouncerRecord:
    """What the bouncer says it was asked, from the log of its Pods.

    Args:
        api: the cluster's API.
        namespace: where the bouncer runs.
    """

    def __init__(self, api: Api, *, namespace: str = "default") -> None:
        self._api = api
        self._namespace = namespace

    def reviews(self, *, namespace: str, since_seconds: int) -> tuple[Review, ...] | None:
        """The reviews of one namespace; None when the record of a running bouncer cannot be read.

        Args:
            namespace: of the objects under review.
            since_seconds: how far to look back.
        """
        pods = self._api.find(
            self._api.kind_of({"apiVersion": "v1", "kind": "Pod"}),
            namespace=self._namespace,
            label_selector=BOUNCER_LABELS,
        )
        if not pods:
            return None
        found: list[Review] = []
        for pod in pods:
            log = self._api.pod_log(
                namespace=self._namespace, name=pod["metadata"]["name"], since_seconds=since_seconds
            )
            if log is None:
                return None
            found += [review for review in reviews_in(log) if review.namespace == namespace]
        return tuple(found)


def reviews_in(log: str) -> Iterator[Review]:
    """The reviews in the bouncer's log: ``TIME info review key=JSON key=JSON ...``."""
    for line in log.splitlines():
        match = _REVIEW_LINE.match(line)
        if match is None:
            continue
        fields = _fields(match["fields"])
        yield Review(
            namespace=str(fields.get("namespace", "")),
            images=tuple(str(image) for image in fields.get("images", [])),
            allowed=fields.get("verdict") == "allowed",
        )


def _fields(text: str) -> Mapping[str, Any]:
    """``key=JSON`` pairs; a value may hold spaces, so JSON itself tells where it ends."""
    decoder = json.JSONDecoder()
    fields: dict[str, Any] = {}
    while "=" in text:
        key, _, text = text.partition("=")
        try:
            value, end = decoder.raw_decode(text)
        except ValueError:
            return fields
        fields[key.strip()] = value
        text = text[end:]
    return fields


def _json_object(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
