"""The words of the matrix, the same in the terminal and on the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.matrix.model import Finding, Operation
from lab.scenario.verdict import named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.matrix.model import Cell, Row

WORDS = {
    Finding.CAME_IN: "came in",
    Finding.PODS_DENIED: "Pods denied",
    Finding.DENIED: "denied",
    Finding.NOT_APPLICABLE: "n/a",
    Finding.UNKNOWN: "not known",
}
MEANINGS = {
    Finding.CAME_IN: "the image is in the cluster, in a Pod",
    Finding.PODS_DENIED: "the object is stored, and the Pods that its controller makes of it are denied",
    Finding.DENIED: "the request was denied",
    Finding.NOT_APPLICABLE: "the API allows no image there, whatever the policy",
    Finding.UNKNOWN: "it could not be measured, or it is not proved who decided",
}

_VALUE = re.compile(r"Invalid value: \{.*\}: ", re.DOTALL)
"""The object that an immutable field would get: a screenful, and not what the message is about."""


def label(row: Row) -> str:
    """A way in, as a phrase: ``create a Deployment, init container``."""
    if row.operation is Operation.DEBUG:
        return f"kubectl debug a {row.workload}, {row.place}"
    return f"{row.operation} a {row.workload}, {row.place}"


def brief(message: str) -> str:
    """The first line of the API server's message, without the value that it repeats."""
    return (_VALUE.sub("Invalid value: {...}: ", message).strip().splitlines() or [""])[0]


def who(cell: Cell) -> str:
    """Who decided about a cell, in a few words."""
    if cell.finding is Finding.UNKNOWN:
        return cell.problem
    if cell.finding is Finding.CAME_IN:
        return "nobody denied it, and nothing failed open"
    return f"decided by {named(cell.deciders)}"


def counts(cells: Iterable[Cell]) -> dict[Finding, int]:
    """How often each finding was made, in the order in which they are told."""
    findings = [cell.finding for cell in cells]
    return {finding: findings.count(finding) for finding in WORDS}


def ways_in(rows: Iterable[Row]) -> tuple[tuple[str, str], ...]:
    """Ways in by place, in few words: ``("image volume", "Pod create; Deployment create, update")``."""
    places: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        places.setdefault(row.place, {}).setdefault(row.workload, []).append(row.operation)
    return tuple(
        (place, "; ".join(f"{workload} {', '.join(operations)}" for workload, operations in workloads.items()))
        for place, workloads in places.items()
    )
