"""Begins a new scenario: files that load at once and say what is to be written where.

A skeleton does not pass: it has no solution yet. ``docs/how-to/write-a-scenario.md`` goes on from here.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from lab.errors import InputError
from lab.scenario.load import FILE_NAME, Scenario, load
from lab.scenario.schema.base import NAME_PATTERN
from lab.scenario.schema.publish import json_schema

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_FILE = "schema.json"

_SCENARIO = """\
# yaml-language-server: $schema=../../schema.json
apiVersion: lab.supply-chain/v1alpha1
kind: Scenario
metadata:
  name: {name}
  topic: {topic}
  title: "TODO: what a person is to achieve, in one line"
  reason: "TODO: why this task is worth doing"
  difficulty: easy
  weight: 4
  timeMinutes: 5
start:
  imagePolicy: "off"
hints:
  - "TODO: what to think of first"
checks:
  - id: denied
    title: "TODO: what the cluster must do in the end"
    points: 4
    withinSeconds: 10
    probe:
      run: {{name: podx, image: "docker.io/library/nginx:latest"}}
      expect:
        verdict: denied
        decider: "validating-admission-policy:TODO-POLICY/TODO-BINDING"
        messagePattern: ".*TODO: the words of the denial.*"
    feedback:
      - id: let-in
        when: {{verdict: allowed}}
        say: "TODO: what to tell whoever let it in"
      - id: other-cause
        say: "TODO: what to tell whoever denied it in another way"
mistakes:
  - id: nothing-done
    title: "TODO: a mistake that people make"
    script: mistakes/nothing-done.sh
    fails: denied
    feedback: let-in
"""

_FILES = {
    FILE_NAME: _SCENARIO,
    "task.md": "# TODO: a heading\n\nTODO: what is there, what must be so in the end, and which names to use.\n",
    "solution.sh": "# TODO: the commands that solve the task, run on the node with bash -euo pipefail.\n",
    "mistakes/nothing-done.sh": "# TODO: the commands of somebody who makes this mistake.\n",
}

PURPOSES = {
    FILE_NAME: "what is checked, and which mistakes must be found",
    "task.md": "what a person reads",
    "solution.sh": "what solves it",
    "mistakes/nothing-done.sh": "a mistake that the checks must find",
}
"""What each file of a skeleton is for."""


def make(root: Path, *, name: str, topic: str) -> Scenario:
    """Write the files of a new scenario below a directory of scenarios, and load it.

    Args:
        root: holds ``<topic>/<name>/``; made if it is not there.
        name: the scenario's name.
        topic: its topic.

    Raises:
        InputError: ``scenario-name-invalid``, ``scenario-exists``, ``scenario-unwritable``.
    """
    for what, word in (("name", name), ("topic", topic)):
        if re.fullmatch(NAME_PATTERN, word) is None:
            raise InputError(
                "scenario-name-invalid",
                f"{word!r} is no {what} of a scenario",
                hint="use small letters, digits and hyphens: no-latest",
            )
    directory = root / topic / name
    for there in (directory, *root.glob(f"*/{name}")):
        if there.exists():
            raise InputError(
                "scenario-exists", f"{there} exists already", hint="give another name, or remove the directory"
            )
    made = not directory.parent.exists()
    try:
        _write(root, directory, name=name, topic=topic)
    except OSError as error:
        shutil.rmtree(directory.parent if made else directory, ignore_errors=True)
        raise InputError(
            "scenario-unwritable", f"{directory} cannot be written: {error}", hint="give another --scenarios DIR"
        ) from error
    return load(directory)


def _write(root: Path, directory: Path, *, name: str, topic: str) -> None:
    for file, text in _FILES.items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(name=name, topic=topic), encoding="utf-8")
    schema = root / SCHEMA_FILE
    if not schema.exists():
        schema.write_text(json_schema(), encoding="utf-8")
