from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lab.components.cli import components_group
from lab.components.pins import PINS
from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))


def test_list_as_json_has_one_object_per_component(tmp_path: Path) -> None:
    result = CliRunner().invoke(components_group, ["list", "--json"], catch_exceptions=False)

    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == list(PINS)
    assert rows[0] == {
        "name": "kube-apiserver", "version": "1.37.0", "source": "", "state": "missing", "size": 0, "sha256": "",
        "path": rows[0]["path"], "problem": "",
    }  # fmt: skip
    assert rows[0]["path"].startswith(str(tmp_path))


def test_list_as_a_table_has_one_line_per_component() -> None:
    result = CliRunner().invoke(components_group, ["list"], catch_exceptions=False)

    heading, *lines = result.stdout.splitlines()
    assert heading.split() == ["NAME", "VERSION", "STATE", "SOURCE", "SIZE", "PATH"]
    assert [line.split()[:3] for line in lines] == [[c.name, c.version, "missing"] for c in PINS.values()]


def test_fetch_of_an_unknown_name_is_bad_input() -> None:
    result = CliRunner().invoke(components_group, ["fetch", "kube-dns"])

    assert isinstance(result.exception, InputError)
    assert result.exception.code == "component-unknown"
