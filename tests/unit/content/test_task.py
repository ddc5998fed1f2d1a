"""The texts for a person speak of what the scenario has: its files, its names, its commands, its messages."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from lab.scenario.evidence import AUDIT_LOG
from lab.scenario.verdict import IMAGE_POLICY_FAILED_OPEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.unit.content.conftest import Content

NODE_PATHS = ("/etc/hosts", "/var/log/pods", AUDIT_LOG)
"""What every node has, whatever the scenario."""
NAMED_ANYWAY = frozenset({IMAGE_POLICY_FAILED_OPEN, "cfssl"})
"""What the API server itself writes, and a program of the course that the task says is not there."""

_PATH = re.compile(r"(?<![\w.:/~>-])(?:~|/(?:etc|root|var|app|run|tmp))/[\w./-]+")
_PLACEHOLDER = re.compile(r"\.\.\.|\b[A-Z]{3,}\b")
_DENIAL = re.compile(r'(?:Error from server(?: \(\w+\))?: )?(admission webhook ".*|\S+ "[^"]*" is forbidden: .*)')
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(?P<word>\w+)['\"]?(?P<rest>.*)\n(?s:.*?)^\s*(?P=word)$", re.MULTILINE)


def test_every_file_of_its_directory_has_a_use(content: Content) -> None:
    directory = content.scenario.directory
    found = {str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()}
    assert found - content.files == {"scenario.yaml"}


def test_the_names_in_the_task_are_the_scenarios(content: Content) -> None:
    assert list(_unknown_names(content)) == []


def test_the_paths_in_task_hints_and_feedback_exist(content: Content) -> None:
    document = content.scenario.document
    said = [rule.say for check in document.checks for rule in check.feedback]
    assert list(_unknown_paths(content, "\n".join([content.task, *document.hints, *said]))) == []


def test_the_commands_in_the_task_can_be_typed(content: Content) -> None:
    for block in content.blocks:
        if block.startswith(("kubectl ", "for ")):
            assert shlex.split(block), block


def test_the_images_that_the_task_says_to_try_are_those_of_a_check(content: Content) -> None:
    tried = [match for command in content.commands for match in re.findall(r"--image=([^\s$]+)", command)]
    assert [image for image in tried if image not in content.substance] == []


def test_the_denials_that_the_task_prints_are_those_of_a_check(content: Content) -> None:
    assert list(_unknown_denials(content)) == []


def test_no_hint_is_a_command_of_the_solution(content: Content) -> None:
    assert list(_given_away(content, content.scenario.document.hints)) == []


class TestTheseChecksNotice:
    """What they are there for: a text that was left behind when the scenario changed."""

    def test_a_name_that_is_gone(self, fail_closed: Content) -> None:
        task = f"{fail_closed.task}\nSee the Deployment `image-bouncer-webhok`, and `kubectl logs deployment/other`."
        assert list(_unknown_names(replace(fail_closed, task=task))) == [
            "image-bouncer-webhok",
            "kubectl logs deployment/other",
        ]

    def test_a_path_that_is_gone(self, fail_closed: Content) -> None:
        assert list(_unknown_paths(fail_closed, "Edit /etc/kubernetes/admission/kubeconfig and ~/notes.")) == [
            "/etc/kubernetes/admission/kubeconfig",
            "~/notes",
        ]

    def test_a_denial_in_other_words(self, fail_closed: Content) -> None:
        changed = replace(fail_closed, task=fail_closed.task.replace("no such host", "no such name"))
        assert len(list(_unknown_denials(changed))) == 1

    def test_a_hint_that_says_it_all(self, fail_closed: Content) -> None:
        command = "sed -i 's#server: https://.*#server: https://external-service:1234/check-image#' "
        hint = f"Type {command}/etc/kubernetes/admission/kubeconf."
        assert len(list(_given_away(fail_closed, ["Look into kubeconf.", hint]))) == 1


def _unknown_names(content: Content) -> Iterator[str]:
    """What stands in backticks in the task's prose, and nowhere in the scenario.

    kubectl's answer and a command count by the object that they are about, a text with placeholders by the rest of it,
    a list or an assignment by its parts.
    """
    for name in dict.fromkeys(re.findall(r"`([^`]+)`", content.prose)):
        wanted = " ".join(name.split())
        if wanted in NAMED_ANYWAY or wanted.startswith(NODE_PATHS):
            continue
        if wanted.startswith("kubectl "):
            wanted = wanted.split()[-1]
        elif answer := re.fullmatch(r"\w+/(\S+) created", wanted):
            wanted = answer[1]
        pattern = ".+".join(re.escape(part) for part in _PLACEHOLDER.split(wanted.replace("~/", "/root/")))
        parts = [part for part in re.split(r"[\s=,]+", wanted) if part]
        if not re.search(pattern, content.substance) and not all(part in content.substance for part in parts):
            yield name


def _unknown_paths(content: Content, text: str) -> Iterator[str]:
    for path in dict.fromkeys(found.rstrip(".") for found in _PATH.findall(text)):
        if not path.startswith(NODE_PATHS) and path.replace("~/", "/root/") not in content.substance.replace(
            "~/", "/root/"
        ):
            yield path


def _unknown_denials(content: Content) -> Iterator[str]:
    expectations = [check.probe.expect for check in content.scenario.document.checks if check.probe is not None]
    for line in (line for block in content.blocks for line in block.splitlines()):
        match = _DENIAL.fullmatch(line)
        if match is None:
            continue
        message = match[1]
        if not any(
            expect.message == message
            or (expect.message_pattern is not None and re.fullmatch(expect.message_pattern, message))
            for expect in expectations
        ):
            yield message


def _given_away(content: Content, hints: Iterable[str]) -> Iterator[str]:
    """The hints that hold a whole command of the solution; what it writes into files is no command."""
    script = _HERE_DOCUMENT.sub(r"\g<rest>", content.scenario.text(content.scenario.document.solution.script))
    lines = [line.strip() for line in script.splitlines() if not line.startswith("#")]
    commands = [line for line in lines if len(line.split()) > 2]
    return (hint for hint in hints if any(command in hint for command in commands))
