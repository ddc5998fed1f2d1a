"""Puts a node image together from its three layers, each of which is made only when what it is made of has changed.

Layers are entries of a store of their own, like programs in the component store: they appear in one step, are verified,
and two processes that want the same one wait for one build.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.components.pins import KUBERNETES_VERSION
from lab.components.platforms import Platform
from lab.components.progress import Ticker
from lab.components.store import Key, State, Store
from lab.errors import LabError
from lab.images.node import content_store, engine, node_files, packages, system_images
from lab.images.node.apt import read_setup
from lab.images.node.debian import Debian
from lab.images.node.tarballs import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lab.components import Components
    from lab.components.store import Entry
    from lab.images.node.apt import AptSetup
    from lab.paths import LabPaths

REPOSITORY = "localhost/k8s-supply-chain-lab/node"
"""Names no registry but this machine, so that nobody else's image can ever be pulled under it."""

_NODE_PROGRAMS = (*node_files.KUBERNETES_PROGRAMS, *node_files.CONTAINERD_PROGRAMS)
_CREATED = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeImage:
    """A node image that is ready to be given away.

    Attributes:
        name: what Docker and kind call it.
        inputs: what it was made of, as a short hash.
        layers: files, the lowest first.
        config: the image's configuration, as Docker reads it.
    """

    name: str
    inputs: str
    layers: tuple[Path, ...]
    config: bytes

    def archive(self) -> Iterator[bytes]:
        """The image as ``docker load`` reads it, in pieces."""
        names = [f"{number}/layer.tar" for number in range(len(self.layers))]
        manifest = [{"Config": "config.json", "RepoTags": [self.name], "Layers": names}]
        yield from stream(
            [
                ("manifest.json", json.dumps(manifest).encode()),
                ("config.json", self.config),
                *zip(names, self.layers, strict=True),
            ]
        )


def node_image_name(version: str = KUBERNETES_VERSION) -> str:
    """The name of the node image for a version of Kubernetes (without the ``v``)."""
    return f"{REPOSITORY}:v{version}"


def build_node_image(
    paths: LabPaths,
    components: Components,
    *,
    progress: Callable[[str], None] | None = None,
    fresh_packages: bool = False,
) -> NodeImage:
    """Have every layer of the node image, making what is missing.

    Args:
        paths: the lab's directories.
        components: where programs come from.
        progress: hears one line per step, and one about every 12 seconds within a long step.
        fresh_packages: make the packages layer anew, with the versions that the mirror has now.

    Returns:
        The image, whose layers stay where they are until something that they are made of changes.

    Raises:
        LabError: ``node-image-...``; or a program can be neither downloaded nor built.
    """
    return _Builder(paths, components, progress).build(fresh_packages=fresh_packages)


def load_node_image(image: NodeImage, *, progress: Callable[[str], None] | None = None) -> bool:
    """Give Docker the image, unless it has it.

    Returns:
        Whether it had to be given.

    Raises:
        LabError: ``docker-unreachable``, ``node-image-load``.
    """
    if engine.loaded_inputs(image.name) == image.inputs:
        return False
    ticker = Ticker(progress, image.name)
    size = sum(layer.stat().st_size for layer in image.layers)
    ticker.say(f"giving Docker the image ({size / 1e6:.0f} MB)")

    def pieces() -> Iterator[bytes]:
        sent = 0
        for piece in image.archive():
            sent += len(piece)
            ticker.tick(f"{sent / 1e6:.0f} MB given")
            yield piece

    engine.load(image.name, pieces())
    ticker.say(f"given, {ticker.elapsed}")
    return True


