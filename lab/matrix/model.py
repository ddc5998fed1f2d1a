"""What the verdict matrix is made of: rows (ways in), columns (decision points) and cells (what was measured).

Nothing here talks to a cluster. `finding_of` says what a measured verdict means for the image that was to come in; it
is the one place that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.scenario import deciders
from lab.scenario.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.scenario.result import Observed

TRUSTED = ("docker.io/", "k8s.gcr.io/")
"""Where images may come from: the registries that the course trusts. Every policy of the matrix says the same."""

UNTRUSTED_IMAGE = "quay.io/team/app:1.0"
"""The image that is to come in, from a registry that no policy trusts; the lab's registry serves it."""


class Workload(StrEnum):
    """What the image is written into."""

    POD = "Pod"
    DEPLOYMENT = "Deployment"
    JOB = "Job"
    CRON_JOB = "CronJob"


class Operation(StrEnum):
    """How it gets there."""

    CREATE = "create"
    UPDATE = "update"
    DEBUG = "debug"
    """An update of the subresource pods/ephemeralcontainers, as ``kubectl debug`` sends it."""


class Place(StrEnum):
    """Where in the Pod it stands."""

    CONTAINER = "container"
    INIT_CONTAINER = "init container"
    EPHEMERAL_CONTAINER = "ephemeral container"
    IMAGE_VOLUME = "image volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way in."""

    workload: Workload
    operation: Operation
    place: Place

    @property
    def key(self) -> str:
        """A name for programs: ``deployment-create-init-container``."""
        return f"{self.workload}-{self.operation}-{self.place}".lower().replace(" ", "-")

    @property
    def is_controlled(self) -> bool:
        """Whether a controller makes the Pods, so that they are reviewed in requests of their own."""
        return self.workload is not Workload.POD


def rows_of(workloads: Iterable[Workload] = tuple(Workload)) -> tuple[Row, ...]:
    """The ways in, by workload, operation and place."""
    return tuple(
        Row(workload=workload, operation=operation, place=place)
        for workload in workloads
        for operation in Operation
        for place in Place
        if operation is not Operation.DEBUG
        or (workload is Workload.POD and place is Place.EPHEMERAL_CONTAINER)  # only Pods have that subresource
    )


class Finding(StrEnum):
    """What became of the image."""

    DENIED = "denied"
    """The request was denied."""
    PODS_DENIED = "pods-denied"
    """The object was let in, and the Pods that its controller makes of it are denied."""
    CAME_IN = "came-in"
    """It is in the cluster, in a Pod."""
    NOT_APPLICABLE = "not-applicable"
    """The API does not allow an image there, whatever the policy."""
    UNKNOWN = "unknown"
    """It could not be measured, or who decided could not be proved: a decision point that failed open or closed too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What a controller made of an object that was let in.

    Attributes:
        about: what tells it: ``Pod app-5d9`` or ``FailedCreate of ReplicaSet app-5d9``.
        observed: the verdict about the Pod, and its cause.
    """

    about: str
    observed: Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way in at one decision point, as measured.

    Attributes:
        row: the way in.
        point: key of the decision point.
        finding: what became of the image.
        request: the request as a person would type it.
        observed: the API server's verdict about it; None when it could not be sent.
        consequence: what its controller made of it; None when no controller had to make anything.
        problem: why it is not known; empty unless it is UNKNOWN.
    """

    row: Row
    point: str
    finding: Finding
    request: str
    observed: Observed | None = None
    consequence: Consequence | None = None
    problem: str = ""

    @property
    def decisive(self) -> Observed | None:
        """The observation that settled it: that of the Pod, if it came as far as that."""
        return self.observed if self.consequence is None else self.consequence.observed

    @property
    def deciders(self) -> frozenset[str]:
        """Who decided; ``nobody`` when the image came in."""
        return frozenset() if self.decisive is None else self.decisive.deciders

    @property
    def message(self) -> str:
        """The API server's words; empty when the image came in."""
        return "" if self.decisive is None else self.decisive.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A decision point as the table shows it.

    Attributes:
        key: its name for programs.
        title: what it is, in a few words.
        heading: its lines above a narrow column.
        about: what it looks at, a sentence for a person.
        policy: text of its manifests; empty for none.
    """

    key: str
    title: str
    heading: tuple[str, ...]
    about: str
    policy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The whole of it.

    Attributes:
        columns: the decision points.
        rows: the ways in.
        cells: one for each of both.
        requests: what was sent, as YAML, by key of the row.
        kubernetes: version of the API server.
        backend: what it ran on.
        measured: when, in ISO 8601.
        took_s: how long it took, in seconds.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    requests: dict[str, str] = field(default_factory=dict)
    kubernetes: str = ""
    backend: str = ""
    measured: str = ""
    took_s: float = 0.0

    def cell(self, row: Row, column: Column) -> Cell:
        """The cell of a way in and a decision point."""
        return next(cell for cell in self.cells if cell.row == row and cell.point == column.key)

    def of(self, column: Column) -> tuple[Cell, ...]:
        """The cells of a decision point, in the order of the rows."""
        return tuple(self.cell(row, column) for row in self.rows)

    def refusals(self) -> tuple[tuple[Row, str], ...]:
        """Where the API does not allow an image at all, with its own words."""
        found = []
        for row in self.rows:
            cells = [self.cell(row, column) for column in self.columns]
            refused = [cell for cell in cells if cell.finding is Finding.NOT_APPLICABLE]
            if refused:
                found.append((row, refused[0].message))
        return tuple(found)


def finding_of(observed: Observed, consequence: Consequence | None) -> tuple[Finding, str]:
    """What a verdict means for the image, and why it is not known if it is not.

    Args:
        observed: the verdict about the request.
        consequence: what its controller made of it, where there is one.
    """
    if observed.deciders == {deciders.SCHEMA}:
        return Finding.NOT_APPLICABLE, ""
    if observed.verdict is not Verdict.ALLOWED:
        return _denied(observed, Finding.DENIED)
    if consequence is not None and consequence.observed.verdict is not Verdict.ALLOWED:
        return _denied(consequence.observed, Finding.PODS_DENIED)
    last = observed if consequence is None else consequence.observed
    for seen in (observed, last):
        if seen.failed_open is None:
            return Finding.UNKNOWN, f"it came in, and it is not proved that nothing failed open: {' '.join(seen.proof)}"
        if seen.failed_open:
            return Finding.UNKNOWN, f"it came in because {', '.join(seen.failed_open)} failed open"
    return Finding.CAME_IN, ""


def _denied(observed: Observed, finding: Finding) -> tuple[Finding, str]:
    """A denial counts only when somebody decided: not when nobody could be asked, and not when it is not known who."""
    if not observed.deciders:
        return Finding.UNKNOWN, f"it is not proved who decided: {' '.join(observed.proof)}"
    if observed.verdict is not Verdict.DENIED:
        return Finding.UNKNOWN, f"nobody decided: {observed.message}"
    if any(_failed_closed(decider) for decider in observed.deciders):
        return Finding.UNKNOWN, f"the decision point could not be asked: {observed.message}"
    return finding, ""


def _failed_closed(decider: str) -> bool:
    return decider == deciders.IMAGE_POLICY_FAILED_CLOSED or decider.startswith("webhook-failed-closed:")
