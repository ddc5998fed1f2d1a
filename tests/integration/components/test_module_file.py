"""A file out of a module's verified source, from a module proxy in a directory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from lab.components import Components
from lab.components.pins import GoModule, ModuleFile
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.paths import LabPaths

pytestmark = pytest.mark.integration

MODULE = "tiny.test/policy"


def publish(proxy: Path, manifest: str) -> None:
    """Publish version 1.2.3 of the module, as a module proxy lays it out."""
    directory = proxy / MODULE / "@v"
    directory.mkdir(parents=True, exist_ok=True)
    go_mod = f"module {MODULE}\n\ngo 1.21\n"
    (directory / "list").write_text("v1.2.3\n", encoding="utf-8")
    (directory / "v1.2.3.info").write_text('{"Version": "v1.2.3"}', encoding="utf-8")
    (directory / "v1.2.3.mod").write_text(go_mod, encoding="utf-8")
    with zipfile.ZipFile(directory / "v1.2.3.zip", "w") as archive:
        files = {
            "go.mod": go_mod,
            "deploy/policy.yaml": manifest,
            "deploy/more/other.yaml": "kind: Other\n",
            "policy.go": "package policy\n",
        }
        for name, text in files.items():
            archive.writestr(f"{MODULE}@v1.2.3/{name}", text)


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    proxy = tmp_path / "proxy"
    publish(proxy, "kind: Policy\n")
    monkeypatch.setenv("GOPROXY", proxy.as_uri())
    monkeypatch.setenv("GOSUMDB", "off")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "module-cache"))
    yield proxy
    clean_module_cache(tmp_path)


def clean_module_cache(tmp_path: Path) -> None:
    """Remove the test's module cache, whose files go makes read-only."""
    env = {**os.environ, "GOMODCACHE": str(tmp_path / "module-cache")}
    subprocess.run(["go", "clean", "-modcache"], check=True, cwd="/", env=env)


@pytest.fixture
def manifest(proxy: Path, tmp_path: Path) -> ModuleFile:
    """The pinned file, with a go.sum of what the proxy serves now, and an empty module cache."""
    assert proxy.is_dir()
    pin = tmp_path / "pin"
    pin.mkdir()
    (pin / "go.mod").write_text(f"module tiny.test/pin\n\ngo 1.21\n\nrequire {MODULE} v1.2.3\n", encoding="utf-8")
    subprocess.run(["go", "mod", "download", MODULE], cwd=pin, check=True, env={**os.environ, "GOFLAGS": "-mod=mod"})
    clean_module_cache(tmp_path)
    module = GoModule(name="policy", directory=pin, path=MODULE, version="1.2.3")
    return ModuleFile(name="policy-manifest", module=module, path="deploy/policy.yaml")


def test_the_file_is_taken_out_of_the_module_as_it_stands(manifest: ModuleFile, paths: LabPaths) -> None:
    path = Components(paths, pins={}, manifest=manifest).gatekeeper_manifest()

    assert path.name == "policy.yaml"
    assert path.read_text(encoding="utf-8") == "kind: Policy\n"
    assert path.stat().st_mode & 0o200  # the store can be changed, unlike Go's module cache


def test_a_tree_is_taken_as_a_whole_and_nothing_beside_it(manifest: ModuleFile, paths: LabPaths) -> None:
    tree = dataclasses.replace(manifest, path="more/other.yaml", tree="deploy")

    path = Components(paths, pins={}, manifest=tree).gatekeeper_manifest()

    files = {str(file.relative_to(path.parents[1])) for file in path.parents[1].rglob("*") if file.is_file()}
    assert files == {"manifest.json", "policy.yaml", "more/other.yaml"}  # the first is the store's record
    assert path.read_text(encoding="utf-8") == "kind: Other\n"


def test_a_tree_without_its_main_file_is_not_the_pinned_one(manifest: ModuleFile, paths: LabPaths) -> None:
    tree = dataclasses.replace(manifest, path="absent.yaml", tree="deploy")

    with pytest.raises(LabError, match=r"deploy/absent\.yaml") as caught:
        Components(paths, pins={}, manifest=tree).gatekeeper_manifest()
    assert caught.value.code == "component-source"


def test_the_store_gives_it_without_asking_go_again(manifest: ModuleFile, proxy: Path, paths: LabPaths) -> None:
    first = Components(paths, pins={}, manifest=manifest).gatekeeper_manifest()
    publish(proxy, "kind: Tampered\n")

    assert Components(paths, pins={}, manifest=manifest).gatekeeper_manifest() == first


def test_a_module_that_is_not_the_pinned_one_is_refused(manifest: ModuleFile, proxy: Path, paths: LabPaths) -> None:
    publish(proxy, "kind: Tampered\n")

    with pytest.raises(LabError) as caught:
        Components(paths, pins={}, manifest=manifest).gatekeeper_manifest()
    assert caught.value.code == "component-source"
    assert "checksum mismatch" in caught.value.context["go"]


def test_a_module_without_the_pinned_file_is_an_error(manifest: ModuleFile, paths: LabPaths) -> None:
    absent = dataclasses.replace(manifest, path="deploy/absent.yaml")

    with pytest.raises(LabError, match=r"has no deploy/absent\.yaml") as caught:
        Components(paths, pins={}, manifest=absent).gatekeeper_manifest()
    assert caught.value.code == "component-source"


def test_a_proxy_that_cannot_be_reached_is_told_with_its_remedy(
    manifest: ModuleFile, paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")  # the discard port: nothing listens

    with pytest.raises(LabError) as caught:
        Components(paths, pins={}, manifest=manifest).gatekeeper_manifest()
    assert caught.value.code == "component-no-network"
    assert "GOPROXY" in caught.value.hint
