"""The published JSON Schema, and the scenarios that the project ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.scenario.load import discover, load
from lab.scenario.schema.publish import json_schema

SCENARIOS = Path(__file__).parents[3] / "scenarios"


def test_the_published_schema_is_the_one_that_the_loader_uses() -> None:
    published = (SCENARIOS / "schema.json").read_text(encoding="utf-8")
    assert published == json_schema(), "python -m lab.scenario.schema.publish > scenarios/schema.json"


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    definitions = json.loads(json_schema())["$defs"]
    objects = {name: d for name, d in definitions.items() if d.get("type") == "object"}
    assert len(objects) > 15
    assert all(d["additionalProperties"] is False for d in objects.values())


def test_a_step_has_exactly_one_verb_in_the_schema_too() -> None:
    check = json.loads(json_schema())["$defs"]["Check"]
    assert {"required": ["probe"]} in check["oneOf"]
    assert len(check["oneOf"]) == 7


@pytest.mark.parametrize("directory", discover(SCENARIOS), ids=lambda path: path.name)
def test_a_shipped_scenario_is_sound(directory: Path) -> None:
    scenario = load(directory)
    named = {scenario.document.task, scenario.document.solution.script, *(m.script for m in scenario.document.mistakes)}
    assert all((directory / file).read_text(encoding="utf-8").strip() for file in named)


@pytest.mark.parametrize("directory", discover(SCENARIOS), ids=lambda path: path.name)
def test_every_mistake_of_a_shipped_scenario_has_a_script_and_every_script_a_mistake(directory: Path) -> None:
    used = {mistake.script for mistake in load(directory).document.mistakes}
    assert used == {f"mistakes/{file.name}" for file in (directory / "mistakes").iterdir()}
