"""Builds programs from their pinned Go modules: reproducible flags, verified source, one build per module.

The directory with our ``go.mod``, ``go.sum`` and, where there is one, ``main.go`` is copied first, so that an installed
(read-only) lab builds too and nothing can change the pins. ``-mod=readonly`` with a complete go.sum makes go refuse any
module whose checksum is not ours.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lab.components import process
from lab.components.toolchain import base_environment, find_go, required_version
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.components.pins import Component, GoModule, GoToolchain, ModuleFile
    from lab.components.platforms import Platform
    from lab.components.process import Finished
    from lab.components.progress import Ticker
    from lab.components.store import Store
    from lab.components.toolchain import Go

_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
_MAJOR_VERSION = re.compile(r"\Av\d+\Z")
_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_NO_NETWORK = re.compile(
    r"dial tcp|no such host|connection refused|network is unreachable|i/o timeout|TLS handshake timeout|"
    r"proxyconnect|module lookup disabled by GOPROXY=off"
)
_CHECKSUM = re.compile(r"checksum mismatch|SECURITY ERROR|missing go\.sum entry")


def recipe(component: Component) -> str:
    """What decides a build's result beside the Go client: the pinned checksums, our source, the package, the flags."""
    digest = hashlib.sha256()
    for file in component.module.files:
        digest.update(file.read_bytes())
    digest.update(" ".join([component.package, *_FLAGS, component.module.ldflags]).encode())
    return digest.hexdigest()


def executable_name(package: str) -> str:
    """The name that go gives the program of a package: its last element that is no major version."""
    *_, before, last = ("", *package.split("/"))
    return before if _MAJOR_VERSION.match(last) else last


