from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import pytest

from lab.components.gobuild import _explain, executable_name, recipe
from lab.components.pins import PINS
from lab.components.process import Finished

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ("go.etcd.io/etcd/server/v3", "server"),
        ("github.com/open-policy-agent/gatekeeper/v3", "gatekeeper"),
        ("example.test/vault", "vault"),
    ],
)
def test_the_program_has_the_name_that_go_gives_it(package: str, name: str) -> None:
    assert executable_name(package) == name


def test_a_recipe_changes_with_checksums_source_flags_and_package(tmp_path: Path) -> None:
    original = PINS["kwok"]
    directory = tmp_path / "module"
    shutil.copytree(original.module.directory, directory)
    same = dataclasses.replace(original, module=dataclasses.replace(original.module, directory=directory))
    stamped = dataclasses.replace(same, module=dataclasses.replace(same.module, stamps={"x.y": "z"}))
    recipes = [recipe(original), recipe(same), recipe(stamped), recipe(PINS["kwokctl"])]
    with (directory / "go.sum").open("a", encoding="utf-8") as file:
        file.write("example.test/x v1.0.0 h1:x\n")
    recipes.append(recipe(same))
    (directory / "main.go").write_text("package main\n", encoding="utf-8")
    recipes.append(recipe(same))

    assert recipes[0] == recipes[1]
    assert len(set(recipes)) == 5


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("write /tmp/x: no space left on device", "component-disk-full"),
        ('Get "https://p/x": dial tcp: lookup p on 1.2.3.4:53: no such host', "component-no-network"),
        ("verifying example.test/x@v1.0.0: checksum mismatch", "component-source"),
        ("main.go:3:1: syntax error", "component-build"),
    ],
)
def test_a_failed_build_names_its_remedy_and_keeps_gos_words(line: str, code: str) -> None:
    error = _explain(Finished(exit_code=1, stdout="", lines=("first", line)), "building tool failed")

    assert error.code == code
    assert line in error.context["go"]
    assert error.hint


def test_a_failure_without_a_word_still_says_how_it_ended() -> None:
    error = _explain(Finished(exit_code=-9, stdout="", lines=()), "building tool failed")

    assert "-9" in error.context["go"]
