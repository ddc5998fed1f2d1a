"""Small OCI images whose digest is the same on every machine.

A Pod's ``imageID`` is only worth teaching with when it is real: the digest of bytes that a registry serves. So these
are genuine OCI images (image index, one manifest and config for each platform, one layer), made so that nothing of
the machine gets in: fixed times and owners, sorted entries and keys, and a layer that is a plain tar, because the
bytes of a compressed one depend on the zlib that made it.

An image is an *index* over linux/amd64 and linux/arm64, as on the public registries: the digest that Pods and
``kubectl set image`` carry is the index's, and so holds on both. A single manifest would be refused by containerd on
the machine whose architecture it does not name. The layer carries only text, so both platforms share it.

Formats: OCI image specification 1.1.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lab.components.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

ARCHITECTURES = ("amd64", "arm64")
_CREATED = "1970-01-01T00:00:00Z"  # the epoch, as the tar's mtime 0: no image is older or newer than another


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Content with its media type.

    Attributes:
        media_type: what the content is.
        data: the bytes.
        digest: ``sha256:`` and the hash of the bytes in hexadecimal.
    """

    media_type: str
    data: bytes
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", f"sha256:{hashlib.sha256(self.data).hexdigest()}")

    @property
    def descriptor(self) -> dict[str, Any]:
        """The OCI descriptor by which a manifest names this content."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """What an image is made of.

    Attributes:
        files: absolute path to content; directories are made, everything is owned by root.
        entrypoint: the program and its first arguments.
        cmd: the default arguments.
        user: ``uid`` or ``uid:gid``; empty for root.
        ports: TCP ports that the image says it listens on.
        labels: the config's labels.
        environment: variables that the image sets.
    """

    files: Mapping[str, bytes]
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    ports: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OciImage:
    """An image, ready to be pushed.

    Attributes:
        index: names the manifests; its digest is the image's.
        manifests: one for each platform.
        blobs: configs and layers.
    """

    index: Blob
    manifests: tuple[Blob, ...]
    blobs: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        """The digest by which a Pod's status and a pinned reference name this image."""
        return self.index.digest


def build(content: ImageContent) -> OciImage:
    """Make the image of some content; the same content always gives the same digest."""
    return _image([tar_of(content.files)], content, ARCHITECTURES)


def from_layers(layers: Sequence[bytes], content: ImageContent) -> OciImage:
    """Make an image of layers that hold programs of this machine's architecture.

    Args:
        layers: uncompressed tar archives, the lowest first.
        content: what lies above them, and how the image is started.
    """
    return _image([*layers, tar_of(content.files)], content, (Platform.current().arch,))


def _image(archives: Sequence[bytes], content: ImageContent, architectures: Sequence[str]) -> OciImage:
    layers = [Blob(media_type=LAYER_TYPE, data=archive) for archive in archives]
    configs = [_config(content, layers, architecture) for architecture in architectures]
    manifests = [_manifest(config, layers) for config in configs]
    entries = [
        manifest.descriptor | {"platform": {"architecture": architecture, "os": "linux"}}
        for manifest, architecture in zip(manifests, architectures, strict=True)
    ]
    index = document_blob(INDEX_TYPE, {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})
    return OciImage(index=index, manifests=tuple(manifests), blobs=(*layers, *configs))


def _manifest(config: Blob, layers: Sequence[Blob]) -> Blob:
    return document_blob(
        MANIFEST_TYPE,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor,
            "layers": [layer.descriptor for layer in layers],
        },
    )


def _config(content: ImageContent, layers: Sequence[Blob], architecture: str) -> Blob:
    # Keys are left out where there is nothing to say, as the image specification's own tools do.
    run = {
        "Entrypoint": list(content.entrypoint),
        "Cmd": list(content.cmd),
        "User": content.user,
        "Env": [f"{name}={value}" for name, value in content.environment],
        "ExposedPorts": {f"{port}/tcp": {} for port in content.ports},
        "Labels": dict(content.labels),
    }
    return document_blob(
        CONFIG_TYPE,
        {
            "created": _CREATED,
            "architecture": architecture,
            "os": "linux",
            "config": {key: value for key, value in run.items() if value},
            # The digest of an uncompressed layer is its diff ID.
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": _CREATED, "created_by": "k8s-supply-chain-lab"} for _ in layers],
        },
    )


def document_blob(media_type: str, document: Mapping[str, Any]) -> Blob:
    """A JSON document as a blob; the same document always has the same digest."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Blob(media_type=media_type, data=text.encode())


def tar_of(files: Mapping[str, bytes], *, mode: int = 0o644) -> bytes:
    """A plain archive of files under their absolute paths: sorted, owned by root, dated 1970."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry, data in _entries(files, mode):
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def links_of(links: Mapping[str, str]) -> bytes:
    """A plain archive of symbolic links, absolute path to target, like that of `tar_of`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, target in sorted(links.items()):
            entry = tarfile.TarInfo(str(PurePosixPath(path).relative_to("/")))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return buffer.getvalue()


def _entries(files: Mapping[str, bytes], mode: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    contents = {PurePosixPath(path).relative_to("/"): data for path, data in files.items()}
    directories = {parent for path in contents for parent in path.parents} - {PurePosixPath()}
    for path in sorted(contents.keys() | directories):
        entry = tarfile.TarInfo(str(path))
        data = contents.get(path)
        if data is None:
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        else:
            entry.mode, entry.size = mode, len(data)
        yield entry, data or b""
