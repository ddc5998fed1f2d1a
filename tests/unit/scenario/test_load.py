"""Every fault of a scenario is told with file, line and path, all of them at once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lab.errors import InputError
from lab.scenario.load import discover, load_all, read, select

if TYPE_CHECKING:
    from pathlib import Path

    from lab.scenario.load import Scenario
    from tests.unit.scenario.conftest import Write


def faults_of(directory: Path) -> list[str]:
    _, faults = read(directory)
    return [str(fault).removeprefix(f"{directory}/scenario.yaml:") for fault in faults]


def test_a_sound_scenario_has_no_fault(write: Write) -> None:
    assert faults_of(write()) == []


def test_it_says_what_it_says(scenario: Scenario) -> None:
    assert scenario.name == "demo"
    assert scenario.document.start.state.key == "enforced+bouncer"
    assert scenario.document.checks[0].chosen == "probe"
    assert scenario.text("solution.sh") == "solve\n"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("topic: topic", "topic: topic\n  tpoic: x", "6: metadata.tpoic: unknown key; did you mean topic?"),
        ("weight: 5", "weight: five", "9: metadata.weight: input should be a valid integer; write a whole number"),
        ("weight: 5", 'weight: "5"', "9: metadata.weight: input should be a valid integer; write a whole number"),
        (
            "imagePolicy: enforced",
            "imagePolicy: off",
            (
                "13: start.imagePolicy: off is a boolean to some readers of YAML and a string to others; write false, "
                "or 'off' in quotes"
            ),
        ),
        ("name: demo", "name: demo\n  name: demo", "5: metadata.name: the key is there twice, first on line 4"),
        ("name: demo", "name: other", "4: metadata.name: the name is other but the directory is demo"),
        ("topic: topic", "topic: other", "5: metadata.topic: the topic is other but the directory is topic"),
        (
            'seeds: ["000"]',
            'seeds: ["009"]',
            "7: metadata.seeds[0]: input should be '000', '001', '002', '003' or '004'",
        ),
        ('  seeds: ["000"]\n', "", "3: metadata: give seeds"),
        ("  difficulty: easy\n", "", "3: metadata: the key difficulty is missing; add it"),
        (
            "image: docker.io/nginx",
            "image: docker io",
            "42: checks[1].probe.run.image: 'docker io' is no image reference",
        ),
        (
            "expect: {verdict: allowed}",
            "expect: {verdict: denied}",
            "44: checks[1].probe.expect: a request with verdict denied needs a decider",
        ),
        (
            "expect: {verdict: allowed}",
            "expect: {verdict: denied, decider: schema}",
            "44: checks[1].probe.expect: a request with verdict denied needs message or messagePattern",
        ),
        (
            "expect: {verdict: allowed}",
            "expect: {verdict: allowed, decider: schema}",
            "44: checks[1].probe.expect: an allowed request has decider nobody and no message",
        ),
        (
            "decider: image-policy-backend",
            "decider: somebody",
            "24: checks[0].probe.expect.decider: string should match pattern",
        ),
        (
            "expect: {verdict: allowed}",
            'expect: {verdict: denied, decider: schema, messagePattern: "("}',
            "44: checks[1].probe.expect.messagePattern: not a regular expression",
        ),
        (
            "    probe:\n      run: {name: podx, image: docker.io/nginx}",
            "    exec: {command: [ls]}\n    probe:\n      run: {name: podx, image: docker.io/nginx}",
            (
                "37: checks[1]: exactly one of probe, resource, apiServer, nodeFile, rollout, exec, events must be "
                "given, found probe and exec"
            ),
        ),
        (
            "run: {name: podx, image: docker.io/nginx}",
            "dryRun: true",
            "41: checks[1].probe: exactly one of run, manifest, object, debug, patch, delete must be given, found none",
        ),
        (
            "run: {name: podx, image: docker.io/nginx}",
            "manifest: manifests/gone.yaml",
            "42: checks[1].probe.manifest: there is no file manifests/gone.yaml",
        ),
        (
            "run: {name: podx, image: docker.io/nginx}",
            "manifest: ../secret.yaml",
            "42: checks[1].probe.manifest: string should match pattern",
        ),
        ("bracket: other-registry-denied", "bracket: nowhere", "43: checks[1].probe.bracket: nowhere is no check"),
        ("fails: other-registry-denied", "fails: nothing", "52: mistakes[0].fails: there is no check nothing"),
        ("feedback: not-asked", "feedback: else", "53: mistakes[0].feedback: the check other-registry-denied has no"),
        ("script: mistakes/bouncer-down.sh", "script: mistakes/gone.sh", "51: mistakes[0].script: there is no file"),
        (
            "id: docker-hub-allowed",
            "id: other-registry-denied",
            "37: checks[1].id: other-registry-denied is there twice",
        ),
        ("when: {verdict: allowed}", "when: {exitCode: allowed}", "the verb probe observes no exitCode"),
        ("        when: {verdict: allowed}\n", "", "feedback without when hides what comes after it"),
        (
            "      - id: other\n        say: Some",
            "      - id: other\n        when: {verdict: x}\n        say: Some",
            "the last feedback must fit every failure",
        ),
        ("requires: [node-files]", "requires: []", "11: requires: start.imagePolicy needs the API server's own files"),
        (
            "requires: [node-files]\nstart:\n  imagePolicy: enforced",
            "requires: []\nstart:\n  files: [{path: /etc/hosts, content: x}]",
            "11: requires: start.files outside of /root/ needs the API server's own files",
        ),
        ("start:\n", "start:\n  images: [nginx@1.27]\n", "13: start.images[0]: not an image reference"),
        ("requires: [node-files]", "requires: [wings]", "11: requires[0]: input should be 'node-files'"),
        ("points: 3", "points: 0", "no check is worth a point"),
        (
            "  - id: other-registry-denied",
            "  - untouched: passes\n    id: other-registry-denied",
            "nothing fails in the untouched state",
        ),
        ("points: 3", "points: 3\n    replayOnly: true", "nobody can earn the points of a check"),
        (
            "points: 3",
            "points: 0\n    replayOnly: true",
            "only a replay runs the check other-registry-denied, so nobody who makes this mistake is told",
        ),
        ("kind: Scenario", "kind: Scene", "2: kind: input should be 'Scenario'"),
    ],
)
def test_a_fault_is_told_where_it_stands(write: Write, old: str, new: str, fault: str) -> None:
    points = (("points: 1", "points: 0"),) if new == "points: 0" else ()
    found = faults_of(write((old, new), *points))
    assert [text for text in found if fault in text], found


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(write: Write) -> None:
    directory = write(("name: demo", "name: other"), ("fails: other-registry-denied", "fails: x"), ("nginx}", '"?"}'))
    found = faults_of(directory)
    assert len(found) == 3
    assert [text.split(":")[0] for text in found] == sorted((text.split(":")[0] for text in found), key=int)


def test_all_files_are_told_at_once(write: Write, tmp_path: Path) -> None:
    first = write(("weight: 5", "weight: x"))
    second = tmp_path / "scenarios" / "topic" / "second"
    second.mkdir()
    (second / "scenario.yaml").write_text("kind: Scenario\n")
    with pytest.raises(InputError) as caught:
        load_all([first, second])
    assert caught.value.code == "invalid-file"
    assert str(first) in caught.value.message
    assert str(second) in caught.value.message


def test_what_is_not_yaml_is_one_fault(write: Write) -> None:
    assert len(faults_of(write(text="a: [\n"))) == 1


def test_a_manifest_is_read_as_strictly_as_the_scenario(write: Write) -> None:
    directory = write(("  addons: [bouncer]", "  addons: [bouncer]\n  manifests: [pod.yaml]"))
    (directory / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\nkind: Pod\n---\nmetadata: {}\n")
    _, faults = read(directory)
    assert [(fault.line, fault.message) for fault in faults] == [
        (3, "the key is there twice, first on line 2"),
        (5, "not a Kubernetes object: no apiVersion and no kind"),
    ]


def test_a_file_that_only_a_person_works_with_needs_nothing_of_the_backend(write: Write) -> None:
    own = "start:\n  files: [{path: /root/policy.yaml, content: x}]"
    assert faults_of(write(("requires: [node-files]\nstart:\n  imagePolicy: enforced", own))) == []


def test_a_link_out_of_the_directory_is_refused(write: Write, tmp_path: Path) -> None:
    directory = write()
    (tmp_path / "elsewhere.md").write_text("x")
    (directory / "task.md").unlink()
    (directory / "task.md").symlink_to(tmp_path / "elsewhere.md")
    assert "leads out of the scenario's directory" in faults_of(directory)[0]


def test_an_unused_capture_name_is_found(write: Write) -> None:
    rollout = "rollout: {name: d, digest: {equalsCapture: before}}"
    probe = (
        "probe:\n      run: {name: podx, image: docker.io/nginx}\n      bracket: other-registry-denied\n"
        "      expect: {verdict: allowed}"
    )
    assert "nothing captures before" in faults_of(write((probe, rollout)))[0]


def test_discover_finds_what_lies_two_levels_down(write: Write, tmp_path: Path) -> None:
    directory = write()
    (tmp_path / "scenarios" / "schema.json").write_text("{}")
    assert discover(tmp_path / "scenarios") == (directory,)
    with pytest.raises(InputError, match="not a directory"):
        discover(tmp_path / "nowhere")


def test_an_unknown_name_is_answered_with_the_nearest(scenario: Scenario) -> None:
    assert select([scenario], ["demo"]) == (scenario,)
    with pytest.raises(InputError) as caught:
        select([scenario], ["dmeo"])
    assert caught.value.hint == "did you mean demo?"


def test_two_scenarios_of_one_name_are_refused(write: Write, tmp_path: Path) -> None:
    directory = write()
    other = tmp_path / "copy" / "topic" / "demo"
    other.parent.mkdir(parents=True)
    shutil.copytree(directory, other)
    with pytest.raises(InputError) as caught:
        load_all([directory, other])
    assert caught.value.code == "duplicate-scenario"


def test_a_fingerprint_changes_with_the_document_and_with_any_file(scenario: Scenario) -> None:
    before = scenario.fingerprint
    assert scenario.fingerprint == before
    start = scenario.document.start.model_copy(update={"manifests": ("other.yaml",)})
    other = replace(scenario, document=scenario.document.model_copy(update={"start": start}))
    assert other.fingerprint != before
    (scenario.directory / "mistakes" / "bouncer-down.sh").write_text("another one\n")
    assert scenario.fingerprint != before
