"""The failure bundle: what a person needs to find out why, in one directory.

<phase>/result.json          the phase as the reports have it
<phase>/probes/<check>.json  Status, audit event and reviews of each probe
<phase>/events.json          the cluster's events
<phase>/logs/                what the backend keeps: API server, etcd, webhooks, audit log
<phase>/missing.txt          what could not be collected, and why
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.scenario.api import Api, KubeconfigTransport
from lab.scenario.report.json_report import phase_as_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.cluster.protocol import Cluster
    from lab.scenario.api import Transport
    from lab.scenario.result import PhaseResult


def write_bundle(directory: Path, result: PhaseResult, cluster: Cluster, transport: Transport | None = None) -> None:
    """Leave the evidence of a failed phase, before the next one puts the start state back.

    What cannot be collected is told in ``missing.txt``: a broken cluster must not hide the failure itself.

    Args:
        directory: of the whole scenario; the phase gets a directory below it.
        result: the phase.
        cluster: whose logs and events to collect.
        transport: sends requests to the API server; by default over the cluster's kubeconfig.
    """
    here = directory / result.name.replace("/", "-")
    here.mkdir(parents=True, exist_ok=True)
    _write(here / "result.json", phase_as_json(result))
    for check in result.checks:
        if check.probe is not None:
            _write(here / "probes" / f"{check.id}.json", dict(check.probe.evidence))
    missing = [
        _attempt("events", lambda: _write(here / "events.json", _events(cluster, transport))),
        _attempt("logs", lambda: cluster.collect_logs(here / "logs")),
    ]
    if any(missing):
        (here / "missing.txt").write_text("".join(missing), encoding="utf-8")


def _events(cluster: Cluster, transport: Transport | None) -> object:
    api = Api(transport or KubeconfigTransport(cluster.kubeconfig()))
    return api.find(api.kind_of({"apiVersion": "v1", "kind": "Event"}))


def _attempt(what: str, collect: Callable[[], None]) -> str:
    """Collect; the reason if that is not possible."""
    try:
        collect()
    except (LabError, OSError) as error:
        return f"{what}: {error}\n"
    return ""


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, default=str) + "\n", encoding="utf-8")
