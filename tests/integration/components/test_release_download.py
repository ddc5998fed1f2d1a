"""The download path against a local server with the layout of the real release hosts."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import tarfile
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from lab.components import Components, download
from lab.components.pins import Release
from lab.components.platforms import Platform
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.paths import LabPaths
    from tests.integration.components.conftest import ReleaseHost, TinyModule

pytestmark = pytest.mark.integration

PROGRAM = b"#!/bin/sh\necho released\n" + b"#" * 5000
ARCH = Platform.current().arch
BARE = f"/release/v1.2.3/bin/linux/{ARCH}/hello"


def bare_release(url: str) -> Release:
    base = url + "/release/v{version}/bin/{os}/{arch}/{name}"
    return Release(url=base, checksum_url=f"{base}.sha256")


def publish_bare(host: ReleaseHost, content: bytes = PROGRAM, *, path: str = BARE) -> None:
    host.files[path] = content
    host.files[f"{path}.sha256"] = hashlib.sha256(content).hexdigest().encode()


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def output(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def test_a_bare_program_is_downloaded_once_verified_and_runs(
    release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths
) -> None:
    publish_bare(release_host)
    pins = tiny.pins(tiny.component("hello", bare_release(release_host.url)))

    program = Components(paths, pins=pins).ensure("hello")["hello"]
    again = Components(paths, pins=pins).ensure("hello")["hello"]

    assert output(program) == "released\n"
    assert again == program
    assert release_host.requests == {BARE: 1, f"{BARE}.sha256": 1}
    (info,) = Components(paths, pins=pins).list(thorough=True)
    assert (info.state, info.source, info.sha256) == ("ready", "release", hashlib.sha256(PROGRAM).hexdigest())


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_program_is_taken_out_of_a_verified_archive(
    prefix: str, release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths
) -> None:
    name = f"hello-v1.2.3-linux-{ARCH}"
    members = {"README": b"x", "docs/hello": b"not this", "hello": PROGRAM}
    content = archive({f"{prefix}{name}/{member}": data for member, data in members.items()})
    release_host.files[f"/v1.2.3/{name}.tar.gz"] = content
    sums = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(content).hexdigest()}  {name}.tar.gz\n"
    release_host.files["/v1.2.3/SHA256SUMS"] = sums.encode()
    release = Release(
        url=release_host.url + "/v{version}/hello-v{version}-{os}-{arch}.tar.gz",
        checksum_url=release_host.url + "/v{version}/SHA256SUMS",
        member="hello-v{version}-{os}-{arch}/hello",
    )

    program = Components(paths, pins=tiny.pins(tiny.component("hello", release))).ensure("hello")["hello"]

    assert output(program) == "released\n"
    assert sorted(file.name for file in program.parent.iterdir()) == ["hello", "manifest.json"]


def test_an_archive_without_its_program_is_an_error(
    release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths
) -> None:
    publish_bare(release_host, archive({"else": PROGRAM}), path="/a.tar.gz")
    release = Release(
        url=release_host.url + "/a.tar.gz", checksum_url=release_host.url + "/a.tar.gz.sha256", member="hello"
    )

    with pytest.raises(LabError, match="holds no file hello") as caught:
        Components(paths, pins=tiny.pins(tiny.component("hello", release))).ensure("hello")
    assert caught.value.code == "component-archive"


def test_a_file_with_another_checksum_is_an_error_and_leaves_nothing(
    release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths
) -> None:
    publish_bare(release_host)
    release_host.files[BARE] = PROGRAM.replace(b"released", b"tampered")
    components = Components(paths, pins=tiny.pins(tiny.component("hello", bare_release(release_host.url))))

    with pytest.raises(LabError) as caught:
        components.ensure("hello")

    assert caught.value.code == "component-checksum"
    assert caught.value.context["published sha256"] == hashlib.sha256(PROGRAM).hexdigest()
    assert components.path("hello") is None
    assert [file for file in paths.store.rglob("*") if file.is_file() and file.parent.name != "locks"] == []


def test_a_transfer_that_breaks_is_tried_again(release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths) -> None:
    publish_bare(release_host)
    release_host.cut[BARE] = 1

    program = Components(
        paths, pins=tiny.pins(tiny.component("hello", bare_release(release_host.url)))
    ).ensure("hello")["hello"]  # fmt: skip

    assert output(program) == "released\n"
    assert release_host.requests[BARE] == 2


def test_a_transfer_that_keeps_breaking_ends_in_a_build(
    release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths
) -> None:
    publish_bare(release_host)
    release_host.cut[BARE] = 99
    heard: list[str] = []
    pins = tiny.pins(tiny.component("hello", bare_release(release_host.url)))

    program = Components(paths, pins=pins, progress=heard.append).ensure("hello")["hello"]

    assert output(program) == "hello v1.2.3\n"
    assert release_host.requests[BARE] == download.ATTEMPTS
    assert any("broke after" in line for line in heard)


@pytest.mark.parametrize("checksum", [None, b"<html>Log in to this network</html>"])
def test_a_release_without_a_checksum_is_not_taken_and_its_host_is_still_asked(
    checksum: bytes | None, release_host: ReleaseHost, tiny: TinyModule, paths: LabPaths
) -> None:
    publish_bare(release_host)
    goodbye = BARE.replace("hello", "goodbye")
    publish_bare(release_host, path=goodbye)
    del release_host.files[f"{BARE}.sha256"]
    if checksum is not None:
        release_host.files[f"{BARE}.sha256"] = checksum
    release = bare_release(release_host.url)
    pins = tiny.pins(tiny.component("hello", release), tiny.component("goodbye", release))

    programs = Components(paths, pins=pins).ensure("hello", "goodbye")

    assert output(programs["hello"]) == "hello v1.2.3\n"
    assert output(programs["goodbye"]) == "released\n"
    assert BARE not in release_host.requests


@contextmanager
def host_that(*, answers: bool) -> Iterator[tuple[str, list[None]]]:
    """A host that takes connections and hangs up, or never says a word; with the connections it took."""
    taken: list[None] = []
    kept: list[socket.socket] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed: the test is over
                taken.append(None)
                if answers:
                    connection.close()
                else:
                    kept.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in kept:
        connection.close()


@pytest.mark.parametrize("answers", [True, False], ids=["hangs-up", "silent"])
def test_an_unreachable_host_is_found_out_once_in_a_run(
    tiny: TinyModule, paths: LabPaths, monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    monkeypatch.setattr(download, "CONNECT_TIMEOUT_S", 0.2)
    heard: list[str] = []
    with host_that(answers=answers) as (url, taken):
        release = bare_release(url)
        pins = tiny.pins(tiny.component("hello", release), tiny.component("goodbye", release))
        programs = Components(paths, pins=pins, progress=heard.append).ensure("hello", "goodbye")

    assert len(taken) == 1
    assert [line for line in heard if "cannot be reached" in line] == heard[:1]
    assert output(programs["goodbye"]) == "goodbye v1.2.3\n"
