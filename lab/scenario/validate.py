"""What a decoded scenario must hold beyond its shape: files that exist, references that point somewhere.

Pure apart from looking at the scenario's own files. Faults carry the line of what they are about.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from lab import strict_yaml
from lab.cluster.protocol import Capability, ImagePolicy
from lab.scenario import jsonpath
from lab.scenario.schema.verbs import (
    FACTS,
    Exec,
    FieldExpectation,
    NodeFile,
    Probe,
    Resource,
    Rollout,
    TextExpectation,
    Verbs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.scenario.schema.scenario import Check, ScenarioDocument
    from lab.strict_yaml import Document, Fault

OWN_FILES = "/root/"
"""Where a scenario puts what only a person works with: no file of the API server's."""

# What no image reference can hold, whatever its host: the API server stores it all the same, so only short forms,
# which a person would type, are looked at. A deliberately malformed one belongs into a manifest.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@[a-z0-9]+:[0-9a-f]{32,})?\Z")


def semantic_faults(scenario: ScenarioDocument, document: Document, directory: Path) -> list[Fault]:
    """Every fault of a decoded scenario.

    Args:
        scenario: the decoded file.
        document: where everything stands in it.
        directory: where the files that it names must lie.
    """
    return [
        *_names(scenario, document, directory),
        *_files(scenario, document, directory),
        *_ids(scenario, document),
        *_checks(scenario, document),
        *_mistakes(scenario, document),
        *_steps(scenario, document),
        *_requirements(scenario, document),
    ]


def _names(scenario: ScenarioDocument, document: Document, directory: Path) -> Iterator[Fault]:
    directory = directory.absolute()
    for key, said, is_ in (
        ("name", scenario.metadata.name, directory.name),
        ("topic", scenario.metadata.topic, directory.parent.name),
    ):
        if said != is_:
            yield document.fault(
                ("metadata", key), f"the {key} is {said} but the directory is {is_}", "rename one of them"
            )


def named_files(scenario: ScenarioDocument) -> Iterator[tuple[strict_yaml.Path, str]]:
    """Every file that a scenario names, with the path of the place that names it."""
    yield ("task",), scenario.task
    yield ("solution", "script"), scenario.solution.script
    for i, file in enumerate(scenario.start.files):
        if file.from_file is not None:
            yield ("start", "files", i, "from"), file.from_file
    for i, name in enumerate(scenario.start.manifests):
        yield ("start", "manifests", i), name
    for i, name in enumerate(scenario.start.scripts):
        yield ("start", "scripts", i), name
    for i, mistake in enumerate(scenario.mistakes):
        yield ("mistakes", i, "script"), mistake.script
    for path, step in steps(scenario):
        if isinstance(step.verb, Probe):
            if step.verb.manifest is not None:
                yield (*path, "probe", "manifest"), step.verb.manifest
            for i, name in enumerate(step.verb.given):
                yield (*path, "probe", "given", i), name


def steps(scenario: ScenarioDocument) -> Iterator[tuple[strict_yaml.Path, Verbs]]:
    """Every step with a verb, waits first, with its path."""
    for i, wait in enumerate(scenario.start.waits):
        yield ("start", "waits", i), wait
    for i, check in enumerate(scenario.checks):
        yield ("checks", i), check


def _files(scenario: ScenarioDocument, document: Document, directory: Path) -> Iterator[Fault]:
    root = directory.resolve()
    for path, name in named_files(scenario):
        file = directory / name
        if not file.is_file():
            yield document.fault(path, f"there is no file {name} beside the scenario.yaml", "write it")
        elif not file.resolve().is_relative_to(root):
            yield document.fault(path, f"{name} leads out of the scenario's directory", "copy the file into it")
        elif _is_manifest(path):
            yield from _manifest_faults(document, path, file)


def _is_manifest(path: strict_yaml.Path) -> bool:
    return path[:2] == ("start", "manifests") or "manifest" in path or "given" in path


def _manifest_faults(document: Document, path: strict_yaml.Path, file: Path) -> Iterator[Fault]:
    objects, faults = strict_yaml.parse_all(file.read_text(encoding="utf-8"), file=str(file))
    yield from faults
    for manifest in objects:
        missing = [
            key for key in ("apiVersion", "kind") if not isinstance(manifest.data, dict) or key not in manifest.data
        ]
        if missing:
            yield manifest.fault((), f"not a Kubernetes object: no {' and no '.join(missing)}", "add it")
    if path[-1] == "manifest" and len(objects) != 1 and not faults:
        yield document.fault(path, f"a probe sends one object, {file.name} holds {len(objects)}", "split the file")


def _ids(scenario: ScenarioDocument, document: Document) -> Iterator[Fault]:
    groups: list[tuple[strict_yaml.Path, str, list[str]]] = [
        (("checks",), "id", [check.id for check in scenario.checks]),
        (("mistakes",), "id", [mistake.id for mistake in scenario.mistakes]),
        (("start", "captures"), "name", [capture.name for capture in scenario.start.captures]),
    ]
    groups += [
        (("checks", i, "feedback"), "id", [rule.id for rule in check.feedback])
        for i, check in enumerate(scenario.checks)
    ]
    for path, key, names in groups:
        twice = {name for name, count in Counter(names).items() if count > 1}
        for i, name in enumerate(names):
            if name in twice and name in names[:i]:
                yield document.fault((*path, i, key), f"{name} is there twice", "rename one of them")


