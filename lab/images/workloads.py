"""Images that really run, under the names that the scenarios use, for a backend whose node pulls and runs them.

The catalogue's stand-ins hold no program. Here a few of them get one: the pinned static binary for Gatekeeper and OPA,
Debian's packages for servers, a small system and Python, and with this very package its Python is the bouncer. They are
made on this machine, need nothing of any image registry, and are pushed into the storage that a node's registry serves.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.metadata
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lab
from lab.bouncer.reference import parse
from lab.cluster.protocol import Addon
from lab.components import GATEKEEPER_VERSION, OPA_VERSION, Components
from lab.errors import InputError, LabError
from lab.images import busybox, compiled, debian
from lab.images.catalogue import CATALOGUE, CatalogueImage, fingerprint
from lab.images.endpoint import Endpoint
from lab.images.oci import ImageContent, OciImage, from_layers, links_of, tar_of
from lab.images.push import push_images
from lab.images.registry import RegistryConfig, copy_storage, prepare_storage, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lab.paths import LabPaths

BOUNCER = "docker.io/kainlite/kube-image-bouncer"
GATEKEEPER = "docker.io/openpolicyagent/gatekeeper"
OPA = "docker.io/openpolicyagent/opa"
ADDON_IMAGES: Mapping[Addon, tuple[str, ...]] = {
    Addon.BOUNCER: (f"{BOUNCER}:latest",),
    Addon.GATEKEEPER: (f"{GATEKEEPER}:v{GATEKEEPER_VERSION}",),
}
"""What the addons of a start state run."""

_USUAL = ("nginx", "httpd-foreground", "redis-server", "sh", "/app")
"""What the images run that scenarios deploy without a word about them."""
_BOUNCER_PACKAGES = ("aiohttp", "click", "pydantic", "pyyaml")
_BOUNCER_MODULES = ("lab.bouncer.__main__", "lab.bouncer.policy", "lab.bouncer.certificates", "lab.bouncer.server")
"""What it needs to serve; its parts import one another when they are needed first."""
_BOUNCER_HOME = "/opt/lab"
_PYTHON_PACKAGES = ("python3-minimal", "libpython3-stdlib", "zlib1g", "libssl3")
_PYTHON_NAMES: Mapping[str, str] = {
    "/usr/local/bin/python": "/usr/bin/python3",
    "/usr/local/bin/python3": "/usr/bin/python3",
}
"""Where the original has its interpreter."""
_ACCOUNTS: Mapping[str, bytes] = {
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\n",
    "/etc/group": b"root:x:0:\nwww-data:x:33:\n",
    "/etc/nsswitch.conf": b"hosts: files dns\n",
}
_HTTPD_CONF = b"""\
ServerRoot /usr/lib/apache2
ServerName localhost
User www-data
Group www-data
PidFile /dev/shm/httpd.pid
ErrorLog /dev/stderr
Listen 80
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
DocumentRoot /usr/share/www
"""
_NGINX_CONF = b"""\
user www-data;
pid /dev/shm/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  server { listen 80; root /usr/share/www; }
}
"""
_APP = b"""\
#!/bin/sh
# An application of nobody in particular: it waits until it is told to end.
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
"""
_PAGE = b"<html><body><h1>It works!</h1></body></html>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image that runs is made.

    Attributes:
        key: changes whenever another image would come out.
        layers: makes its layers, the lowest first: what takes long is in the lower ones.
        content: the uppermost layer, and how it is started.
    """

    key: str
    layers: Callable[[], list[bytes]]
    content: ImageContent


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableImage:
    """An image that is about to be pushed; see `lab.images.push.Pushable`."""

    repository: str
    tags: tuple[str, ...]
    image: OciImage

    def build(self) -> OciImage:
        """The image itself."""
        return self.image


