from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lab.components import Components
from lab.components.gobuild import recipe
from lab.components.pins import KIND_NODE_FILES, PINS
from lab.components.platforms import Platform
from lab.components.store import Key, Store
from lab.errors import InputError, LabError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")


def stock(paths: LabPaths, name: str, content: bytes = b"program") -> Path:
    """Put a component into the store as a build would."""
    store, component = Store(paths.store), PINS[name]
    key = Key(name=name, version=component.version, platform=str(Platform.current()))
    with store.staging(key) as work:
        (work / name).mkdir()
        (work / name / name).write_bytes(content)
        (work / name / name).chmod(0o755)
        return store.put(key, work / name, main=name, source={"kind": "build", "recipe": recipe(component)})


def own(directory: Path, name: str, *, mode: int = 0o755) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(b"my own")
    (directory / name).chmod(mode)
    return directory / name


def test_what_the_store_has_is_given_without_a_word(paths: LabPaths) -> None:
    etcd, kubectl = stock(paths, "etcd"), stock(paths, "kubectl")
    heard: list[str] = []

    assert Components(paths, progress=heard.append).ensure("kubectl", "etcd", "etcd") == {
        "kubectl": kubectl,
        "etcd": etcd,
    }
    assert heard == []


def test_an_unknown_name_is_bad_input_that_lists_the_names(paths: LabPaths) -> None:
    with pytest.raises(InputError, match="kube-dns") as caught:
        Components(paths).ensure("etcd", "kube-dns")
    assert caught.value.code == "component-unknown"
    assert "kube-apiserver" in caught.value.hint


def test_path_obtains_nothing_and_never_gives_a_damaged_file(paths: LabPaths) -> None:
    components = Components(paths)
    assert components.path("etcd") is None

    etcd = stock(paths, "etcd")
    assert components.path("etcd") == etcd

    etcd.write_bytes(b"damaged")
    assert components.path("etcd") is None


def test_kinds_files_for_a_node_are_a_directory_of_the_store(paths: LabPaths) -> None:
    store, name = Store(paths.store), KIND_NODE_FILES.name
    key = Key(name=name, version=KIND_NODE_FILES.module.version, platform="any")
    with store.staging(key) as work:
        main = work / name / KIND_NODE_FILES.path
        main.parent.mkdir(parents=True)
        main.write_text("entrypoint")
        store.put(key, work / name, main=KIND_NODE_FILES.path, source={"kind": "module"})

    assert Components(paths).kind_node_files() == store.directory(key)


def test_the_list_shows_every_component_with_its_state(paths: LabPaths) -> None:
    etcd = stock(paths, "etcd")
    stock(paths, "kwok").write_bytes(b"")

    infos = {info.name: info for info in Components(paths).list()}

    assert list(infos) == list(PINS)
    assert (infos["etcd"].state, infos["etcd"].source, infos["etcd"].path) == ("ready", "build", etcd)
    assert infos["kwok"].state == "damaged"
    assert str(infos["kwok"].path) in infos["kwok"].problem
    assert (infos["kubectl"].state, infos["kubectl"].size, infos["kubectl"].sha256) == ("missing", 0, "")


def test_a_fingerprint_depends_on_content_and_not_on_order(paths: LabPaths) -> None:
    stock(paths, "etcd")
    stock(paths, "kubectl")
    components = Components(paths)
    first = components.fingerprint("etcd", "kubectl")

    assert components.fingerprint("kubectl", "etcd") == first
    assert components.fingerprint("etcd") != first
    stock(paths, "etcd", b"another build")
    assert components.fingerprint("etcd", "kubectl") != first


def test_a_fingerprint_of_what_is_missing_is_an_error(paths: LabPaths) -> None:
    with pytest.raises(LabError) as caught:
        Components(paths).fingerprint("etcd")
    assert caught.value.code == "component-missing"
    assert "lab components fetch etcd" in caught.value.hint


def test_the_users_own_program_comes_first_and_its_version_is_told(paths: LabPaths, tmp_path: Path) -> None:
    mine = own(tmp_path / "bin", "gatekeeper")  # the one program that is not asked for its version
    kubectl = stock(paths, "kubectl")
    heard: list[str] = []
    components = Components(paths, bin_dir=tmp_path / "bin", progress=heard.append)

    assert components.path("gatekeeper") == mine
    assert heard == [f"gatekeeper: using your {mine}, version unknown (pinned: 3.23.1)"]
    info = next(info for info in components.list() if info.name == "gatekeeper")
    assert (info.source, info.version, info.state) == ("bin-dir", "unknown", "ready")
    assert components.ensure("kubectl") == {"kubectl": kubectl}  # what it lacks comes from the store


def test_a_changed_own_program_changes_the_fingerprint(paths: LabPaths, tmp_path: Path) -> None:
    mine = own(tmp_path / "bin", "gatekeeper")
    components = Components(paths, bin_dir=tmp_path / "bin")
    first = components.fingerprint("gatekeeper")
    mine.write_bytes(b"MY OWN")
    os.utime(mine, ns=(1, 1))

    assert components.fingerprint("gatekeeper") != first


def test_a_bin_dir_that_is_not_there_is_bad_input(paths: LabPaths, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Components(paths, bin_dir=tmp_path / "nowhere")
    assert caught.value.code == "bin-dir-missing"


def test_a_bin_dir_without_any_program_of_the_lab_is_bad_input(paths: LabPaths, tmp_path: Path) -> None:
    own(tmp_path / "bin", "ls")
    with pytest.raises(InputError) as caught:
        Components(paths, bin_dir=tmp_path / "bin")
    assert caught.value.code == "bin-dir-empty"


def test_an_own_program_that_may_not_be_executed_is_bad_input(paths: LabPaths, tmp_path: Path) -> None:
    own(tmp_path / "bin", "etcd", mode=0o644)
    with pytest.raises(InputError) as caught:
        Components(paths, bin_dir=tmp_path / "bin").ensure("etcd")
    assert caught.value.code == "bin-dir-not-executable"
