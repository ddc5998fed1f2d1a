"""A new scenario: files that load, and what to do with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.scenario.load import load

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Lab


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_scenario_loads_and_is_listed(run: Lab, here: Path) -> None:
    result = run("scenarios", "new", "no-latest", "--topic", "policies")

    assert result.exit_code == 0
    assert load(here / "scenarios" / "policies" / "no-latest").name == "no-latest"
    assert [entry["name"] for entry in json.loads(run("scenarios", "--json").stdout)] == ["no-latest"]
    assert json.loads((here / "scenarios" / "schema.json").read_text())["$id"] == "urn:lab.supply-chain:v1alpha1"


def test_it_says_what_to_do_next(run: Lab) -> None:
    printed = run("scenarios", "new", "no-latest").stdout

    assert printed.startswith("made scenarios/own/no-latest, to be filled in where it says TODO\n")
    for words in ("scenario.yaml", "task.md", "solution.sh", "lab run no-latest  ", "lab start no-latest  "):
        assert words in printed
    assert "docs/how-to/write-a-scenario.md" in printed
    assert (Path(__file__).parents[3] / "docs" / "how-to" / "write-a-scenario.md").is_file()


def test_commands_for_another_directory_name_it(run: Lab, here: Path) -> None:
    there = here / "my own"
    printed = run("scenarios", "--scenarios", str(there), "new", "no-latest").stdout

    assert f"lab run no-latest --scenarios '{there}'" in printed
    assert (there / "own" / "no-latest" / "scenario.yaml").is_file()
    assert run("scenarios", "new", "other", "--scenarios", str(there)).exit_code == 0


def test_a_schema_that_is_there_stays(run: Lab, here: Path) -> None:
    (here / "scenarios").mkdir()
    (here / "scenarios" / "schema.json").write_text("{}")
    run("scenarios", "new", "no-latest")

    assert (here / "scenarios" / "schema.json").read_text() == "{}"


@pytest.mark.parametrize("topic", ["own", "other"])
def test_a_name_that_is_taken_is_refused_in_every_topic(run: Lab, here: Path, topic: str) -> None:
    run("scenarios", "new", "no-latest")
    mine = here / "scenarios" / "own" / "no-latest" / "solution.sh"
    mine.write_text("my work")
    result = run("scenarios", "new", "no-latest", "--topic", topic)

    assert result.exit_code == 2
    assert "[scenario-exists]" in result.stderr
    assert mine.read_text() == "my work"
    assert not (here / "scenarios" / "other").exists()


@pytest.mark.parametrize(("name", "topic"), [("No_Latest", "own"), ("../up", "own"), ("fine", "Own")])
def test_a_name_that_cannot_be_one_is_refused(run: Lab, here: Path, name: str, topic: str) -> None:
    result = run("scenarios", "new", name, "--topic", topic)

    assert result.exit_code == 2
    assert "[scenario-name-invalid]" in result.stderr
    assert not (here / "scenarios").exists()


def test_what_cannot_be_written_is_told_and_nothing_half_made_is_left(run: Lab, here: Path) -> None:
    (here / "scenarios").write_text("a file")
    result = run("scenarios", "new", "no-latest")

    assert result.exit_code == 2
    assert "[scenario-unwritable]" in result.stderr
