"""Dockerfiles read, and images made of them without a daemon: what is in them, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from lab.bouncer.reference import parse
from lab.errors import InputError, LabError
from lab.images import builder, dockerfile
from lab.images.oci import INDEX_TYPE, ImageContent, OciImage, from_layers, tar_of

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = """\
# the course's
FROM python:3
WORKDIR /app
COPY image_policy_webhook.py .
ENV PYTHONUNBUFFERED=1 \\
    MODE="a b"
EXPOSE 8080
CMD ["python", "image_policy_webhook.py"]
"""


def held(image: OciImage, *, architecture: str = "amd64") -> dict[str, bytes]:
    """What a registry has of an image."""
    index = json.loads(image.index.data)
    index["manifests"][0]["platform"]["architecture"] = architecture
    blobs = {f"blobs/{blob.digest}": blob.data for blob in image.blobs}
    manifests = {f"manifests/{manifest.digest}": manifest.data for manifest in image.manifests}
    return blobs | manifests | {"manifests/3": json.dumps(index).encode()}


@pytest.fixture
def base() -> dict[str, bytes]:
    content = ImageContent(files={"/README": b"base"}, cmd=("python3",), environment=(("LANG", "C.UTF-8"),))
    return held(from_layers([tar_of({"/usr/bin/python3": b"program"}, mode=0o755)], content))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "image_policy_webhook.py").write_text("print()\n")
    (tmp_path / "static" / "deep").mkdir(parents=True)
    (tmp_path / "static" / "deep" / "page").write_text("page")
    return tmp_path


def made(text: str, directory: Path, base: dict[str, bytes]) -> tuple[dict[str, Any], list[list[str]]]:
    """The config of the image of a Dockerfile, and the names in each of its layers."""
    manifest, blobs = builder.build(dockerfile.read(text), directory, base=base.__getitem__, architecture="amd64")
    by_digest = {blob.digest: blob for blob in blobs}
    document = json.loads(manifest.data)
    config: dict[str, Any] = json.loads(by_digest[document["config"]["digest"]].data)
    layers = [by_digest[layer["digest"]] for layer in document["layers"]]
    assert config["rootfs"]["diff_ids"] == [layer.digest for layer in layers]
    return config, [tarfile.open(fileobj=io.BytesIO(layer.data)).getnames() for layer in layers]


def test_an_image_is_its_base_and_what_the_dockerfile_adds(directory: Path, base: dict[str, bytes]) -> None:
    config, layers = made(DOCKERFILE, directory, base)
    assert layers[-1] == ["app/image_policy_webhook.py"]
    assert "usr/bin/python3" in layers[0]
    assert config["config"]["Cmd"] == ["python", "image_policy_webhook.py"]
    assert config["config"]["WorkingDir"] == "/app"
    assert config["config"]["Env"] == ["LANG=C.UTF-8", "PYTHONUNBUFFERED=1", "MODE=a b"]
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}


def test_the_same_build_gives_the_same_image(directory: Path, base: dict[str, bytes]) -> None:
    recipe = dockerfile.read(DOCKERFILE)
    digests = set()
    for _ in range(2):
        (directory / "image_policy_webhook.py").touch()
        digests.add(builder.build(recipe, directory, base=base.__getitem__, architecture="amd64")[0].digest)
    assert len(digests) == 1


def test_a_directory_is_copied_by_its_contents(directory: Path, base: dict[str, bytes]) -> None:
    _, layers = made("FROM python:3\nCOPY static /srv/\n", directory, base)
    assert layers[-1] == ["srv", "srv/deep", "srv/deep/page"]


def test_an_entrypoint_takes_the_arguments_of_the_base_away(directory: Path, base: dict[str, bytes]) -> None:
    config, _ = made('FROM python:3\nUSER 1000\nLABEL a=b\nENTRYPOINT ["/x"]\n', directory, base)
    assert config["config"]["Entrypoint"] == ["/x"]
    assert "Cmd" not in config["config"]
    assert (config["config"]["User"], config["config"]["Labels"]["a"]) == ("1000", "b")


def test_words_that_are_no_list_go_to_a_shell() -> None:
    assert dockerfile.read("FROM a\nCMD python x.py\n").cmd == ("/bin/sh", "-c", "python x.py")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no FROM"),
        ("CMD x\n", "CMD stands before FROM"),
        ("FROM a AS b\n", "names one image"),
        ("FROM a\nFROM b\n", "several stages"),
        ("FROM a\nRUN pip install flask\n", "line 2 of the Dockerfile: RUN is not done on the node"),
        ("FROM a\nADD x /\n", "ADD is not done"),
        ("FROM a\nVOLUME /x\n", "does not know VOLUME"),
        ("FROM a\nCOPY x\n", "what to copy, and where to"),
        ("FROM a\nCOPY --from=b x y\n", "no options of COPY"),
        ("FROM a\nCOPY x ../y\n", "leads upwards"),
        ("FROM a\nENV NAME value\n", "ENV takes NAME=VALUE"),
        ("FROM a\nCMD ['x']\n", "no JSON"),
        ("FROM a\nCMD [1]\n", "something else than words"),
        ("FROM a\nCMD\n", "CMD says nothing"),
        ("FROM a\nCMD x \\\n", "goes on in a line that is not there"),
    ],
)
def test_what_the_builder_cannot_do_is_told(text: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        dockerfile.read(text)
    assert why in str(caught.value)


@pytest.mark.parametrize("source", ["absent.py", "../secret"])
def test_only_what_is_below_the_directory_can_be_copied(source: str, tmp_path: Path, base: dict[str, bytes]) -> None:
    (tmp_path / "secret").write_text("x")
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(InputError, match="no such file below"):
        made(f"FROM python:3\nCOPY {source} /\n", inside, base)


def test_several_files_need_a_directory(directory: Path, base: dict[str, bytes]) -> None:
    (directory / "other.py").touch()
    with pytest.raises(InputError, match="several files need a directory"):
        made("FROM python:3\nCOPY *.py /one\n", directory, base)


def test_a_base_of_another_architecture_is_told(directory: Path) -> None:
    content = ImageContent(files={"/README": b"base"})
    with pytest.raises(LabError, match="not there for amd64") as caught:
        made("FROM python:3\n", directory, held(from_layers([], content), architecture="s390x"))
    assert caught.value.code == "base-image-missing"


def test_a_damaged_base_is_told(directory: Path, base: dict[str, bytes]) -> None:
    damaged = {path: data + b"x" if path.startswith("blobs/") else data for path, data in base.items()}
    with pytest.raises(LabError) as caught:
        made("FROM python:3\n", directory, damaged)
    assert caught.value.code == "base-image-damaged"


def test_the_base_comes_from_where_containerd_takes_it(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"knows no registry docker\.io"):
        builder.registry(parse("python:3"), tmp_path)
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io" / "hosts.toml").write_text('server = "http://127.0.0.1:1/v2/docker.io"\n')
    with pytest.raises(LabError, match="manifests/3 cannot be had"):
        builder.registry(parse("python:3"), tmp_path)("manifests/3")


def test_the_archive_names_the_image_as_ctr_reads_it(directory: Path, base: dict[str, bytes]) -> None:
    manifest, blobs = builder.build(dockerfile.read(DOCKERFILE), directory, base=base.__getitem__, architecture="amd64")
    with tarfile.open(fileobj=io.BytesIO(builder.archive("docker.io/library/x:v1", manifest, blobs))) as opened:
        index_file = opened.extractfile("index.json")
        assert index_file is not None
        index = json.loads(index_file.read())
        assert "oci-layout" in opened.getnames()
        assert f"blobs/sha256/{manifest.digest.removeprefix('sha256:')}" in opened.getnames()
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/library/x:v1"
    assert index["manifests"][0]["mediaType"] != INDEX_TYPE


def test_an_error_is_told_in_two_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = builder.main(["-t", "x:v1", "-o", str(tmp_path / "x.tar"), str(tmp_path)])
    assert code == 2
    assert "there is no" in capsys.readouterr().err
    assert not (tmp_path / "x.tar").exists()
