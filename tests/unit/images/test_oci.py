"""An image's digest is worked out here from the formats alone, so that no library decides what it is."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from lab.images.oci import ARCHITECTURES, ImageContent, OciImage, build

CONTENT = ImageContent(files={"/etc/os-release": b"ID=lab\n", "/README": b"read me\n"}, entrypoint=("sh",))


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def ustar_entry(name: str, *, mode: str, kind: str, data: bytes = b"") -> bytes:
    """One entry as POSIX.1-1988 lays it out: a header of 512 bytes, then the data in blocks of 512."""
    fields = [
        (name, 100), (f"{mode}\0", 8), ("0000000\0", 8), ("0000000\0", 8), (f"{len(data):011o}\0", 12),
        ("00000000000\0", 12), (" " * 8, 8), (kind, 1), ("", 100), ("ustar\0", 6), ("00", 2),
        ("", 32), ("", 32), ("", 8), ("", 8), ("", 155), ("", 12),
    ]  # fmt: skip
    header = b"".join(value.encode().ljust(size, b"\0") for value, size in fields)
    header = header[:148] + f"{sum(header):06o}\0 ".encode() + header[156:]
    return header + data + b"\0" * (-len(data) % 512)


def expected_layer() -> bytes:
    entries = (
        ustar_entry("README", mode="0000644", kind="0", data=b"read me\n")
        + ustar_entry("etc/", mode="0000755", kind="5")
        + ustar_entry("etc/os-release", mode="0000644", kind="0", data=b"ID=lab\n")
    )
    return entries.ljust(10240, b"\0")  # two empty blocks end it, and records are 20 blocks long


def expected_config(architecture: str, layer: bytes) -> bytes:
    return (
        f'{{"architecture":"{architecture}","config":{{"Entrypoint":["sh"]}},"created":"1970-01-01T00:00:00Z",'
        '"history":[{"created":"1970-01-01T00:00:00Z","created_by":"k8s-supply-chain-lab"}],"os":"linux",'
        f'"rootfs":{{"diff_ids":["{sha256(layer)}"],"type":"layers"}}}}'
    ).encode()


def expected_manifest(config: bytes, layer: bytes) -> bytes:
    return (
        f'{{"config":{{"digest":"{sha256(config)}","mediaType":"application/vnd.oci.image.config.v1+json",'
        f'"size":{len(config)}}},"layers":[{{"digest":"{sha256(layer)}",'
        f'"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{len(layer)}}}],'
        '"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'
    ).encode()


def test_an_image_has_the_digest_that_its_formats_give_it() -> None:
    layer = expected_layer()
    configs = [expected_config(architecture, layer) for architecture in ("amd64", "arm64")]
    manifests = [expected_manifest(config, layer) for config in configs]
    entries = ",".join(
        f'{{"digest":"{sha256(manifest)}","mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"platform":{{"architecture":"{architecture}","os":"linux"}},"size":{len(manifest)}}}'
        for manifest, architecture in zip(manifests, ("amd64", "arm64"), strict=True)
    )
    index = (
        f'{{"manifests":[{entries}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}'
    ).encode()

    image = build(CONTENT)

    assert [blob.data for blob in image.blobs] == [layer, *configs]
    assert [manifest.data for manifest in image.manifests] == manifests
    assert image.index.data == index
    assert image.digest == sha256(index)


def test_the_order_in_which_files_are_named_does_not_matter() -> None:
    reordered = ImageContent(files=dict(sorted(CONTENT.files.items())), entrypoint=("sh",))

    assert build(reordered).digest == build(CONTENT).digest


@pytest.mark.parametrize(
    "other",
    [
        ImageContent(files={**CONTENT.files, "/README": b"read me!"}, entrypoint=("sh",)),
        ImageContent(files={**CONTENT.files, "/empty": b""}, entrypoint=("sh",)),
        ImageContent(files=CONTENT.files, entrypoint=("sh", "-c")),
        ImageContent(files=CONTENT.files, entrypoint=("sh",), cmd=("-l",)),
        ImageContent(files=CONTENT.files, entrypoint=("sh",), user="1000"),
        ImageContent(files=CONTENT.files, entrypoint=("sh",), ports=(80,)),
        ImageContent(files=CONTENT.files, entrypoint=("sh",), labels={"a": "b"}),
    ],
)
def test_whatever_differs_gives_another_digest(other: ImageContent) -> None:
    assert build(other).digest != build(CONTENT).digest


def test_the_layer_unpacks_to_the_files_and_holds_nothing_of_this_machine() -> None:
    image = build(CONTENT)
    with tarfile.open(fileobj=io.BytesIO(image.blobs[0].data)) as archive:
        members = archive.getmembers()
        files = {}
        for member in members:
            if stream := archive.extractfile(member):
                files[f"/{member.name}"] = stream.read()

    assert files == CONTENT.files
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}


def test_each_platform_runs_the_same_layer_under_a_config_of_its_own() -> None:
    image = build(CONTENT)
    content = content_by_digest(image)

    platforms = []
    for entry in json.loads(image.index.data)["manifests"]:
        manifest = json.loads(content[entry["digest"]])
        config = json.loads(content[manifest["config"]["digest"]])
        platforms.append(config["architecture"])
        assert entry["platform"] == {"architecture": config["architecture"], "os": config["os"]}
        assert [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert tuple(platforms) == ARCHITECTURES


def content_by_digest(image: OciImage) -> dict[str, bytes]:
    return {blob.digest: blob.data for blob in (*image.blobs, *image.manifests)}