class WorkloadImages:
    """The storage of the registry that a node pulls from, with those images in it that have been made.

    Args:
        paths: the lab's directories.
        bin_dir: a directory of the user's own binaries.
        progress: told what takes long.
    """

    def __init__(self, paths: LabPaths, *, bin_dir: Path | None = None, progress: Callable[[str], None]) -> None:
        self._directory = paths.cache / "images"
        self._components = Components(paths, bin_dir=bin_dir, progress=progress)
        self._progress = progress
        self._layers: dict[tuple[str, ...], bytes] = {}

    def ensure(self, images: Sequence[str]) -> tuple[str, ...]:
        """Have images that run for these references, as far as the lab knows how to make them.

        Args:
            images: references as they stand in Pods.

        Returns:
            Those that run now.

        Raises:
            LabError: one cannot be made.
        """
        with self._locked():
            return self._ensure(images, storage=self._storage())

    def lacking(self, images: Sequence[str]) -> tuple[str, ...]:
        """Those of some references for which the lab cannot make an image that runs."""
        return tuple(image for image in images if (row := _row(image)) is None or self._recipe(row) is None)

    def built(self, images: Sequence[str]) -> tuple[RunnableImage, ...]:
        """Images that run for these references, to be pushed to another registry than the lab's.

        Raises:
            LabError: one cannot be made.
        """
        rows = [row for row in dict.fromkeys(map(_row, images)) if row is not None]
        with self._locked():
            return tuple(self._build(row, recipe) for row in rows if (recipe := self._recipe(row)) is not None)

    def prepare_lab(self, addons: Iterable[Addon]) -> tuple[Path, Path]:
        """Have what a lab's node pulls and mounts.

        Images are made of the servers, small systems and applications that scenarios deploy without a word about them,
        and of what the addons run.

        Returns:
            The storage of the registry, and Debian's Python as a directory, with the libraries that it needs.

        Raises:
            LabError: one cannot be made.
        """
        usual = [row.references[0] for row in CATALOGUE if row.entrypoint and row.entrypoint[0] in _USUAL]
        needed = [image for addon in sorted(addons) for image in ADDON_IMAGES[addon]]
        with self._locked():
            storage = self._storage()
            self._ensure([*usual, *needed], storage=storage)
            return storage, debian.tree(_PYTHON_PACKAGES, cache=self._directory / "layers", progress=self._progress)

    def ensure_all(self) -> tuple[str, ...]:
        """Have every image that runs."""
        return self.ensure([row.references[0] for row in CATALOGUE])

    def _ensure(self, images: Sequence[str], *, storage: Path) -> tuple[str, ...]:
        rows = [row for row in dict.fromkeys(map(_row, images)) if row is not None]
        made = _read_made(storage)
        recipes = {row: recipe for row in rows if (recipe := self._recipe(row)) is not None}
        todo = {row: recipe for row, recipe in recipes.items() if made.get(row.references[0]) != recipe.key}
        if todo:
            asyncio.run(self._make(todo, storage=storage, made=made))
        return tuple(row.references[0] for row in recipes)

    def _storage(self) -> Path:
        """The storage; at first every image in it is a stand-in."""
        program = self._components.ensure("registry")["registry"]
        storage = self._directory / f"workloads-{fingerprint()[:16]}"
        if not storage.is_dir():
            stand_ins = asyncio.run(prepare_storage(program, self._directory))
            with tempfile.TemporaryDirectory(prefix=".workloads-", dir=self._directory) as scratch:
                copy_storage(stand_ins, Path(scratch, "storage"))
                Path(scratch, "storage").rename(storage)
        return storage

    async def _make(self, todo: Mapping[CatalogueImage, Recipe], *, storage: Path, made: Mapping[str, str]) -> None:
        """Make images one by one, and note each: whoever is interrupted goes on where it was."""
        noted = dict(made)
        program = self._components.ensure("registry")["registry"]
        with tempfile.TemporaryDirectory(prefix="lab-registry-") as scratch:
            config = RegistryConfig(endpoint=Endpoint.unix(Path(scratch, "socket")), root=storage)
            async with serving(program, config, directory=Path(scratch)) as endpoint:
                for row, recipe in todo.items():
                    await push_images(endpoint, [self._build(row, recipe)])
                    noted[row.references[0]] = recipe.key
                    staged = storage / "made.json.new"
                    staged.write_text(json.dumps(noted, indent=2))
                    staged.replace(storage / "made.json")

    def _build(self, row: CatalogueImage, recipe: Recipe) -> RunnableImage:
        self._progress(f"making the image {row.references[0]}")
        return RunnableImage(
            repository=row.repository, tags=row.tags, image=from_layers(recipe.layers(), recipe.content)
        )

    def _recipe(self, row: CatalogueImage) -> Recipe | None:
        """How the image of a row of the catalogue is made; None for one that stays a stand-in."""
        match row.repository:
            case "docker.io/kainlite/kube-image-bouncer":
                return self._bouncer(row)
            case "docker.io/openpolicyagent/gatekeeper":
                return self._one_binary(row, "gatekeeper", GATEKEEPER_VERSION, ("/manager",))
            case "docker.io/openpolicyagent/opa":
                return self._one_binary(row, "opa", OPA_VERSION, ("/opa",), cmd=("run",))
            case "docker.io/library/python":
                return self._python(row)
        return self._ordinary(row)

    def _ordinary(self, row: CatalogueImage) -> Recipe | None:
        """How an image is made that runs what its original runs, under whatever name."""
        match row.entrypoint:
            case ("httpd-foreground",):
                files = {"/etc/httpd.conf": _HTTPD_CONF, "/usr/share/www/index.html": _PAGE}
                start = ("/usr/sbin/apache2", "-D", "FOREGROUND", "-f", "/etc/httpd.conf")
                return self._debian(row, ("apache2-bin",), files, start)
            case ("nginx", *_):
                files = {"/etc/nginx/nginx.conf": _NGINX_CONF, "/usr/share/www/index.html": _PAGE}
                return self._debian(row, ("nginx",), files, ("/usr/sbin/nginx", "-g", "daemon off;"))
            case ("redis-server",):
                return self._debian(row, ("redis-server",), {}, ("redis-server", "--protected-mode", "no"))
            case ("sh",):
                return self._small_system(row, cmd=("sh",))
            case ("/app",):
                return self._small_system(row, entrypoint=("/app",), programs={"/app": _APP})
        return None

    def _one_binary(
        self,
        row: CatalogueImage,
        component: str,
        version: str,
        entrypoint: tuple[str, ...],
        *,
        cmd: tuple[str, ...] = (),
    ) -> Recipe:
        def layers() -> list[bytes]:
            program = self._components.ensure(component)[component]
            return [tar_of({entrypoint[0]: program.read_bytes()}, mode=0o755)]

        content = _content(row, entrypoint=entrypoint, cmd=cmd)
        return Recipe(key=_key(component, version, content), layers=layers, content=content)

    def _debian(
        self, row: CatalogueImage, packages: tuple[str, ...], files: Mapping[str, bytes], start: tuple[str, ...]
    ) -> Recipe:
        content = _content(row, files=files, cmd=start)
        return Recipe(
            key=_key("debian", *packages, content), layers=lambda: [self._packages(packages)], content=content
        )

    def _small_system(
        self,
        row: CatalogueImage,
        *,
        entrypoint: tuple[str, ...] = (),
        cmd: tuple[str, ...] = (),
        programs: Mapping[str, bytes] | None = None,
    ) -> Recipe:
        def layers() -> list[bytes]:
            package = self._packages((busybox.PACKAGE,))
            own = [tar_of(programs, mode=0o755)] if programs else []
            return [package, busybox.commands(package), *own]

        content = _content(row, entrypoint=entrypoint, cmd=cmd)
        return Recipe(key=_key(busybox.PACKAGE, programs, content), layers=layers, content=content)

    def _python(self, row: CatalogueImage) -> Recipe:
        content = _content(row, cmd=("python3",), environment=(("LANG", "C.UTF-8"),))
        return Recipe(
            key=_key(*_PYTHON_PACKAGES, _PYTHON_NAMES, content),
            layers=lambda: [self._packages(_PYTHON_PACKAGES), links_of(_PYTHON_NAMES)],
            content=content,
        )

    def _bouncer(self, row: CatalogueImage) -> Recipe:
        sources = _own_sources()
        versions = _pins(_BOUNCER_PACKAGES)

        def layers() -> list[bytes]:
            base = self._packages(_PYTHON_PACKAGES)
            programs = [base, self._python_layer(versions, python=_python_version(base))]
            return [*programs, compiled.layer([*programs, tar_of(sources)], _BOUNCER_MODULES, search=_BOUNCER_HOME)]

        content = _content(
            row,
            files=sources,
            entrypoint=("/usr/bin/python3", "-P", "-m", "lab.bouncer"),
            environment=(("PYTHONPATH", _BOUNCER_HOME), ("PYTHONDONTWRITEBYTECODE", "1")),
        )
        return Recipe(
            key=_key(*versions, *_PYTHON_PACKAGES, *_BOUNCER_MODULES, content), layers=layers, content=content
        )

    def _packages(self, packages: tuple[str, ...]) -> bytes:
        """A layer of Debian packages; asked for once, because apt takes a second to tell what they depend on."""
        if packages not in self._layers:
            self._layers[packages] = debian.layer(packages, cache=self._directory / "layers", progress=self._progress)
        return self._layers[packages]

    def _python_layer(self, versions: Sequence[str], *, python: str) -> bytes:
        """The libraries that the bouncer needs, for another Python than the one that runs here."""
        key = hashlib.sha256("\n".join([python, *versions]).encode()).hexdigest()[:16]
        kept = self._directory / "layers" / f"python-{key}.tar"
        if kept.exists():
            return kept.read_bytes()
        self._progress(f"downloading {len(versions)} Python packages for the bouncer")
        with tempfile.TemporaryDirectory(prefix=".python-", dir=kept.parent) as scratch:
            target = Path(scratch, "lab")
            _install(versions, target=target, python=python)
            files = {
                f"{_BOUNCER_HOME}/{file.relative_to(target)}": file.read_bytes()
                for file in sorted(target.rglob("*"))
                if file.is_file() and "__pycache__" not in file.parts
            }
        archive = tar_of(files)
        kept.write_bytes(archive)
        return archive

    def _locked(self) -> _Lock:
        self._directory.mkdir(parents=True, exist_ok=True)
        return _Lock(self._directory / ".workloads.lock")


