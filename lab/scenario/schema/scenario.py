"""The scenario file as a whole: metadata, start state, checks, mistakes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lab.cluster.protocol import Addon, Capability, ImagePolicy, StartState
from lab.scenario.schema.base import (
    FileMode,
    ImageReference,
    Model,
    Name,
    NodePath,
    OneOf,
    Regex,
    RelativePath,
    Seconds,
    Text,
)
from lab.scenario.schema.verbs import Exec, Selection, Verbs

API_VERSION = "lab.supply-chain/v1alpha1"
KIND = "Scenario"

Seed = Literal["000", "001", "002", "003", "004"]
"""A text of the course."""


class Metadata(Model):
    """What a scenario is about.

    Attributes:
        name: its name, which is also its directory's.
        topic: the directory above.
        title: one line for a person.
        seeds: the texts of the course that it replays.
        reason: why it is there, when it goes beyond the course.
        difficulty: for a person.
        weight: its share of an exam, in percent.
        time_minutes: how long a person should need.
    """

    name: Name
    topic: Name
    title: Annotated[str, Field(min_length=1, max_length=100)]
    seeds: tuple[Seed, ...] = ()
    reason: Text | None = None
    difficulty: Literal["easy", "medium", "hard"]
    weight: Annotated[int, Field(ge=1, le=100)]
    time_minutes: Annotated[int, Field(ge=1, le=120)]

    @model_validator(mode="after")
    def _has_origin(self) -> Metadata:
        if bool(self.seeds) == bool(self.reason):
            raise ValueError("give seeds (the course texts that it replays) or, beyond the course, a reason; not both")
        return self


class StartFile(OneOf, keys=("from", "content", "component")):
    """A file to write to the node.

    Attributes:
        path: where it is to lie.
        from_file: a file of the scenario's directory that it is a copy of.
        content: or its text.
        component: or what the lab has pinned: Gatekeeper's own deploy manifest.
        mode: its permissions.
    """

    path: NodePath
    from_file: RelativePath | None = Field(default=None, alias="from")
    content: str | None = None
    component: Literal["gatekeeper-manifest"] | None = None
    mode: FileMode = "0644"


class Wait(Verbs):
    """A condition that must come true before a person starts."""

    title: Text
    timeout_seconds: Seconds = 60


class Capture(OneOf, keys=("resource", "exec")):
    """A value recorded at the start, for checks that compare with what was before.

    Attributes:
        name: how checks refer to it.
        resource: objects to read it from.
        path: JSONPath of the value in each of them; all values must be the same.
        exec: or a command whose output it is.
        pattern: a regular expression with one group that cuts the value out.
    """

    name: Name
    resource: Selection | None = None
    path: Text | None = None
    exec: Exec | None = None
    pattern: Regex | None = None

    @model_validator(mode="after")
    def _has_path(self) -> Capture:
        if (self.resource is None) != (self.path is None):
            raise ValueError("resource and path belong together")
        return self


class Start(Model):
    """The state to start from; its parts are made in the order in which they stand here.

    Attributes:
        image_policy: how ImagePolicyWebhook is set up.
        addons: what runs already.
        images: images that have to run, not only to be named, so that a backend can have them ready.
        files: files to write to the node.
        manifests: what to apply, in order.
        scripts: what to run on the node after that, for example a fault to be found.
        api_server: what state the API server is in when the start state stands.
        waits: conditions that must come true.
        captures: values to record.
    """

    image_policy: ImagePolicy = ImagePolicy.OFF
    addons: tuple[Addon, ...] = ()
    images: tuple[ImageReference, ...] = ()
    files: tuple[StartFile, ...] = ()
    manifests: tuple[RelativePath, ...] = ()
    scripts: tuple[RelativePath, ...] = ()
    api_server: Literal["running", "failed", "absent"] = "running"
    waits: tuple[Wait, ...] = ()
    captures: tuple[Capture, ...] = ()

    @property
    def state(self) -> StartState:
        """The part of it that a backend provides."""
        return StartState(image_policy=self.image_policy, addons=frozenset(self.addons))


class FeedbackRule(Model):
    """What to tell a person about a failed check.

    Attributes:
        id: how a mistake refers to it.
        when: facts that were observed, each with a regular expression found in it; none: the default, last of all.
        say: the sentence.
    """

    id: Name
    when: dict[str, Regex] = Field(default_factory=dict)
    say: Text


class Check(Verbs):
    """One thing that must be true in the end.

    Attributes:
        id: its name within the scenario.
        title: one line for a person.
        points: what it is worth.
        untouched: what it says about the start state, before anybody did anything. ``passes`` is for what holds from
            the start and must not get lost.
        within_seconds: it is tried again until it passes or this time is over; 0: once.
        replay_only: it proves the scenario where it is replayed, and takes longer than a person waits for a grade.
            It is worth no points.
        feedback: what to tell when it fails: the first rule that fits.
    """

    id: Name
    title: Text
    points: Annotated[int, Field(ge=0, le=100)]
    untouched: Literal["fails", "passes"] = "fails"
    within_seconds: Annotated[float, Field(ge=0, le=900)] = 0
    replay_only: bool = False
    feedback: Annotated[tuple[FeedbackRule, ...], Field(min_length=1)]


class Mistake(Model):
    """A mistake that people make, which the checks must find.

    Attributes:
        id: its name within the scenario.
        title: what was done wrong.
        script: what does it, on the node, from the start state.
        fails: the check that must fail.
        feedback: id of that check's feedback rule that must be chosen.
    """

    id: Name
    title: Text
    script: RelativePath
    fails: Name
    feedback: Name


class Solution(Model):
    """What solves the task.

    Attributes:
        script: run on the node with ``bash -eu``.
        timeout_seconds: it is killed after this time.
    """

    script: RelativePath = "solution.sh"
    timeout_seconds: Seconds = 180


class ScenarioDocument(Model):
    """A scenario file.

    Attributes:
        api_version: version of the format.
        kind: ``Scenario``.
        metadata: what it is about.
        requires: what a backend must be able to do; it is skipped, by name and reason, where that is missing.
        start: the state to start from.
        task: the text for a person.
        hints: sentences, each given on request.
        solution: what solves it.
        checks: what must be true in the end, in the order in which they run.
        mistakes: what the checks must find.
    """

    api_version: Literal["lab.supply-chain/v1alpha1"]
    kind: Literal["Scenario"]
    metadata: Metadata
    requires: tuple[Capability, ...] = ()
    start: Start = Field(default_factory=Start)
    task: RelativePath = "task.md"
    hints: Annotated[tuple[Text, ...], Field(min_length=1)]
    solution: Solution = Field(default_factory=Solution)
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]
    mistakes: Annotated[tuple[Mistake, ...], Field(min_length=1)]

    @property
    def graded(self) -> tuple[Check, ...]:
        """The checks that a person's work is graded by."""
        return tuple(check for check in self.checks if not check.replay_only)
