"""The real registry serves the whole catalogue, and a node that asks it gets containerd's answers."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from lab.components import Components
from lab.errors import LabError
from lab.images.catalogue import CATALOGUE
from lab.images.endpoint import ACCEPT, Endpoint, stored_name
from lab.images.oci import ImageContent, from_layers, tar_of
from lab.images.private import HTPASSWD, PRIVATE_DOMAIN
from lab.images.pull_secrets import Credentials
from lab.images.push import push_images
from lab.images.registry import RegistryConfig, copy_storage, prepare_storage, serving
from lab.images.resolve import ImageNotFound, ImagePullDenied, ImagePullError, ImageResolver
from lab.images.workloads import RunnableImage
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from lab.images.catalogue import CatalogueImage
    from lab.images.oci import Blob

pytestmark = pytest.mark.integration

HTTPD = next(image for image in CATALOGUE if "docker.io/library/httpd:2.4" in image.references)
HTTPD_DIGEST = HTTPD.build().digest
ABSENT_DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def program() -> Path:
    return Components(LabPaths.from_environment()).ensure("registry")["registry"]


@pytest.fixture(scope="module")
def prepared(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(prepare_storage(program, tmp_path_factory.mktemp("templates")))


@pytest.fixture
def run_directory() -> Iterator[Path]:
    # Not tmp_path: the path of a UNIX socket may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="lab-test-") as directory:
        yield Path(directory)


@pytest.fixture
def storage(prepared: Path, run_directory: Path) -> Path:
    destination = run_directory / "storage"
    copy_storage(prepared, destination)
    return destination


@asynccontextmanager
async def served(program: Path, run_directory: Path, config: RegistryConfig) -> AsyncIterator[ImageResolver]:
    async with serving(program, config, directory=run_directory) as endpoint, ImageResolver(endpoint) as resolver:
        yield resolver


def on_socket(run_directory: Path, root: Path, *, read_only: bool = False) -> RegistryConfig:
    return RegistryConfig(endpoint=Endpoint.unix(run_directory / "socket"), root=root, read_only=read_only)


def files_below(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_every_reference_resolves_to_the_digest_computed_for_it(
    program: Path, storage: Path, run_directory: Path
) -> None:
    references = {reference: image for image in CATALOGUE for reference in image.references}

    async def resolve_all() -> dict[str, str]:
        async with served(program, run_directory, on_socket(run_directory, storage)) as resolver:
            return {reference: (await resolver.resolve(reference)).image_id for reference in references}

    assert asyncio.run(resolve_all()) == {
        reference: f"{image.repository}@{image.build().digest}" for reference, image in references.items()
    }


def test_images_can_be_pushed_below_a_prefix_of_somebody_elses_registry(program: Path, run_directory: Path) -> None:
    async def push_and_look() -> tuple[int, int]:
        config = on_socket(run_directory, run_directory / "theirs")
        async with serving(program, config, directory=run_directory) as endpoint:
            theirs = dataclasses.replace(endpoint, prefix="for/the/lab/")
            await push_images(theirs, [HTTPD])
            async with endpoint.open_session() as session:
                found = []
                for place in ("for/the/lab/", ""):
                    url = endpoint.url(f"{place}docker.io/library/httpd/manifests/2.4")
                    async with session.head(url, headers={"Accept": ACCEPT}) as response:
                        found.append(response.status)
        return found[0], found[1]

    assert asyncio.run(push_and_look()) == (200, 404)


def test_every_image_can_be_pulled_byte_for_byte(program: Path, storage: Path, run_directory: Path) -> None:
    async def pull(image: CatalogueImage, endpoint: Endpoint) -> list[tuple[str, Blob, bytes]]:
        domain, _, path = image.repository.partition("/")
        built = image.build()
        wanted = [("manifests", blob) for blob in (built.index, *built.manifests)]
        wanted += [("blobs", blob) for blob in built.blobs]
        pulled = []
        async with endpoint.open_session() as session:
            for kind, blob in wanted:
                url = endpoint.url(f"{stored_name(domain, path)}/{kind}/{blob.digest}")
                async with session.get(url, headers={"Accept": ACCEPT}) as response:
                    pulled.append((f"{response.status} {url}", blob, await response.read()))
        return pulled

    async def pull_all() -> list[tuple[str, Blob, bytes]]:
        async with serving(program, on_socket(run_directory, storage), directory=run_directory) as endpoint:
            return [answer for image in CATALOGUE for answer in await pull(image, endpoint)]

    answers = asyncio.run(pull_all())

    assert len(answers) == len(CATALOGUE) * 6
    assert [answer for answer, blob, data in answers if data != blob.data] == []


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("httpd:2.4", "docker.io/library/httpd:2.4"),
        ("docker.io/httpd", "docker.io/library/httpd:latest"),
        (f"httpd@{HTTPD_DIGEST}", f"docker.io/library/httpd@{HTTPD_DIGEST}"),
        (f"httpd:no-such-tag@{HTTPD_DIGEST}", f"docker.io/library/httpd@{HTTPD_DIGEST}"),
    ],
)
def test_a_short_name_and_a_digest_resolve_as_on_a_node(
    program: Path, storage: Path, run_directory: Path, written: str, name: str
) -> None:
    async def resolve() -> tuple[str, str]:
        async with served(program, run_directory, on_socket(run_directory, storage)) as resolver:
            image = await resolver.resolve(written)
            return image.name, image.image_id

    assert asyncio.run(resolve()) == (name, f"docker.io/library/httpd@{HTTPD_DIGEST}")


def test_what_the_registry_lacks_is_not_found_in_containerds_words(
    program: Path, storage: Path, run_directory: Path
) -> None:
    absent = {
        "nope": "docker.io/library/nope:latest",
        "httpd:9.9": "docker.io/library/httpd:9.9",
        f"httpd@{ABSENT_DIGEST}": f"docker.io/library/httpd@{ABSENT_DIGEST}",
        # The digest exists, but in another repository.
        f"nginx@{HTTPD_DIGEST}": f"docker.io/library/nginx@{HTTPD_DIGEST}",
        "[::1]:5000/x": "[::1]:5000/x:latest",
    }

    async def refusals() -> dict[str, str]:
        messages = {}
        async with served(program, run_directory, on_socket(run_directory, storage)) as resolver:
            for written in absent:
                with pytest.raises(ImageNotFound) as refusal:
                    await resolver.resolve(written)
                messages[written] = refusal.value.status_message
        return messages

    assert asyncio.run(refusals()) == {
        written: f'rpc error: code = NotFound desc = failed to pull and unpack image "{name}": '
        f'failed to resolve reference "{name}": {name}: not found'
        for written, name in absent.items()
    }


def test_a_moved_tag_is_seen_at_once_and_pushing_the_catalogue_moves_it_back(
    program: Path, storage: Path, run_directory: Path
) -> None:
    moved = dataclasses.replace(HTTPD, tags=("2.4",), summary="Somebody pushed over the tag.")

    async def digests() -> list[str]:
        seen = []
        async with served(program, run_directory, config := on_socket(run_directory, storage)) as resolver:
            seen.append((await resolver.resolve("httpd:2.4")).digest)
            await push_images(config.endpoint, [moved])
            seen.append((await resolver.resolve("httpd:2.4")).digest)
            await push_images(config.endpoint, [HTTPD])
            seen.append((await resolver.resolve("httpd:2.4")).digest)
        return seen

    assert asyncio.run(digests()) == [HTTPD_DIGEST, moved.build().digest, HTTPD_DIGEST]


def test_a_digest_once_seen_needs_no_registry_but_a_tag_does(program: Path, storage: Path, run_directory: Path) -> None:
    async def scenario() -> tuple[str, str]:
        config = on_socket(run_directory, storage)
        async with ImageResolver(config.endpoint) as resolver:
            async with serving(program, config, directory=run_directory):
                await resolver.resolve("httpd:2.4")
            pinned = await resolver.resolve(f"httpd@{HTTPD_DIGEST}")
            with pytest.raises(ImagePullError) as refusal:
                await resolver.resolve("httpd:2.4")
            return pinned.digest, refusal.value.status_message

    digest, message = asyncio.run(scenario())

    assert digest == HTTPD_DIGEST
    assert message.startswith(
        'rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/library/httpd:2.4": '
        'failed to resolve reference "docker.io/library/httpd:2.4": failed to do request: Head "http://'
    )


def test_pushing_again_sends_nothing(program: Path, prepared: Path, run_directory: Path) -> None:
    before = files_below(prepared)

    async def push_to_read_only() -> None:
        config = on_socket(run_directory, prepared, read_only=True)
        async with serving(program, config, directory=run_directory) as endpoint:
            await push_images(endpoint, CATALOGUE)

    asyncio.run(push_to_read_only())

    assert files_below(prepared) == before


def test_an_image_with_megabytes_in_it_is_pushed_without_a_warning(
    program: Path, storage: Path, run_directory: Path
) -> None:
    repository = "docker.io/library/large"
    image = from_layers([tar_of({"/program": os.urandom(3 << 20)})], ImageContent(files={"/README": b"large"}))

    async def push_and_resolve() -> str:
        config = on_socket(run_directory, storage)
        async with serving(program, config, directory=run_directory) as endpoint, ImageResolver(endpoint) as resolver:
            await push_images(endpoint, [RunnableImage(repository=repository, tags=("1",), image=image)])
            return (await resolver.resolve(f"{repository}:1")).digest

    assert asyncio.run(push_and_resolve()) == image.digest


def test_a_read_only_registry_refuses_a_new_image_and_says_so(
    program: Path, prepared: Path, run_directory: Path
) -> None:
    before = files_below(prepared)
    new = dataclasses.replace(HTTPD, tags=("new",))

    async def push_new() -> None:
        config = on_socket(run_directory, prepared, read_only=True)
        async with serving(program, config, directory=run_directory) as endpoint:
            await push_images(endpoint, [new])

    with pytest.raises(LabError) as refusal:
        asyncio.run(push_new())

    assert (refusal.value.code, "405" in refusal.value.message) == ("registry-push", True)
    assert files_below(prepared) == before


def test_a_copied_storage_serves_the_same_on_a_port(program: Path, storage: Path, run_directory: Path) -> None:
    config = RegistryConfig(endpoint=Endpoint(address=f"127.0.0.1:{free_port()}"), root=storage)

    async def resolve() -> str:
        async with served(program, run_directory, config) as resolver:
            return (await resolver.resolve("mcr.example:5000/team/app:1.0")).image_id

    image = next(image for image in CATALOGUE if image.repository == "mcr.example:5000/team/app")
    assert asyncio.run(resolve()) == f"mcr.example:5000/team/app@{image.build().digest}"


def test_storage_is_prepared_once_and_by_two_at_a_time_alike(program: Path, tmp_path: Path) -> None:
    async def prepare_twice() -> list[Path]:
        return await asyncio.gather(*(prepare_storage(program, tmp_path) for _ in range(2)))

    one, other = asyncio.run(prepare_twice())
    made = one.stat().st_ino

    assert one == other
    assert list(tmp_path.iterdir()) == [one]
    assert asyncio.run(prepare_storage(program, tmp_path)).stat().st_ino == made


def test_a_registry_with_a_password_file_gives_an_image_for_the_password_only(
    program: Path, storage: Path, run_directory: Path
) -> None:
    htpasswd = run_directory / "htpasswd"
    # bcrypt, cost 5, of the word "course".
    htpasswd.write_text("candidate:$2a$05$SdXgyUY47Ikw6N7SV0714OFBiwc7F2bhWcq6zQ/MFLPuO5idCwtMW\n")
    config = dataclasses.replace(on_socket(run_directory, storage), htpasswd=htpasswd)

    async def scenario() -> tuple[list[str], str]:
        refused = []
        async with served(program, run_directory, config) as resolver:
            for credentials in (None, Credentials(username="candidate", password="wrong")):
                with pytest.raises(ImagePullDenied) as refusal:
                    await resolver.resolve("internal-registry.io/team/app:1.0", credentials=credentials)
                refused.append(refusal.value.message)
            right = Credentials(username="candidate", password="course")
            opened = await resolver.resolve("internal-registry.io/team/app:1.0", credentials=right)
            with pytest.raises(ImagePullDenied):
                await resolver.resolve(opened.image_id)
            return refused, opened.digest

    image = next(image for image in CATALOGUE if "internal-registry.io/team/app:1.0" in image.references)
    (without, wrong), digest = asyncio.run(scenario())
    assert without.endswith("authorization failed: no basic auth credentials")
    assert wrong.endswith(": 401 Unauthorized")
    assert digest == image.build().digest


def test_the_private_registry_is_asked_with_what_a_pods_secret_holds(
    program: Path, prepared: Path, run_directory: Path
) -> None:
    (run_directory / "htpasswd").write_text(HTPASSWD)
    config = RegistryConfig(
        endpoint=Endpoint(address=f"127.0.0.1:{free_port()}"),
        root=prepared,
        htpasswd=run_directory / "htpasswd",
        read_only=True,
    )
    image = f"{PRIVATE_DOMAIN}/team/app:1.0"

    async def pull(*passwords: str) -> str:
        async def private() -> Endpoint:
            return config.endpoint

        nowhere = Endpoint(address="127.0.0.1:1")
        async with (
            serving(program, config, directory=run_directory),
            ImageResolver(nowhere, private=private) as resolver,
        ):
            return (await resolver.pull(image, [docker_secret(password) for password in passwords])).image_id

    digest = next(one for one in CATALOGUE if image in one.references).build().digest
    assert asyncio.run(pull("course")) == f"{PRIVATE_DOMAIN}/team/app@{digest}"
    assert asyncio.run(pull("wrong", "course")) == f"{PRIVATE_DOMAIN}/team/app@{digest}"
    for passwords, why in (((), "no basic auth credentials"), (("wrong",), "401 Unauthorized")):
        with pytest.raises(ImagePullDenied, match=why):
            asyncio.run(pull(*passwords))


def docker_secret(password: str) -> dict[str, Any]:
    auths = {"auths": {PRIVATE_DOMAIN: {"username": "candidate", "password": password}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(auths).encode()).decode()}
    return {"metadata": {"name": "login"}, "type": "kubernetes.io/dockerconfigjson", "data": data}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_registry_that_cannot_start_shows_its_own_words(program: Path, storage: Path, run_directory: Path) -> None:
    config = RegistryConfig(endpoint=Endpoint(address="192.0.2.1:5000"), root=storage)

    async def start() -> None:
        async with serving(program, config, directory=run_directory):
            pytest.fail("it cannot listen on an address that this machine does not have")

    with pytest.raises(LabError) as refusal:
        asyncio.run(start())

    assert refusal.value.code == "registry-start"
    assert "cannot assign requested address" in refusal.value.context["log"]


def test_a_program_that_is_missing_is_named(run_directory: Path) -> None:
    async def start() -> None:
        async with serving(Path("/nowhere/registry"), on_socket(run_directory, run_directory), directory=run_directory):
            pytest.fail("there is nothing to run")

    with pytest.raises(LabError, match="/nowhere/registry"):
        asyncio.run(start())


OWNER = """
import asyncio, sys
from pathlib import Path
from lab.images.endpoint import Endpoint
from lab.images.registry import RegistryConfig, serving

async def own() -> None:
    directory = Path(sys.argv[2])
    config = RegistryConfig(endpoint=Endpoint.unix(directory / "socket"), root=directory / "storage")
    async with serving(Path(sys.argv[1]), config, directory=directory):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(own())
"""


def test_the_registry_ends_with_the_process_that_runs_it(program: Path, run_directory: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(program), str(run_directory)],
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        (registry,) = psutil.Process(owner.pid).children()
        assert registry.name() == "registry"
        os.kill(owner.pid, signal.SIGKILL)

    gone, alive = psutil.wait_procs([registry], timeout=30)
    assert (gone, alive) == ([registry], [])


def test_nothing_of_a_run_is_left_in_memory_or_in_the_directory(tmp_path: Path) -> None:
    broken = tmp_path / "registry"
    shutil.copy("/bin/false", broken)
    shared_memory = Path("/dev/shm")  # noqa: S108
    before = set(shared_memory.glob("lab-registry-*"))

    with pytest.raises(LabError, match="exit code 1"):
        asyncio.run(prepare_storage(broken, tmp_path / "templates"))

    assert list((tmp_path / "templates").iterdir()) == []
    assert set(shared_memory.glob("lab-registry-*")) <= before