class _Lock:
    """One process at a time makes images."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


def _row(image: str) -> CatalogueImage | None:
    """The row of the catalogue that a reference names; None for one that no row has."""
    try:
        reference = parse(image)
    except InputError:
        return None
    repository = f"{reference.domain}/{reference.path}"
    rows = [row for row in CATALOGUE if row.repository == repository]
    return next((row for row in rows if (reference.tag or "latest") in row.tags), None)


def _content(
    row: CatalogueImage,
    *,
    files: Mapping[str, bytes] | None = None,
    entrypoint: tuple[str, ...] = (),
    cmd: tuple[str, ...] = (),
    environment: tuple[tuple[str, str], ...] = (),
) -> ImageContent:
    """What is the image's own: its name and version are in it, so that each version has a digest of its own."""
    label = f"{row.repository}:{row.version}"
    return ImageContent(
        files={
            **_ACCOUNTS,
            **(files or {}),
            "/README": f"{label}, made by the Kubernetes supply-chain lab.\n".encode(),
        },
        entrypoint=entrypoint,
        cmd=cmd,
        user=row.user,
        ports=row.ports,
        environment=environment,
        labels={"org.opencontainers.image.ref.name": label, "org.opencontainers.image.version": row.version},
    )


def _key(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:16]


def _read_made(storage: Path) -> dict[str, str]:
    try:
        made: dict[str, str] = json.loads((storage / "made.json").read_text())
    except FileNotFoundError:
        return {}
    return made


