"""Real go builds of a tiny module that needs no network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from lab.components import Components
from lab.components.pins import GoToolchain
from lab.components.platforms import Platform
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.paths import LabPaths
    from tests.integration.components.conftest import TinyModule

pytestmark = pytest.mark.integration


def output(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def test_programs_of_one_module_are_built_together_and_stamped(tiny: TinyModule, paths: LabPaths) -> None:
    heard: list[str] = []
    pins = tiny.pins(tiny.component("hello"), tiny.component("goodbye"))

    programs = Components(paths, pins=pins, progress=heard.append).ensure("hello", "goodbye")

    assert [output(programs[name]) for name in ("hello", "goodbye")] == ["hello v1.2.3\n", "goodbye v1.2.3\n"]
    assert sum("building tiny 1.2.3 from source" in line for line in heard) == 1
    assert list((paths.store / "tmp").iterdir()) == []


def test_a_main_of_ours_beside_the_pins_is_built(tiny: TinyModule, paths: LabPaths) -> None:
    main = tiny.module.directory / "main.go"
    main.write_text(tiny.source("hello").read_text(encoding="utf-8").replace("hello", "ours"), encoding="utf-8")
    component = dataclasses.replace(tiny.component("pin"), package="tiny.test/pin")
    components = Components(paths, pins=tiny.pins(component))

    assert output(components.ensure("pin")["pin"]) == "ours v1.2.3\n"

    main.write_text(main.read_text(encoding="utf-8").replace("ours", "changed"), encoding="utf-8")
    assert output(components.ensure("pin")["pin"]) == "changed v1.2.3\n"


def test_one_name_builds_that_program_only(tiny: TinyModule, paths: LabPaths) -> None:
    tiny.source("goodbye").write_text("this is no Go", encoding="utf-8")
    components = Components(paths, pins=tiny.pins(tiny.component("hello"), tiny.component("goodbye")))

    components.ensure("hello")

    assert {info.name: info.state for info in components.list()} == {"hello": "ready", "goodbye": "missing"}


def test_a_build_is_reproducible(tiny: TinyModule, paths: LabPaths) -> None:
    components = Components(paths, pins=tiny.pins(tiny.component("hello")))
    components.ensure("hello")
    first = components.fingerprint("hello")
    shutil.rmtree(paths.store)
    components.ensure("hello")

    assert components.fingerprint("hello") == first


def test_a_damaged_program_is_never_given_but_built_again(tiny: TinyModule, paths: LabPaths) -> None:
    heard: list[str] = []
    components = Components(paths, pins=tiny.pins(tiny.component("hello")), progress=heard.append)
    program = components.ensure("hello")["hello"]
    program.write_bytes(b"#!/bin/sh\necho damaged\n")
    assert components.path("hello") is None

    assert output(components.ensure("hello")["hello"]) == "hello v1.2.3\n"
    assert any(line.startswith("hello: damaged, obtaining it again: ") for line in heard)


def test_a_compile_error_is_told_in_gos_own_words_and_leaves_nothing(tiny: TinyModule, paths: LabPaths) -> None:
    tiny.source("hello").write_text("package main\n\nfunc main() { undefinedName() }\n", encoding="utf-8")
    components = Components(paths, pins=tiny.pins(tiny.component("hello")))

    with pytest.raises(LabError) as caught:
        components.ensure("hello")

    assert caught.value.code == "component-build"
    assert "undefined: undefinedName" in caught.value.context["go"]
    assert components.path("hello") is None
    assert list((paths.store / "tmp").iterdir()) == []


def test_the_users_go_settings_do_not_reach_the_build(
    tiny: TinyModule, paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    monkeypatch.setenv("GOOS", "windows")
    monkeypatch.setenv("GOWORK", "/nowhere/go.work")

    assert (
        output(Components(paths, pins=tiny.pins(tiny.component("hello"))).ensure("hello")["hello"]) == "hello v1.2.3\n"
    )


def test_a_store_that_cannot_be_written_is_an_error_with_its_remedy(tiny: TinyModule, paths: LabPaths) -> None:
    paths.cache.mkdir()
    paths.store.write_text("a file where the store should be", encoding="utf-8")

    with pytest.raises(LabError) as caught:
        Components(paths, pins=tiny.pins(tiny.component("hello"))).ensure("hello")
    assert caught.value.code == "component-store"
    assert "LAB_HOME" in caught.value.hint


class Index:
    """A directory that pip takes for its only source, with a Go distribution that hands over to the real one.

    It notes the cache that it is given and goes on with the user's, or the standard library would be built once more.
    """

    def __init__(self, directory: Path) -> None:
        real = shutil.which("go")
        assert real is not None
        directory.mkdir()
        self.directory = directory
        script = f'#!/bin/sh\necho "$GOCACHE" > "$GOROOT/cache-given"\nunset GOROOT GOCACHE\nexec {real} "$@"\n'
        files = {
            "go/bin/go": script,
            "tiny_go-9.9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-go\nVersion: 9.9.9\n",
            "tiny_go-9.9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
        }
        record = [f"{name},sha256={_record_hash(text)},{len(text)}" for name, text in files.items()]
        files["tiny_go-9.9.9.dist-info/RECORD"] = "\n".join([*record, "tiny_go-9.9.9.dist-info/RECORD,,", ""])
        wheel = directory / "tiny_go-9.9.9-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o100755 if name == "go/bin/go" else 0o100644) << 16
                archive.writestr(info, text)
        self.sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()

    def pin(self, sha256: str | None = None) -> GoToolchain:
        arch = Platform.current().arch
        return GoToolchain(package="tiny-go", version="9.9.9", wheel_sha256={arch: sha256 or self.sha256})


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index beside a PATH whose go is too old."""
    index = Index(tmp_path / "index")
    old = tmp_path / "old"
    old.mkdir()
    (old / "go").write_text("#!/bin/sh\necho go1.10.3\n", encoding="utf-8")
    (old / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{old}:/usr/bin:/bin")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index.directory))
    return index


def test_where_go_is_too_old_the_pinned_toolchain_is_installed_once_in_a_place_of_its_own(
    tiny: TinyModule, paths: LabPaths, index: Index
) -> None:
    heard: list[str] = []
    pins = tiny.pins(tiny.component("hello"), tiny.component("goodbye"))

    program = Components(paths, pins=pins, toolchain=index.pin(), progress=heard.append).ensure("hello")["hello"]
    Components(paths, pins=pins, toolchain=index.pin(), progress=heard.append).ensure("goodbye")

    assert output(program) == "hello v1.2.3\n"
    told = [line for line in heard if "installing" in line and not line.endswith("so far")]
    assert told == ["hello: go on PATH is 1.10.3, 1.21 is needed: installing tiny-go 9.9.9"]
    installed = paths.store / f"tiny-go-9.9.9-{Platform.current()}" / "go"
    assert (installed / "bin" / "go").is_file()
    assert (installed / "cache-given").read_text() == f"{paths.store}/go-caches/build\n"


def test_a_toolchain_with_another_checksum_is_refused(tiny: TinyModule, paths: LabPaths, index: Index) -> None:
    with pytest.raises(LabError) as caught:
        Components(paths, pins=tiny.pins(tiny.component("hello")), toolchain=index.pin("0" * 64)).ensure("hello")

    assert caught.value.code == "component-go"
    assert "hash" in caught.value.context["pip"].lower()
    assert not list(paths.store.glob("tiny-go-*"))


def test_a_toolchain_that_cannot_be_had_is_an_error_with_its_remedy(
    tiny: TinyModule, paths: LabPaths, index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))

    with pytest.raises(LabError) as caught:
        Components(paths, pins=tiny.pins(tiny.component("hello")), toolchain=index.pin()).ensure("hello")
    assert caught.value.code == "component-go"
    assert "install Go 9.9.9 or newer" in caught.value.hint
