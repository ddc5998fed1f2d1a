"""The command ``build-image`` of a kind node: an image out of a Dockerfile, without a daemon and without a network.

It takes the base image from where the node's containerd takes it (``/etc/containerd/certs.d``), puts one layer for each
``COPY`` above it, and writes an archive that ``ctr images import`` reads. It runs on the Python that the lab mounts on
the node, so it needs the standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import sys
import tarfile
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.bouncer.reference import DEFAULT_TAG, Reference, parse
from lab.errors import InputError, LabError
from lab.images import dockerfile
from lab.images.oci import CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE, Blob, document_blob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.images.dockerfile import Copy, Recipe

    Fetch = Callable[[str], bytes]

REGISTRIES = Path("/etc/containerd/certs.d")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ACCEPT = f"{INDEX_TYPE}, {MANIFEST_TYPE}"
_TIMEOUT_S = 30.0
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""By the first one ``ctr images import`` names what it reads."""


def build(recipe: Recipe, directory: Path, *, base: Fetch, architecture: str) -> tuple[Blob, tuple[Blob, ...]]:
    """Make an image.

    Args:
        recipe: what the Dockerfile says.
        directory: what is copied lies below it.
        base: gives what the base image's registry has below ``/v2/REPOSITORY/``, such as ``manifests/TAG``.
        architecture: in Go's words.

    Returns:
        Its manifest, and what that names.

    Raises:
        InputError: something to be copied is not there.
        LabError: the base image is not what it says.
    """
    manifest = _base_manifest(parse(recipe.base), base, architecture)
    config = json.loads(_blob(base, manifest["config"]["digest"]))
    below = [Blob(media_type=one["mediaType"], data=_blob(base, one["digest"])) for one in manifest["layers"]]
    above = [Blob(media_type=LAYER_TYPE, data=_layer(copy, directory)) for copy in recipe.copies]
    config["rootfs"]["diff_ids"] += [layer.digest for layer in above]
    config["history"] = [*config.get("history", ()), *({"created_by": "COPY"} for _ in above)]
    config["config"] = _run_settings(config.get("config") or {}, recipe)
    made = document_blob(CONFIG_TYPE, config)
    layers = [*below, *above]
    document = {
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": made.descriptor, "layers": [layer.descriptor for layer in layers],
    }  # fmt: skip
    return document_blob(MANIFEST_TYPE, document), (made, *layers)


