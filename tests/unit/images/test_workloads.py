from __future__ import annotations

import contextlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.images import debian, workloads
from lab.images.oci import ImageContent, from_layers, tar_of
from lab.images.workloads import ADDON_IMAGES, WorkloadImages
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from lab.images.workloads import RunnableImage


def _nobody(_text: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def images(tmp_path: Path) -> WorkloadImages:
    return WorkloadImages(LabPaths(cache=tmp_path / "cache", state=tmp_path / "state"), progress=_nobody)


def names(archive: bytes) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {member.name: member.mode for member in opened}


@pytest.mark.parametrize("reference", [image for addon in ADDON_IMAGES.values() for image in addon])
def test_every_image_of_an_addon_has_a_recipe(images: WorkloadImages, reference: str) -> None:
    row = workloads._row(reference)
    assert row is not None
    assert images._recipe(row) is not None


def test_a_stand_in_stays_one(images: WorkloadImages) -> None:
    row = workloads._row("ghcr.io/aquasecurity/trivy:latest")
    assert row is not None
    assert images._recipe(row) is None
    assert workloads._row("docker.io/library/nobody-has-this:1") is None
    assert workloads._row("Not A Reference") is None


@pytest.mark.parametrize(
    ("reference", "starts"),
    [
        ("docker.io/library/busybox:1.37", ("sh",)),
        ("gcr.io/x/busybox", ("sh",)),
        ("docker.io/library/redis:7", ("redis-server", "--protected-mode", "no")),
        ("docker.io/library/python:3", ("python3",)),
        ("internal-registry.io/nginx", ("/usr/sbin/nginx", "-g", "daemon off;")),
        ("private-registry.example/team/app:1.0", ("/app",)),
    ],
)
def test_what_scenarios_deploy_runs_what_its_name_says(
    images: WorkloadImages, reference: str, starts: tuple[str, ...]
) -> None:
    row = workloads._row(reference)
    assert row is not None
    recipe = images._recipe(row)
    assert recipe is not None
    assert (recipe.content.entrypoint or recipe.content.cmd) == starts


def test_what_cannot_be_made_is_told(images: WorkloadImages) -> None:
    runs, unknown = "kainlite/kube-image-bouncer", "docker.io/library/nobody-has-this:1"
    stands_in = "ghcr.io/aquasecurity/trivy:latest"
    assert images.lacking([runs, stands_in, unknown]) == (stands_in, unknown)


def test_each_version_has_contents_of_its_own(images: WorkloadImages) -> None:
    rows = [workloads._row(f"docker.io/library/httpd:{tag}") for tag in ("2.4", "2.4.58")]
    recipes = [images._recipe(row) for row in rows if row is not None]
    contents = [recipe.content for recipe in recipes if recipe is not None]
    assert from_layers([], contents[0]).digest != from_layers([], contents[1]).digest


def test_the_bouncers_image_holds_the_bouncer_and_not_the_rest_of_the_lab() -> None:
    sources = workloads._own_sources()
    assert {"/opt/lab/lab/__init__.py", "/opt/lab/lab/bouncer/__main__.py", "/opt/lab/lab/errors.py"} <= set(sources)
    assert not any("/cluster/" in path or "/scenario/" in path for path in sources)


def test_its_libraries_are_those_that_are_installed_here() -> None:
    pins = workloads._pins(("aiohttp", "pyyaml"))
    found = {pin.split("==")[0].lower() for pin in pins}
    assert {"aiohttp", "pyyaml", "yarl", "multidict"} <= found
    assert all("==" in pin for pin in pins)


def test_an_image_of_layers_says_so_in_its_manifest() -> None:
    layers = [tar_of({"/manager": b"program"}, mode=0o755)]
    image = from_layers(layers, ImageContent(files={"/README": b"x"}, environment=(("A", "b"),)))
    assert len(image.manifests) == 1
    assert len(image.blobs) == 3
    assert b'"Env":["A=b"]' in image.blobs[-1].data
    assert names(layers[0]) == {"manager": 0o755}


def test_a_machine_without_apt_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(LabError) as caught:
        debian.closure(["nginx"])
    assert caught.value.code == "apt-missing"


def test_what_apt_says_of_a_failure_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apt = tmp_path / "apt-cache"
    apt.write_text("#!/bin/sh\necho 'E: no lists' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LabError, match="apt-cache depends failed") as caught:
        debian.closure(["nginx"])
    assert caught.value.context["output"] == "E: no lists"


def test_the_closure_leaves_out_what_only_scripts_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apt = tmp_path / "apt-cache"
    apt.write_text(
        "#!/bin/sh\nprintf '%s\\n' nginx '  Depends: libc6' '|Depends: x' libc6 '<virtual>' perl-base dpkg gcc:i386\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert debian.closure(["nginx"]) == ("libc6", "nginx")


@pytest.mark.parametrize("reference", ["nginx", "httpd:2.4", "busybox:1.36", "busybox@sha256:" + "0" * 64])
def test_what_scenarios_deploy_without_a_word_has_a_recipe(images: WorkloadImages, reference: str) -> None:
    row = workloads._row(reference)
    assert row is not None
    assert row.entrypoint[0] in workloads._USUAL
    assert images._recipe(row) is not None


def test_a_tree_is_the_layer_unpacked_and_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = tar_of({"/usr/bin/python3": b"program"}, mode=0o755)
    monkeypatch.setattr(debian, "layer", lambda *_, **__: archive)
    tree = debian.tree(["python3-minimal"], cache=tmp_path, progress=_nobody)
    assert (tree / "usr/bin/python3").read_bytes() == b"program"
    (tree / "kept").touch()
    assert (debian.tree(["python3-minimal"], cache=tmp_path, progress=_nobody) / "kept").exists()


def test_whoever_is_interrupted_while_images_are_made_goes_on_where_it_was(
    images: WorkloadImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pushed: list[str] = []
    asked: list[tuple[str, ...]] = []

    @contextlib.asynccontextmanager
    async def no_registry(*_: object, **__: object) -> AsyncIterator[None]:
        yield

    async def push(_endpoint: None, pushables: Sequence[RunnableImage]) -> None:
        (one,) = pushables
        if len(pushed) == 2:
            raise KeyboardInterrupt
        pushed.append(one.repository)

    def layer(packages: tuple[str, ...], **_: object) -> bytes:
        asked.append(packages)
        return tar_of({})

    monkeypatch.setattr(images, "_storage", lambda: tmp_path)
    monkeypatch.setattr(images._components, "ensure", lambda *_: {"registry": tmp_path})
    monkeypatch.setattr(workloads, "serving", no_registry)
    monkeypatch.setattr(workloads, "push_images", push)
    monkeypatch.setattr(debian, "layer", layer)
    references = ["nginx:1.27", "internal-registry.io/nginx", "docker.io/library/redis:7"]

    with pytest.raises(KeyboardInterrupt):
        images.ensure(references)
    pushed_before = pushed.copy()
    pushed.clear()
    images.ensure(references)

    assert pushed_before == ["docker.io/library/nginx", "internal-registry.io/nginx"]
    assert pushed == ["docker.io/library/redis"]
    assert asked == [("nginx",), ("redis-server",)], "apt takes its time, and has been asked once for each layer"
