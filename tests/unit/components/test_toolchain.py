from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.components import toolchain
from lab.components.pins import GO_TOOLCHAIN
from lab.components.platforms import Platform
from lab.components.progress import Ticker
from lab.components.store import Store
from lab.components.toolchain import Go, base_environment, parse_version, required_version
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("1.26", (1, 26, 0)),
        ("go1.27rc1", (1, 27, 0)),
        ("go1.26.8 X:jsonv2", (1, 26, 8)),
        ("go1.26.8-custom", (1, 26, 8)),
        ("devel go1.27-abcdef", None),
        ("", None),
        ("1", None),
    ],
)
def test_go_versions_are_read(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def test_the_go_line_is_what_a_module_asks_for() -> None:
    assert required_version("module x\n\ngo 1.26.0\n\ntoolchain go1.26.10\n") == "1.26.0"


def test_a_go_mod_without_go_line_is_an_error() -> None:
    with pytest.raises(LabError) as caught:
        required_version("module x\n")
    assert caught.value.code == "component-go-mod"


def test_the_users_settings_that_change_a_build_are_left_out_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GOOS", "GOARCH", "GOEXPERIMENT", "GO111MODULE"):
        monkeypatch.setenv(name, "changed")
    monkeypatch.setenv("GOFLAGS", "-tags=mine")
    monkeypatch.setenv("GOPROXY", "https://proxy.example")

    env = base_environment()

    assert not {"GOOS", "GOARCH", "GOEXPERIMENT", "GO111MODULE"} & set(env)
    assert (env["GOFLAGS"], env["GOTOOLCHAIN"], env["GOWORK"], env["CGO_ENABLED"]) == (
        "-mod=readonly",
        "local",
        "off",
        "0",
    )
    assert env["GOPROXY"] == "https://proxy.example"


@pytest.mark.parametrize(
    ("on_path", "chosen"), [("1.26.0", "own"), ("1.30", "own"), ("1.25.9", "pinned"), (None, "pinned"), ("?", "pinned")]
)
def test_go_from_path_counts_only_when_new_enough(
    on_path: str | None, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = Go(program="pinned", version=GO_TOOLCHAIN.version, env={})
    monkeypatch.setattr("shutil.which", lambda _: "own")
    monkeypatch.setattr(toolchain, "_ask_version", lambda _: on_path)
    monkeypatch.setattr(toolchain, "_pinned_go", lambda *_, **__: pinned)

    go = toolchain.find_go(
        "1.26.0",
        pin=GO_TOOLCHAIN,
        store=Store(tmp_path),
        platform=Platform(os="linux", arch="amd64"),
        ticker=Ticker(None, "x"),
    )

    assert go.program == chosen