def archive(name: str, manifest: Blob, blobs: Sequence[Blob]) -> bytes:
    """The image as an archive in OCI's layout."""
    annotations = dict.fromkeys(_NAME_ANNOTATIONS, name)
    index = {"schemaVersion": 2, "manifests": [manifest.descriptor | {"annotations": annotations}]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    files |= {f"blobs/sha256/{blob.digest.removeprefix('sha256:')}": blob.data for blob in (manifest, *blobs)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def registry(reference: Reference, registries: Path = REGISTRIES) -> Fetch:
    """What the node's containerd would ask for a repository.

    Raises:
        LabError: ``base-image-missing``: the node has no registry for it.
    """
    settings = registries / reference.domain / "hosts.toml"
    if not settings.is_file():
        raise _missing(reference, f"this node knows no registry {reference.domain}")
    server = tomllib.loads(settings.read_text())["server"]

    def fetch(path: str) -> bytes:
        request = urllib.request.Request(f"{server}/{reference.path}/{path}", headers={"Accept": _ACCEPT})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the node's own registry
                content: bytes = answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            raise _missing(reference, f"{path} cannot be had: {error}") from error
        return content

    return fetch


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="build-image",
        description="Make an image out of a Dockerfile, as far as nothing has to be run for it.",
        epilog="Load it with: ctr --namespace k8s.io images import FILE",
    )
    parser.add_argument("--tag", "-t", required=True, metavar="NAME:TAG", help="the image's name")
    parser.add_argument("--output", "-o", required=True, metavar="FILE", type=Path, help="the archive to write")
    parser.add_argument("--file", "-f", metavar="FILE", type=Path, help="the Dockerfile, else that of the directory")
    parser.add_argument("directory", type=Path, help="what is copied lies below it")
    options = parser.parse_args(argv)
    try:
        _run(options.tag, options.output, options.file or options.directory / "Dockerfile", options.directory)
    except LabError as error:
        sys.stderr.write(f"error: {error}\n  what to do: {error.hint}\n")
        return error.exit_code
    return 0


def _run(tag: str, output: Path, file: Path, directory: Path) -> None:
    name = _normalised(tag)
    try:
        text = file.read_text()
    except OSError as error:
        raise InputError(
            "dockerfile-missing", f"there is no {file}: {error}", hint="write it, or name it with -f"
        ) from error
    recipe = dockerfile.read(text)
    fetch = registry(parse(recipe.base))
    manifest, blobs = build(recipe, directory, base=fetch, architecture=_ARCHITECTURES[platform.machine()])
    output.write_bytes(archive(name, manifest, blobs))
    sys.stdout.write(f"{name}@{manifest.digest}\n")


def _normalised(tag: str) -> str:
    reference = parse(tag)
    return f"{reference.domain}/{reference.path}:{reference.tag or DEFAULT_TAG}"


def _base_manifest(reference: Reference, fetch: Fetch, architecture: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(fetch(f"manifests/{reference.digest or reference.tag or DEFAULT_TAG}"))
    for entry in document.get("manifests", ()):
        if entry["platform"]["architecture"] == architecture:
            named: dict[str, Any] = json.loads(fetch(f"manifests/{entry['digest']}"))
            return named
    if "manifests" in document:
        raise _missing(reference, f"it is not there for {architecture}")
    return document


def _blob(fetch: Fetch, digest: str) -> bytes:
    content = fetch(f"blobs/{digest}")
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise LabError(
            "base-image-damaged", f"the registry gave {found} for {digest}", hint="run lab images build on the machine"
        )
    return content


def _layer(copy: Copy, directory: Path) -> bytes:
    """The files of one ``COPY``, owned by root; what is in a directory is copied, not the directory itself."""
    found = [path for pattern in copy.sources for path in _matching(directory, pattern)]
    if len(found) > 1 and not copy.target.endswith("/"):
        raise InputError(
            "dockerfile-invalid", f"COPY to {copy.target}: several files need a directory", hint="end it with a slash"
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for path in found:
            if path.is_dir():
                name = copy.target.strip("/") or "."
            else:
                name = (f"{copy.target}{path.name}" if copy.target.endswith("/") else copy.target).lstrip("/")
            opened.add(path, arcname=name, filter=_owned_by_root)
    return buffer.getvalue()


def _matching(directory: Path, pattern: str) -> list[Path]:
    clean = pattern.lstrip("/")
    found = [directory] if clean in ("", ".") else sorted(directory.glob(clean))
    root = directory.resolve()
    if not found or not all(path.resolve().is_relative_to(root) for path in found):
        raise InputError(
            "copy-source-missing",
            f"COPY {pattern}: there is no such file below {directory}",
            hint="give the directory in which it lies",
        )
    return found


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _run_settings(base: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """How the image is started: the base's settings, and what the Dockerfile says otherwise."""
    settings = dict(base)
    if recipe.working_directory is not None:
        settings["WorkingDir"] = recipe.working_directory
    if recipe.user is not None:
        settings["User"] = recipe.user
    if recipe.entrypoint is not None:
        # The base's arguments were meant for its own program.
        settings["Entrypoint"] = list(recipe.entrypoint)
        settings.pop("Cmd", None)
    if recipe.cmd is not None:
        settings["Cmd"] = list(recipe.cmd)
    inherited = dict(one.split("=", 1) for one in base.get("Env", ()))
    settings["Env"] = [f"{name}={value}" for name, value in (inherited | recipe.environment).items()]
    settings["Labels"] = {**base.get("Labels", {}), **recipe.labels}
    settings["ExposedPorts"] = {**base.get("ExposedPorts", {}), **{port: {} for port in recipe.ports}}
    return settings


def _missing(reference: Reference, why: str) -> LabError:
    return LabError(
        "base-image-missing",
        f"the base image {reference.domain}/{reference.path} cannot be had: {why}",
        hint="start from an image that a Pod of this node could run, such as docker.io/library/python:3",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