class GoBuilds:
    """Builds of one run: the Go client is looked for once per version asked for.

    Args:
        store: where a Go client is installed if none is there.
        platform: what to build for.
        pin: that Go client.
    """

    def __init__(self, *, store: Store, platform: Platform, pin: GoToolchain) -> None:
        self._store = store
        self._platform = platform
        self._pin = pin
        self._found: dict[str, Go] = {}

    def build(self, components: Sequence[Component], work: Path, ticker: Ticker) -> dict[str, dict[str, str]]:
        """Build components that share a module, each into ``work/<name>/<name>``.

        Args:
            components: at least one, all of the same module.
            work: an existing directory to build in.
            ticker: hears of progress.

        Returns:
            How each was obtained, by name.

        Raises:
            LabError: ``component-disk-full``, ``component-no-network``, ``component-source`` (a module is not the
                pinned one) or ``component-build``, with go's own last lines.
        """
        module = components[0].module
        go = self._go(module, ticker)
        out = work / "out"
        out.mkdir()
        packages = [component.package for component in components]
        ticker.say(f"building {module.name} {module.version} from source with go {go.version}")
        compiled = downloaded = 0

        def watch(line: str) -> None:
            nonlocal compiled, downloaded
            if line.startswith("go: downloading "):
                downloaded += 1
            elif line and " " not in line:
                compiled += 1  # go build -v names each package that it compiles

        argv = [go.program, "build", *_FLAGS, "-v", "-ldflags", module.ldflags, "-o", f"{out}/", *packages]
        ended = self._run(
            go, argv, module, work, watch=watch, ticker=ticker,
            state=lambda: f"{downloaded} modules downloaded, {compiled} packages compiled, "
            f"{len(list(out.iterdir()))} of {len(packages)} programs linked",
        )  # fmt: skip
        if ended.exit_code != 0:
            raise _explain(ended, f"building {', '.join(c.name for c in components)} failed")
        obtained = {}
        for component in components:
            (work / component.name).mkdir()
            (out / executable_name(component.package)).rename(work / component.name / component.name)
            obtained[component.name] = {
                "kind": "build",
                "module": f"{module.path}@v{module.version}",
                "package": component.package,
                "go": go.version,
                "recipe": recipe(component),
            }
        ticker.say(f"built, {ticker.elapsed}")
        return obtained

    def module_file(self, pinned: ModuleFile, work: Path, ticker: Ticker) -> dict[str, str]:
        """Copy a file out of a module's verified source to ``work/<name>/<file name>``, or a tree to ``work/<name>``.

        Raises:
            LabError: as `build`; ``component-source`` when the module has no such file.
        """
        module = pinned.module
        go = self._go(module, ticker)
        argv = [go.program, "mod", "download", "-json", module.path]
        ended = self._run(go, argv, module, work, ticker=ticker, state=lambda: f"downloading {module.path}")
        try:
            directory = json.loads(ended.stdout)["Dir"] if ended.exit_code == 0 else None
        except (ValueError, KeyError):
            directory = None
        if directory is None:
            raise _explain(ended, f"downloading {module.path} failed")
        staged = work / pinned.name
        staged.mkdir()
        wanted = Path(directory) / (pinned.tree or pinned.path)
        # Content only: files in the module cache are read-only, and so are its directories.
        files = [path for path in sorted(wanted.rglob("*")) if path.is_file()] if pinned.tree else [wanted]
        try:
            for file in files:
                target = staged / (file.relative_to(wanted) if pinned.tree else file.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            (staged / (pinned.path if pinned.tree else wanted.name)).stat()
        except FileNotFoundError as error:
            raise LabError(
                "component-source",
                f"{module.path} v{module.version} has no {'/'.join(filter(None, (pinned.tree, pinned.path)))}",
                hint="run 'go clean -modcache' if that directory was changed; else correct lab/components/pins.py",
                context={"directory": directory},
            ) from error
        return {"kind": "module", "module": f"{module.path}@v{module.version}", "path": pinned.tree or pinned.path}

    def _go(self, module: GoModule, ticker: Ticker) -> Go:
        minimum = required_version((module.directory / "go.mod").read_text(encoding="utf-8"))
        if minimum not in self._found:
            self._found[minimum] = find_go(
                minimum, pin=self._pin, store=self._store, platform=self._platform, ticker=ticker
            )
        return self._found[minimum]

    def _run(
        self,
        go: Go,
        argv: Sequence[str],
        module: GoModule,
        work: Path,
        *,
        ticker: Ticker,
        state: Callable[[], str],
        watch: Callable[[str], None] | None = None,
    ) -> Finished:
        source = work / "module"
        temporary = work / "go-tmp"
        source.mkdir()
        temporary.mkdir()
        for file in module.files:
            shutil.copyfile(file, source / file.name)
        # Its own temporary directory: what a killed go leaves there goes with our work directory.
        env = {**base_environment(), **go.env, "GOTMPDIR": str(temporary)}
        env |= {"GOOS": self._platform.os, "GOARCH": self._platform.arch}
        return process.run(argv, cwd=source, env=env, scratch=work, on_line=watch, on_wait=lambda: ticker.tick(state()))


def _explain(ended: Finished, what: str) -> LabError:
    """The error of a failed go, with the remedy that its own words call for."""
    # "go mod download -json" reports its errors on standard output.
    output = "\n".join([*ended.lines, ended.stdout])
    said = "\n".join(filter(None, [ended.tail(), ended.stdout.strip()]))
    context = {"go": said or f"no output, exit code {ended.exit_code}"}
    if _NO_SPACE.search(output):
        hint = "free about 6 GB where Go keeps its caches ('go env GOCACHE GOMODCACHE') and where the store is"
        return LabError("component-disk-full", f"{what}: the disk is full", hint=hint, context=context)
    if _CHECKSUM.search(output):
        hint = "find out what serves other source than the pinned one ('go env GOPROXY'); go.sum is right by definition"
        message = f"{what}: a module is not the pinned one"
        return LabError("component-source", message, hint=hint, context=context)
    if _NO_NETWORK.search(output):
        hint = "connect to the network, or set GOPROXY to a module proxy that this machine reaches; or use --bin-dir"
        return LabError("component-no-network", f"{what}: source cannot be downloaded", hint=hint, context=context)
    hint = "read go's own lines above; 'go clean -cache' helps against a damaged cache; or use --bin-dir"
    return LabError("component-build", what, hint=hint, context=context)
