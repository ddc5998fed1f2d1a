"""The programs of CI are pinned as the lab's own are, and a night replays what they are for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ci import matrix
from ci.programs import (
    ACTIONLINT,
    ACTIONLINT_VERSION,
    CONTROL_PLANE_BEFORE,
    KUBERNETES_BEFORE,
    KUBERNETES_BEFORE_VERSION,
    LINTERS,
    gather,
)
from lab.components import KUBERNETES_VERSION
from lab.components.pins import PINS
from lab.paths import LabPaths

if TYPE_CHECKING:
    from pathlib import Path

    from lab.components.pins import Component, GoModule


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")


@pytest.mark.parametrize(
    ("module", "version"), [(ACTIONLINT, ACTIONLINT_VERSION), (KUBERNETES_BEFORE, KUBERNETES_BEFORE_VERSION)]
)
def test_go_mod_pins_the_same_version(module: GoModule, version: str) -> None:
    text = (module.directory / "go.mod").read_text(encoding="utf-8")
    assert re.search(rf"^\s+{re.escape(module.path)} v{re.escape(version)}\b", text, flags=re.MULTILINE)
    assert f"{module.path} v{version} h1:" in (module.directory / "go.sum").read_text(encoding="utf-8")


@pytest.mark.parametrize("component", [*CONTROL_PLANE_BEFORE.values(), *LINTERS.values()], ids=lambda c: c.name)
def test_go_mod_names_each_program_as_a_tool(component: Component) -> None:
    text = (component.module.directory / "go.mod").read_text(encoding="utf-8")
    tools = re.search(r"^tool \(\n(.*?)^\)|^tool (\S+)$", text, flags=re.MULTILINE | re.DOTALL)
    assert tools is not None
    assert component.package in (tools[1] or tools[2]).split()


def test_the_kubernetes_before_is_the_minor_version_before_the_pinned_one() -> None:
    pinned, before = (
        [int(part) for part in version.split(".")] for version in (KUBERNETES_VERSION, KUBERNETES_BEFORE_VERSION)
    )
    assert (before[0], before[1]) == (pinned[0], pinned[1] - 1)


def test_no_lab_command_fetches_them() -> None:
    assert "actionlint" not in PINS
    assert all(PINS[name].version != component.version for name, component in CONTROL_PLANE_BEFORE.items())


def test_gathered_programs_are_files_of_their_own(paths: LabPaths, tmp_path: Path) -> None:
    class Given:
        """A catalogue whose programs are all there."""

        def ensure(self, *names: str) -> dict[str, Path]:
            paths.store.mkdir(parents=True)
            for name in names:
                (paths.store / name).write_text(f"program {name}")
                (paths.store / name).chmod(0o755)
            return {name: paths.store / name for name in names}

    directory = tmp_path / "bin"
    gather(Given(), directory)  # type: ignore[arg-type]
    found = {
        file.name: (file.read_text(), file.is_symlink(), file.stat().st_mode & 0o111) for file in directory.iterdir()
    }
    assert found == {name: (f"program {name}", False, 0o111) for name in CONTROL_PLANE_BEFORE}


def test_a_night_replays_every_backend_with_every_kubernetes_that_it_can_run() -> None:
    assert matrix.entries() == [
        {"backend": "embedded", "kubernetes": "pinned", "version": KUBERNETES_VERSION},
        {"backend": "embedded", "kubernetes": "before", "version": KUBERNETES_BEFORE_VERSION},
        {"backend": "kind", "kubernetes": "pinned", "version": KUBERNETES_VERSION},
    ]