def _checks(scenario: ScenarioDocument, document: Document) -> Iterator[Fault]:
    if sum(check.points for check in scenario.checks) == 0:
        yield document.fault(("checks",), "no check is worth a point", "give points")
    if all(check.untouched == "passes" for check in scenario.graded):
        yield document.fault(
            ("checks",),
            "nothing fails in the untouched state, so there is nothing to do",
            "add a check that fails there",
        )
    for i, check in enumerate(scenario.checks):
        if check.replay_only and check.points:
            yield document.fault(
                ("checks", i, "points"), "nobody can earn the points of a check that only a replay runs", "give it 0"
            )
        yield from _feedback(check, document, ("checks", i))


def _feedback(check: Check, document: Document, path: strict_yaml.Path) -> Iterator[Fault]:
    known = FACTS[check.chosen]
    for i, rule in enumerate(check.feedback):
        where = (*path, "feedback", i)
        last = i == len(check.feedback) - 1
        if last and rule.when:
            yield document.fault(where, "the last feedback must fit every failure", "add one without when")
        if not last and not rule.when:
            yield document.fault(where, "feedback without when hides what comes after it", "move it to the end")
        for fact in rule.when:
            if fact not in known:
                yield document.fault(
                    (*where, "when", fact),
                    f"the verb {check.chosen} observes no {fact}",
                    f"use one of {', '.join(sorted(known))}",
                )


def _mistakes(scenario: ScenarioDocument, document: Document) -> Iterator[Fault]:
    checks = {check.id: check for check in scenario.checks}
    for i, mistake in enumerate(scenario.mistakes):
        check = checks.get(mistake.fails)
        if check is None:
            yield document.fault(("mistakes", i, "fails"), f"there is no check {mistake.fails}", "name a check's id")
        elif check.replay_only:
            yield document.fault(
                ("mistakes", i, "fails"),
                f"only a replay runs the check {check.id}, so nobody who makes this mistake is told",
                f"name one of {', '.join(check.id for check in scenario.graded)}",
            )
        elif mistake.feedback not in {rule.id for rule in check.feedback}:
            yield document.fault(
                ("mistakes", i, "feedback"),
                f"the check {check.id} has no feedback {mistake.feedback}",
                f"name one of {', '.join(rule.id for rule in check.feedback)}",
            )


def _steps(scenario: ScenarioDocument, document: Document) -> Iterator[Fault]:
    captures = {capture.name for capture in scenario.start.captures}
    for i, capture in enumerate(scenario.start.captures):
        if capture.path is not None:
            yield from _json_path(document, ("start", "captures", i, "path"), capture.path)
        if capture.pattern is not None and re.compile(capture.pattern).groups != 1:
            yield document.fault(
                ("start", "captures", i, "pattern"), "it must have one group", "put ( ) around the value"
            )
    denied = {c.id for c in scenario.checks if c.probe is not None and c.probe.expect.verdict == "denied"}
    for path, step in steps(scenario):
        where = (*path, step.chosen)
        for name in _captures_used(step):
            if name not in captures:
                yield document.fault(where, f"nothing captures {name}", "add it to start.captures")
        for field in _fields(step):
            yield from _json_path(document, (*where, "fields"), field.path)
        if isinstance(step.verb, Probe):
            yield from _probe(step.verb, document, where, denied)


def _probe(probe: Probe, document: Document, where: strict_yaml.Path, denied: set[str]) -> Iterator[Fault]:
    for key, short in (("run", probe.run), ("debug", probe.debug)):
        if short is not None and not _IMAGE.match(short.image):
            yield document.fault(
                (*where, key, "image"), f"{short.image!r} is no image reference", "mend it, or use a manifest"
            )
    if probe.bracket is not None and probe.bracket not in denied:
        yield document.fault(
            (*where, "bracket"), f"{probe.bracket} is no check with a denied probe", "name one that must be denied"
        )


def _json_path(document: Document, where: strict_yaml.Path, path: str) -> Iterator[Fault]:
    try:
        jsonpath.parse(path)
    except ValueError as error:
        yield document.fault(where, str(error), "write it as kubectl does, for example .spec.containers[*].image")


def _fields(step: Verbs) -> tuple[FieldExpectation, ...]:
    return step.verb.fields if isinstance(step.verb, Resource | NodeFile) else ()


def _captures_used(step: Verbs) -> Iterator[str]:
    verb = step.verb
    texts: list[TextExpectation | None] = []
    if isinstance(verb, Exec):
        texts = [verb.stdout, verb.stderr]
    elif isinstance(verb, NodeFile):
        texts = [verb.content]
    elif isinstance(verb, Rollout) and verb.digest is not None and verb.digest.equals_capture is not None:
        yield verb.digest.equals_capture
    for part in (*texts, *_fields(step)):
        if part is not None and part.equals_capture is not None:
            yield part.equals_capture


def _requirements(scenario: ScenarioDocument, document: Document) -> Iterator[Fault]:
    """A scenario that needs the API server's own files must say so, else it breaks where there are none."""
    if Capability.NODE_FILES in scenario.requires:
        return
    start = scenario.start
    reasons = [
        (
            f"start.files outside of {OWN_FILES}",
            any(not file.path.startswith(OWN_FILES) for file in start.files),
        ),
        ("start.imagePolicy", start.image_policy is not ImagePolicy.OFF),
        ("start.apiServer", start.api_server != "running"),
        (
            "a check with nodeFile or apiServer",
            any(step.chosen in ("nodeFile", "apiServer") for _, step in steps(scenario)),
        ),
    ]
    for what, needed in reasons:
        if needed:
            yield document.fault(("requires",), f"{what} needs the API server's own files", "require node-files")
