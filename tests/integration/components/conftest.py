"""What these tests share: a tiny Go program pinned as the real ones are, and a release host on loopback."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

import pytest

from lab.components.pins import Component, GoModule, Release
from lab.paths import LabPaths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAIN = """package main

import "fmt"

var version = "unstamped"

func main() { fmt.Println("NAME", version) }
"""


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyModule:
    """A Go module of the test's own; it needs no network, because its source is a local replacement."""

    root: Path

    @property
    def module(self) -> GoModule:
        return GoModule(
            name="tiny", directory=self.root / "pin", path="tiny.test/tools", version="1.2.3",
            stamps={"main.version": "v1.2.3"},
        )  # fmt: skip

    def component(self, name: str, release: Release | None = None) -> Component:
        return Component(name=name, module=self.module, package=f"tiny.test/tools/{name}", release=release)

    def pins(self, *components: Component) -> dict[str, Component]:
        return {component.name: component for component in components}

    def source(self, name: str) -> Path:
        return self.root / "source" / name / "main.go"


def make_tiny(root: Path) -> TinyModule:
    tiny = TinyModule(root=root)
    for name in ("hello", "goodbye"):
        tiny.source(name).parent.mkdir(parents=True)
        tiny.source(name).write_text(MAIN.replace("NAME", name), encoding="utf-8")
    (root / "source" / "go.mod").write_text("module tiny.test/tools\n\ngo 1.21\n", encoding="utf-8")
    pin = root / "pin"
    pin.mkdir()
    (pin / "go.mod").write_text(
        f"module tiny.test/pin\n\ngo 1.21\n\nrequire tiny.test/tools v1.2.3\n\n"
        f"replace tiny.test/tools => {root / 'source'}\n",
        encoding="utf-8",
    )
    (pin / "go.sum").write_text("", encoding="utf-8")
    return tiny


@pytest.fixture
def tiny(tmp_path: Path) -> TinyModule:
    return make_tiny(tmp_path / "tiny")


@dataclass(slots=True, kw_only=True)
class ReleaseHost:
    """A release page: what it serves, and what was asked of it.

    Attributes:
        url: its address.
        files: content by path.
        cut: paths whose transfer breaks, with how many times it still does; half of the file is sent.
        requests: how often each path was asked for.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    host_data: ReleaseHost


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host = cast("_Server", self.server).host_data
        host.requests[self.path] += 1
        content = host.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if host.cut[self.path] > 0:
            host.cut[self.path] -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep the test's output clean."""


@pytest.fixture
def release_host() -> Iterator[ReleaseHost]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.host_data = ReleaseHost(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.host_data
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not be asked for loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
