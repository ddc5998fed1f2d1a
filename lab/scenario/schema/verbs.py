"""The verbs of a check: what is looked at, and what must be seen. How it is done is in `lab.scenario.verbs`.

Each verb is one model here and one module there. A step has exactly one verb.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lab.scenario.schema.base import FileMode, Model, Name, NodePath, OneOf, Regex, RelativePath, Seconds, Text

DECIDER_PATTERN = (
    r"^(nobody|image-policy-backend|image-policy-failed-closed"
    r"|(validating|mutating)-webhook:.+|webhook-failed-closed:.+"
    r"|gatekeeper:.+|validating-admission-policy:[^/]+(/[^/]+)?"
    r"|admission-plugin:[A-Za-z]+|schema|authorization|api-server)$"
)

Decider = Annotated[str, Field(pattern=DECIDER_PATTERN)]
"""Who decided about a request; docs/scenario-format.md explains each."""


class Expectation(Model):
    """The verdict that a probe must get, with its cause.

    Attributes:
        verdict: ``allowed`` (the request succeeded), ``denied`` (somebody decided against it, or a decision point that
            could not be asked failed closed) or ``error`` (the API server gave up: time-out, conflict).
        decider: who must have decided. More than one when several constraints deny at once. ``nobody`` for ``allowed``.
        message: the API server's Status message, exactly.
        message_pattern: instead, a regular expression that the whole message must match.
        asked: the backends that must have been asked for this very request; ``[]``: none (answered from the cache).
        reviewed_images: the images that the backend was shown, in any order.
        failed_open: whether a decision point must have failed open; an allowed probe proves that none did.
    """

    verdict: Literal["allowed", "denied", "error"]
    decider: Decider | tuple[Decider, ...] = "nobody"
    message: Text | None = None
    message_pattern: Regex | None = None
    asked: tuple[Text, ...] | None = None
    reviewed_images: tuple[Text, ...] | None = None
    failed_open: bool = False

    @property
    def deciders(self) -> frozenset[str]:
        """Everybody who must have decided."""
        return frozenset([self.decider] if isinstance(self.decider, str) else self.decider)

    @model_validator(mode="after")
    def _consistent(self) -> Expectation:
        if self.message is not None and self.message_pattern is not None:
            raise ValueError("message and messagePattern exclude each other: prefer the exact message")
        if self.verdict == "allowed":
            if self.deciders != {"nobody"} or self.message or self.message_pattern:
                raise ValueError("an allowed request has decider nobody and no message")
            return self
        if self.failed_open:
            raise ValueError("only an allowed request can have failed open")
        if not self.deciders or "nobody" in self.deciders:
            raise ValueError(f"a request with verdict {self.verdict} needs a decider: who must have decided?")
        if self.message is None and self.message_pattern is None:
            raise ValueError(f"a request with verdict {self.verdict} needs message or messagePattern")
        return self


class RunPod(Model):
    """The Pod that ``kubectl run NAME --image=IMAGE`` makes."""

    name: Name
    image: Text
    command: tuple[str, ...] = ()


class DebugPod(Model):
    """The ephemeral container that ``kubectl debug POD --image=IMAGE`` adds, through pods/ephemeralcontainers."""

    pod: Name
    image: Text
    name: Name = "debugger"


class ObjectRef(Model):
    """One object by its name."""

    api_version: Text
    kind: Text
    name: Text


class PatchObject(ObjectRef):
    """A patch of one object."""

    type: Literal["strategic", "merge", "json"] = "strategic"
    body: dict[str, Any] | tuple[dict[str, Any], ...]


class Probe(OneOf, keys=("run", "manifest", "object", "debug", "patch", "delete")):
    """A request sent to the API server, with the verdict expected of it.

    Attributes:
        run: create a Pod as ``kubectl run`` does.
        manifest: create or update the one object in this file.
        object: the same, written inline.
        debug: add an ephemeral container.
        patch: patch an object.
        delete: delete an object.
        operation: what to do with ``manifest`` or ``object``.
        given: manifests to create first, in the probe's namespace; they must be let in.
        namespace: ``fresh`` makes one for this probe alone: no cache answers, and its reviews can be told apart.
        dry_run: ask for the verdict only; nothing is stored.
        field_validation: ``Strict`` is what kubectl asks for.
        as_user: impersonate this user.
        as_groups: and these groups.
        bracket: id of a check with a denied probe, which is run before and after this one when there is no audit log.
        expect: the verdict.
    """

    run: RunPod | None = None
    manifest: RelativePath | None = None
    object: dict[str, Any] | None = None
    debug: DebugPod | None = None
    patch: PatchObject | None = None
    delete: ObjectRef | None = None
    operation: Literal["create", "update"] = "create"
    given: tuple[RelativePath, ...] = ()
    namespace: Name = "fresh"
    dry_run: bool = False
    field_validation: Literal["Strict", "Warn", "Ignore"] = "Strict"
    as_user: Text | None = Field(default=None, alias="as")
    as_groups: tuple[Text, ...] = ()
    bracket: Name | None = None
    expect: Expectation

    @model_validator(mode="after")
    def _fits(self) -> Probe:
        if self.operation == "update" and self.manifest is None and self.object is None:
            raise ValueError("operation update needs manifest or object")
        if self.bracket is not None and self.expect.verdict != "allowed":
            raise ValueError("bracket is for allowed probes: it proves that the decision point was closed around it")
        return self


class TextExpectation(Model):
    """What a text must be. Every key that is given must hold.

    Attributes:
        equals: the whole text, without the white space at its end.
        matches: a regular expression found somewhere in it.
        contains: every one of these occurs.
        lacks: none of these occurs.
        each_line_matches: a regular expression that every line matches as a whole; there is at least one line.
        equals_capture: name of a value captured at the start.
    """

    equals: str | None = None
    matches: Regex | None = None
    contains: tuple[Text, ...] = ()
    lacks: tuple[Text, ...] = ()
    each_line_matches: Regex | None = None
    equals_capture: Name | None = None

    @model_validator(mode="after")
    def _expects_something(self) -> TextExpectation:
        if not self.model_fields_set:
            raise ValueError("expects nothing: give equals, matches, contains, lacks, eachLineMatches or equalsCapture")
        return self


class FieldExpectation(OneOf, keys=("equals", "matches", "contains", "exists", "equalsCapture")):
    """What the values at a path must be.

    Attributes:
        path: kubectl's JSONPath: ``.status.conditions[?(@.type=="Available")].status``.
        quantifier: ``all`` values at the path (at least one), or ``any`` of them.
        equals: the value itself.
        matches: a regular expression found in the value's text.
        contains: a text that occurs in the value's text.
        exists: whether there is a value at all.
        equals_capture: name of a value captured at the start.
    """

    path: Text
    quantifier: Literal["all", "any"] = "all"
    equals: str | int | float | bool | list[Any] | dict[str, Any] | None = None
    matches: Regex | None = None
    contains: Text | None = None
    exists: bool | None = None
    equals_capture: Name | None = None


class Selection(Model):
    """Objects of one kind.

    Attributes:
        namespace: a namespace, ``default`` unless given; ``*`` for all of them.
        name: one object.
        label_selector: as kubectl's ``-l``.
        field_selector: as kubectl's ``--field-selector``.
    """

    api_version: Text
    kind: Text
    namespace: Text | None = None
    name: Text | None = None
    label_selector: Text | None = None
    field_selector: Text | None = None

    @model_validator(mode="after")
    def _named_or_selected(self) -> Selection:
        if self.name and (self.label_selector or self.field_selector):
            raise ValueError("name excludes labelSelector and fieldSelector")
        if self.name and self.namespace == "*":
            raise ValueError("name needs one namespace, not *")
        return self


class Resource(Selection):
    """Objects in the cluster and what must be true of them.

    Attributes:
        exists: whether there must be any.
        count: how many there must be, exactly.
        fields: what must hold for every object that was found.
    """

    exists: bool = True
    count: Annotated[int, Field(ge=0)] | None = None
    fields: tuple[FieldExpectation, ...] = ()

    @model_validator(mode="after")
    def _absent_has_no_fields(self) -> Resource:
        if not self.exists and (self.fields or self.count):
            raise ValueError("exists: false excludes fields and count")
        return self


class FlagExpectation(OneOf, keys=("equals", "contains", "matches", "exists")):
    """One flag of the running API server. ``contains`` is for flags that hold a list separated by commas."""

    name: Annotated[str, Field(pattern=r"^--[a-z0-9][a-z0-9-]*$")]
    equals: str | None = None
    contains: tuple[Text, ...] | None = None
    matches: Regex | None = None
    exists: bool | None = None


class ApiServer(Model):
    """The API server as a process: what runs, never what a mirror pod says.

    Attributes:
        state: the state that it must be in.
        plugins_enabled: admission plugins that ``--enable-admission-plugins`` of the running process must name.
        plugins_disabled: admission plugins that it must not name.
        flags: further flags of the running process.
        error: a regular expression found in its own last error, for state ``failed``.
    """

    state: Literal["running", "failed", "absent"] = "running"
    plugins_enabled: tuple[Text, ...] = ()
    plugins_disabled: tuple[Text, ...] = ()
    flags: tuple[FlagExpectation, ...] = ()
    error: Regex | None = None

    @model_validator(mode="after")
    def _fits_state(self) -> ApiServer:
        if self.state != "running" and (self.plugins_enabled or self.plugins_disabled or self.flags):
            raise ValueError("only a running API server has flags")
        if self.state != "failed" and self.error is not None:
            raise ValueError("error is for state failed")
        return self


class NodeFile(Model):
    """A file of the node.

    Attributes:
        path: its absolute path.
        exists: whether it must be there.
        mode: its permissions.
        content: what its text must be.
        fields: what its YAML (or JSON) must hold.
    """

    path: NodePath
    exists: bool = True
    mode: FileMode | None = None
    content: TextExpectation | None = None
    fields: tuple[FieldExpectation, ...] = ()

    @model_validator(mode="after")
    def _absent_has_no_content(self) -> NodeFile:
        if not self.exists and (self.mode or self.content or self.fields):
            raise ValueError("exists: false excludes mode, content and fields")
        return self


class DigestExpectation(OneOf, keys=("equals", "equalsCapture")):
    """The digest (``sha256:...``) that every Pod of a rollout must run."""

    equals: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    equals_capture: Name | None = None


class Rollout(Model):
    """A Deployment whose rollout is complete.

    Attributes:
        namespace: its namespace.
        name: its name.
        digest: the digest that the imageID of every container of every one of its Pods must have.
        pinned: whether every image in the Pod template must name a digest.
    """

    namespace: Name = "default"
    name: Name
    digest: DigestExpectation | None = None
    pinned: bool = False


class Exec(OneOf, keys=("command", "script")):
    """A command on the node.

    Attributes:
        command: program and arguments.
        script: or a script for ``bash -eu``.
        exit_code: the exit code that it must have.
        stdout: what it must print.
        stderr: what it must print as errors.
        timeout_seconds: it is killed after this time.
    """

    command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    script: Text | None = None
    exit_code: int = 0
    stdout: TextExpectation | None = None
    stderr: TextExpectation | None = None
    timeout_seconds: Seconds = 60


class Events(Model):
    """Events that the cluster must have recorded.

    Attributes:
        namespace: where.
        reason: for example ``FailedCreate``.
        kind: kind of the object that they are about.
        name_pattern: a regular expression that the whole name of that object matches.
        message: what the message of at least one of them must be.
        exists: false when there must be none.
    """

    namespace: Name
    reason: Text
    kind: Text | None = None
    name_pattern: Regex | None = None
    message: TextExpectation | None = None
    exists: bool = True


VERBS = ("probe", "resource", "apiServer", "nodeFile", "rollout", "exec", "events")


class Verbs(OneOf, keys=VERBS):
    """A step: exactly one verb."""

    probe: Probe | None = None
    resource: Resource | None = None
    api_server: ApiServer | None = None
    node_file: NodeFile | None = None
    rollout: Rollout | None = None
    exec: Exec | None = None
    events: Events | None = None

    @property
    def verb(self) -> Probe | Resource | ApiServer | NodeFile | Rollout | Exec | Events:
        """The one verb that was given."""
        given = (self.probe, self.resource, self.api_server, self.node_file, self.rollout, self.exec, self.events)
        return next(verb for verb in given if verb is not None)


FACTS: dict[str, frozenset[str]] = {
    "probe": frozenset(
        {"verdict", "decider", "message", "httpStatus", "reason", "failedOpen", "asked", "reviewedImages"}
    ),
    "resource": frozenset({"exists", "count", "names", "path", "values", "problem"}),
    "apiServer": frozenset({"state", "error", "flags", "plugins", "problem"}),
    "nodeFile": frozenset({"exists", "mode", "content", "path", "values", "problem"}),
    "rollout": frozenset({"exists", "complete", "images", "digests", "problem"}),
    "exec": frozenset({"exitCode", "stdout", "stderr", "problem"}),
    "events": frozenset({"count", "messages", "problem"}),
}
"""What each verb reports as observed; the feedback of a check is chosen by these."""