class _Builder:
    def __init__(self, paths: LabPaths, components: Components, progress: Callable[[str], None] | None) -> None:
        self._store = Store(paths.cache / "node-image")
        self._root = paths.cache / "node-image"
        self._components = components
        self._progress = progress
        self._platform = Platform.current()

    def build(self, *, fresh_packages: bool) -> NodeImage:
        debian = self._packages(read_setup(), fresh=fresh_packages)
        programs = self._components.ensure(*_NODE_PROGRAMS, *system_images.PROGRAMS)
        kind_files = self._components.kind_node_files()
        names = system_images.wanted_names(programs["kubeadm"], KUBERNETES_VERSION)

        node = self._node(programs, kind_files, pause=system_images.pause_name(names))
        images = self._images(programs, names, debian)

        layers = (debian, node, images)
        # Not the digest of the images' layer: containerd writes the time into it. Its recipe says the same.
        made_of = (debian.sha256, node.sha256, (images.source or {})["recipe"])
        inputs = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
        return NodeImage(
            name=node_image_name(),
            inputs=inputs,
            layers=tuple(entry.file for entry in layers),
            config=_config(layers, inputs, self._platform.arch),
        )

    def _packages(self, setup: AptSetup, *, fresh: bool) -> Entry:
        return self._layer(
            "packages", setup.codename, packages.recipe(setup),
            lambda target, ticker: packages.make_layer(target, setup, ticker), anew=fresh,
        )  # fmt: skip

    def _node(self, programs: Mapping[str, Path], kind_files: Path, *, pause: str) -> Entry:
        def make(target: Path, ticker: Ticker) -> None:
            ticker.say("putting kind's files, the node's programs and the network's settings together")
            node_files.make_layer(
                target, kind_files=kind_files, programs=programs, version=KUBERNETES_VERSION, pause=pause,
                spec=node_files.default_spec(programs["ctr"]),
            )  # fmt: skip

        fingerprint = self._components.fingerprint(*_NODE_PROGRAMS)
        recipe = _recipe(fingerprint, kind_files.name, pause, code=("node_files",))
        return self._layer("node-files", KUBERNETES_VERSION, recipe, make)

    def _images(self, programs: Mapping[str, Path], names: tuple[str, ...], debian: Entry) -> Entry:
        def make(target: Path, ticker: Ticker) -> None:
            ticker.say(f"making {len(names)} images and importing them into containerd's store")
            # A socket's path has room for a hundred characters, and the store may lie deep.
            with Debian(debian.file) as node, tempfile.TemporaryDirectory(prefix="lab-") as short:
                made = system_images.make_images(names, programs, node, target.parent)
                content_store.make_layer(
                    target, system_images.oci_archive(made, self._platform.arch),
                    containerd=programs["containerd"], ctr=programs["ctr"], root=target.parent / "root",
                    work=Path(short),
                )  # fmt: skip
            for image in made:
                image.layer.unlink()

        fingerprint = self._components.fingerprint(*system_images.PROGRAMS, "containerd", "ctr")
        recipe = _recipe(fingerprint, debian.sha256, *names, code=("content_store", "debian", "system_images"))
        return self._layer("system-images", KUBERNETES_VERSION, recipe, make)

    def _layer(
        self, name: str, version: str, recipe: str, make: Callable[[Path, Ticker], None], *, anew: bool = False
    ) -> Entry:
        """A layer of the store, made if it is missing or made of something else."""
        key = Key(name=name, version=version, platform=str(self._platform))
        entry = self._store.look(key, recipe=recipe)
        if entry.state is State.READY and not anew:
            return entry
        ticker = Ticker(self._progress, f"node image, {name}")
        try:
            with self._store.lock(key, ticker):
                entry = self._store.look(key, recipe=recipe)
                if entry.state is not State.READY or anew:
                    with self._store.staging(key) as work:
                        staged = work / name
                        staged.mkdir()
                        make(work / "layer.tar", ticker)
                        (work / "layer.tar").rename(staged / "layer.tar")
                        self._store.put(key, staged, main="layer.tar", source={"kind": "layer", "recipe": recipe})
                    ticker.say(f"done, {ticker.elapsed}")
        except OSError as error:
            raise LabError(
                "node-image-disk",
                f"cannot write the layers of the node image: {error.strerror or error}",
                hint="free about 3 GB there, make it writable, or set LAB_HOME to a directory elsewhere",
                context={"directory": str(self._root)},
            ) from error
        return self._store.look(key, recipe=recipe)


def _recipe(*inputs: str, code: tuple[str, ...]) -> str:
    """What decides a layer: the given inputs, and those modules of this room that write it."""
    digest = hashlib.sha256("\n".join(inputs).encode())
    for name in (*code, "tarballs"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def _config(layers: tuple[Entry, ...], inputs: str, architecture: str) -> bytes:
    config: dict[str, Any] = {
        "architecture": architecture,
        "os": "linux",
        "created": _CREATED,
        "config": {
            # systemd looks for it to know that it runs in a container.
            "Env": [system_images.PATH, "container=docker"],
            "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
            # systemd ends at this signal; SIGTERM makes it start itself anew.
            "StopSignal": "SIGRTMIN+3",
            "Labels": {engine.LABEL: inputs},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{entry.sha256}" for entry in layers]},
        "history": [{"created": _CREATED, "created_by": "k8s-supply-chain-lab"} for _ in layers],
    }
    return json.dumps(config, sort_keys=True).encode()
