"""Static pods, found and kept as a kubelet finds and keeps them.

The manifests directory is read whenever something in it changes. Every file whose name does not begin with a dot is a
manifest, whatever its ending, so a ``.bak`` copy is one too. Two manifests with the same full name are one Pod with two
versions: the second waits while the first runs, and when an edit ends the first, the one that has waited longest takes
its place, not the edited file (kubelet, ``pkg/kubelet/pod_workers.go``: ``waitingStaticPodsByFullname``).

`StaticPodQueue` decides which manifest runs and is free of processes; `ManifestDirectory` reads files.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPod:
    """One manifest, as the node runs it.

    Attributes:
        uid: hash over node, file and content, as the kubelet makes it: an edit makes another Pod.
        file: name of the manifest file.
        pod: the Pod object, with the node's name appended to its own.
    """

    uid: str
    file: str
    pod: dict[str, Any]

    @property
    def full_name(self) -> str:
        """``name_namespace``, by which the kubelet tells versions of one Pod."""
        metadata = self.pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}"

    @property
    def component(self) -> str:
        """Name of the Pod without the node's: ``kube-apiserver``."""
        name: str = self.pod["metadata"]["name"]
        return name.removesuffix("-" + self.pod["spec"]["nodeName"])


@dataclass(slots=True, kw_only=True)
class ManifestDirectory:
    """The directory of static pod manifests.

    Attributes:
        path: the directory.
        node_name: the node's name.
        problems: file name to what is wrong with it, for files that are no manifest.
    """

    path: Path
    node_name: str
    problems: dict[str, str] = field(default_factory=dict)
    _seen: tuple[tuple[str, int, int, int], ...] = ()
    _read: tuple[tuple[str, int, int, int], ...] | None = None

    def poll(self) -> list[StaticPod] | None:
        """The static pods of the directory, or None while nothing has changed.

        A change is read at the second poll that sees it the same, so that a file is not read while it is written.
        """
        signature = self._signature()
        settled = signature == self._seen
        self._seen = signature
        if not settled or signature == self._read:
            return None
        self._read = signature
        return self._load()

    @property
    def settled(self) -> bool:
        """Whether what was last loaded is what the directory holds now."""
        return self._read is not None and self._signature() == self._read

    def _signature(self) -> tuple[tuple[str, int, int, int], ...]:
        found = []
        with os.scandir(self.path) as entries:  # looked at many times a second
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    stat = entry.stat()
                except OSError:  # gone since the directory was listed
                    continue
                found.append((entry.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(sorted(found))

    def _load(self) -> list[StaticPod]:
        self.problems.clear()
        pods = []
        for name, *_ in self._seen:  # sorted by name, the order in which a kubelet takes them
            path = self.path / name
            if not path.is_file():
                continue
            try:
                pods.append(parse_manifest(path.read_text(), file=name, node_name=self.node_name))
            except (OSError, ValueError, yaml.YAMLError) as error:
                self.problems[name] = " ".join(str(error).split())
        return pods


def parse_manifest(text: str, *, file: str, node_name: str) -> StaticPod:
    """Read a static pod manifest and complete it as the kubelet does.

    Raises:
        ValueError: it is no Pod, or lacks what a Pod needs.
        yaml.YAMLError: it is no YAML.
    """
    document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - the safe loader, in C where there is one
    if not isinstance(document, dict) or document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        raise ValueError("not a Pod of apiVersion v1")
    containers = (document.get("spec") or {}).get("containers")
    if not isinstance(containers, list) or not containers:
        raise ValueError("spec.containers: a Pod needs at least one container")
    metadata = document.setdefault("metadata", {})
    if not metadata.get("name"):
        raise ValueError("metadata.name: a Pod needs a name")
    digest = hashlib.md5(usedforsecurity=False)
    for part in (node_name, file, json.dumps(document, sort_keys=True, default=str)):
        digest.update(part.encode())
    uid = digest.hexdigest()
    metadata["uid"] = uid
    metadata["name"] = f"{metadata['name']}-{node_name}"
    metadata.setdefault("namespace", "default")
    metadata.setdefault("annotations", {}).update(
        {"kubernetes.io/config.hash": uid, "kubernetes.io/config.source": "file"}
    )
    document["spec"]["nodeName"] = node_name
    return StaticPod(uid=uid, file=file, pod=document)


@dataclass(slots=True)
class StaticPodQueue:
    """Which static pods should run, and which wait for one of the same full name to end."""

    _waiting: dict[str, list[StaticPod]] = field(default_factory=dict)
    _running: dict[str, StaticPod] = field(default_factory=dict)

    def update(self, pods: Iterable[StaticPod]) -> list[StaticPod]:
        """Take over what the directory holds; returns the running ones that must end."""
        desired = {pod.uid: pod for pod in pods}
        for full_name, queue in self._waiting.items():
            self._waiting[full_name] = [pod for pod in queue if pod.uid in desired]
        known = {pod.uid for queue in self._waiting.values() for pod in queue}
        known |= {pod.uid for pod in self._running.values()}
        for uid, pod in desired.items():
            if uid not in known:
                self._waiting.setdefault(pod.full_name, []).append(pod)
        return [pod for pod in self._running.values() if pod.uid not in desired]

    def startable(self) -> list[StaticPod]:
        """Take from the queues the pods whose turn it is; they count as running from now on."""
        started = []
        for full_name, queue in self._waiting.items():
            if queue and full_name not in self._running:
                self._running[full_name] = queue.pop(0)
                started.append(self._running[full_name])
        return started

    def ended(self, pod: StaticPod) -> None:
        """A pod that had to end has ended: its full name is free."""
        if self._running.get(pod.full_name) is pod:
            del self._running[pod.full_name]

    def waiting(self) -> list[StaticPod]:
        """The pods that wait for one of the same full name."""
        return [pod for queue in self._waiting.values() for pod in queue]