def _own_sources() -> dict[str, bytes]:
    """The bouncer's part of this package."""
    package = Path(lab.__file__).resolve().parent
    sources = [package / "__init__.py", package / "errors.py", package / "strict_yaml.py"]
    sources += sorted((package / "bouncer").rglob("*.py"))
    return {f"{_BOUNCER_HOME}/lab/{file.relative_to(package)}": file.read_bytes() for file in sources}


def _pins(names: Sequence[str]) -> list[str]:
    """The packages and what they need, at the versions that are installed here and so were tested."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        distribution = importlib.metadata.distribution(waiting.pop())
        name = distribution.metadata["Name"]
        if name in found:
            continue
        found[name] = distribution.version
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return sorted(f"{name}=={version}" for name, version in found.items())


def _python_version(base: bytes) -> str:
    """The version of the Python in a layer: ``3.11``."""
    with tarfile.open(fileobj=io.BytesIO(base)) as archive:
        found = [name for name in archive.getnames() if name.startswith("usr/bin/python3.")]
    return min(found, key=len).removeprefix("usr/bin/python")


def _install(versions: Sequence[str], *, target: Path, python: str) -> None:
    argv = (
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile",
        "--only-binary=:all:", "--python-version", python, "--target", str(target), *versions,
    )  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise LabError(
            "packages-unavailable",
            f"the bouncer's libraries cannot be had for Python {python}",
            hint="see that pip can reach its index",
            context={"output": done.stderr.strip()[-2000:]},
        )
