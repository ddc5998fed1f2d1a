"""Every scenario of the project, and what it consists of beside the texts for a person."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.scenario import load
from lab.scenario.validate import named_files

if TYPE_CHECKING:
    from lab.scenario.load import Scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios"
_FOR_A_PERSON = frozenset({"title", "reason", "hints", "say"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A scenario as a person meets it, and as it is.

    Attributes:
        scenario: the scenario.
        task: its task.md.
        substance: all that is not a text for a person: what it starts from, its checks, its scripts and manifests.
        files: the files that it names, by their names.
    """

    scenario: Scenario
    task: str
    substance: str
    files: frozenset[str]

    @property
    def prose(self) -> str:
        """The task without its blocks."""
        return "\n".join(line for line in self.task.splitlines() if not line.startswith("    "))

    @property
    def blocks(self) -> list[str]:
        """The indented and the fenced blocks of the task, without their indentation or fences."""
        fenced = re.findall(r"^```\w*\n(.*?)^```", self.task, re.MULTILINE | re.DOTALL)
        indented = re.findall(r"(?:^ {4}.*\n?(?:^\n(?=^ {4}))*)+", self.task, re.MULTILINE)
        return [re.sub(r"^ +", "", block, flags=re.MULTILINE).strip() for block in (*indented, *fenced)]

    @property
    def commands(self) -> list[str]:
        """The lines of the task's blocks that begin with kubectl."""
        return [line for block in self.blocks for line in block.splitlines() if line.startswith("kubectl ")]


def _without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_texts(inner) for key, inner in value.items() if key not in _FOR_A_PERSON}
    return [_without_texts(inner) for inner in value] if isinstance(value, list) else value


def content_of(scenario: Scenario) -> Content:
    document = scenario.document
    files = frozenset(name for _, name in named_files(document))
    structure = _without_texts(document.model_dump(mode="json", exclude_none=True))
    texts = [scenario.text(name) for name in sorted(files - {document.task})]
    return Content(
        scenario=scenario,
        task=scenario.text(document.task),
        # Unescaped, so that a quotation mark in a message is one here too.
        substance="\n".join([*_leaves(structure), *texts]),
        files=files,
    )


def _leaves(value: Any) -> list[str]:
    """Every key and every value of a structure, as text."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in (str(key), *_leaves(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in _leaves(inner)]
    return [value if isinstance(value, str) else json.dumps(value)]


@cache
def _loaded(directory: Path) -> Content:
    return content_of(load.load(directory))


@pytest.fixture(params=load.discover(SCENARIOS), ids=lambda directory: directory.name)
def content(request: pytest.FixtureRequest) -> Content:
    return _loaded(request.param)


@pytest.fixture
def fail_closed() -> Content:
    """One of them, for a look at what the checks of the content notice."""
    return _loaded(SCENARIOS / "imagepolicy" / "imagepolicy-fail-closed")
