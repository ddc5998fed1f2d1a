"""What the node knew of the cluster when its template was made, so that it need not wait for the API server.

After a restart a real node's containers still run. Here they have to be started, and while the API server starts there
is time for it: everything that a Pod is made of stands in the collections that the node followed. They are kept with
the template, whose etcd holds the same; what is different all the same is put right by the first list that is read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cluster.embedded.api_errors import JsonObject
    from lab.cluster.embedded.informer import Informer

PATH = Path("/var/lib/kubelet/memory.json")
"""Where the node keeps it: beside the kubelet's own state, which belongs to a template."""


class Memory:
    """The collections of an earlier time, and the informers that follow them now.

    Args:
        known: items of a collection by its request: path and query.
    """

    def __init__(self, known: Mapping[str, list[JsonObject]] | None = None) -> None:
        self._known = dict(known or {})
        self._followed: set[Informer] = set()

    @classmethod
    def load(cls, path: Path) -> Self:
        """What was kept in a file; nothing when there is none."""
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()

    def save(self, path: Path) -> None:
        """Keep what the informers that run know now. Secrets are among it, so the file is its owner's alone."""
        known = {one.request: list(one.objects.values()) for one in self._followed if one.synced.is_set()}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(known, file)

    def recall(self, informer: Informer) -> list[JsonObject] | None:
        """The items of an informer's collection, once; it is followed from now on. None when they are not known."""
        self._followed.add(informer)
        return self._known.pop(informer.request, None)

    def let_go(self, informer: Informer) -> None:
        """An informer has ended, and knows nothing new any more."""
        self._followed.discard(informer)
