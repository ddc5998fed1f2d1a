from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from lab.components.store import Entry, State
from lab.images.node import build, engine, load_node_image, node_image_name, packages
from lab.images.node.apt import AptSetup
from lab.images.node.build import NodeImage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def image(tmp_path: Path, inputs: str = "abc") -> NodeImage:
    layers = []
    for number in range(3):
        path = tmp_path / f"layer-{number}"
        path.write_bytes(bytes([number]) * 700)
        layers.append(Entry(state=State.READY, file=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    return NodeImage(
        name=node_image_name(),
        inputs=inputs,
        layers=tuple(layer.file for layer in layers),
        config=build._config(tuple(layers), inputs, "amd64"),
    )


def test_the_image_can_be_nobody_elses() -> None:
    assert node_image_name("1.37.0") == "localhost/k8s-supply-chain-lab/node:v1.37.0"


def test_docker_reads_layers_that_have_the_digests_of_the_configuration(tmp_path: Path) -> None:
    archive = b"".join(image(tmp_path).archive())

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        contents = {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}
    (manifest,) = json.loads(contents["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/k8s-supply-chain-lab/node:v1.37.0"]
    config = json.loads(contents[manifest["Config"]])
    digests = [f"sha256:{hashlib.sha256(contents[name]).hexdigest()}" for name in manifest["Layers"]]
    assert config["rootfs"]["diff_ids"] == digests
    assert len(digests) == 3


def test_docker_runs_systemd_behind_kinds_entrypoint_and_stops_it_by_its_signal(tmp_path: Path) -> None:
    config = json.loads(image(tmp_path).config)["config"]

    assert config["Entrypoint"] == ["/usr/local/bin/entrypoint", "/sbin/init"]
    assert config["StopSignal"] == "SIGRTMIN+3"
    assert "container=docker" in config["Env"]
    assert config["Labels"] == {engine.LABEL: "abc"}


@pytest.mark.parametrize(("loaded", "given"), [("abc", False), ("other", True), (None, True)])
def test_docker_is_given_only_what_it_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: str | None, *, given: bool
) -> None:
    received: list[bytes] = []

    def load(_name: str, archive: Iterable[bytes]) -> None:
        received.append(b"".join(archive))

    monkeypatch.setattr(engine, "loaded_inputs", lambda _name: loaded)
    monkeypatch.setattr(engine, "load", load)

    assert load_node_image(image(tmp_path)) is given
    assert received == ([b"".join(image(tmp_path).archive())] if given else [])


def test_the_packages_are_made_anew_for_another_release_and_not_for_another_mirror() -> None:
    def recipe(codename: str, mirror: str) -> str:
        sources = (f"deb {mirror} {codename} main",)
        return packages.recipe(AptSetup(codename=codename, sources=sources, options=(), keyrings=()))

    assert recipe("bookworm", "http://one.example") == recipe("bookworm", "http://two.example")
    assert recipe("bookworm", "http://one.example") != recipe("trixie", "http://one.example")


def test_a_layer_is_made_anew_when_the_code_that_writes_it_changes() -> None:
    assert build._recipe("a", code=("node_files",)) != build._recipe("a", code=("system_images",))
    assert build._recipe("a", code=("node_files",)) != build._recipe("b", code=("node_files",))


def test_the_mirror_and_the_proxy_of_this_machine_are_handed_on(tmp_path: Path) -> None:
    setup = AptSetup(
        codename="bookworm",
        sources=("deb http://mirror.example bookworm main",),
        options=('Acquire::http::Proxy "http://proxy.example";',),
        keyrings=(tmp_path / "keys.gpg",),
    )

    command = packages._command(setup)

    assert '--aptopt=Acquire::http::Proxy "http://proxy.example";' in command
    assert f"--keyring={tmp_path}/keys.gpg" in command
    assert any("systemd," in option for option in command if option.startswith("--include="))
