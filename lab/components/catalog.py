"""The front door of the room: ask for programs by name, get paths of programs that are whole and pinned.

The order is the same for each: the user's own directory, the store, the project's release, a build from source.
Components that share a Go module are obtained together under all of their locks, which are taken in the order of
their names, so that two processes that want overlapping sets wait for each other and never in a circle.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.components.bindir import BinDir, OwnProgram
from lab.components.pins import GATEKEEPER_MANIFEST, GO_TOOLCHAIN, KIND_NODE_FILES, PINS
from lab.components.platforms import Platform
from lab.components.progress import Ticker
from lab.components.store import Entry, Key, State, Store, store_error
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lab.components.download import ReleaseDownloads
    from lab.components.gobuild import GoBuilds
    from lab.components.pins import Component, GoModule, GoToolchain, ModuleFile
    from lab.paths import LabPaths

OWN = "bin-dir"
"""Source of a program that the user gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentInfo:
    """One component as it is now.

    Attributes:
        name: name of the program.
        version: the pinned version; for the user's own program, what it says of itself.
        source: ``bin-dir``, ``release``, ``build``; empty when it is missing.
        path: where it lies, or would lie.
        state: ``ready``, ``missing``, ``damaged`` or ``outdated``.
        size: in bytes; 0 when missing.
        sha256: of its content; empty when missing.
        problem: what is wrong with it, one sentence; empty when nothing is.
    """

    name: str
    version: str
    source: str
    path: Path
    state: str
    size: int
    sha256: str
    problem: str = ""


class Components:
    """The pinned programs.

    Args:
        paths: the lab's directories.
        bin_dir: a directory of the user's own programs, which come first.
        progress: hears one line per step, and one about every 12 seconds within a long step.
        pins: the programs there are.
        manifest: the file that comes with Gatekeeper.
        toolchain: the Go client to install where the user has none.

    Raises:
        InputError: ``bin_dir`` is not such a directory.
        LabError: there are no programs for this platform.
    """

    def __init__(
        self,
        paths: LabPaths,
        *,
        bin_dir: Path | None = None,
        progress: Callable[[str], None] | None = None,
        pins: Mapping[str, Component] = PINS,
        manifest: ModuleFile = GATEKEEPER_MANIFEST,
        toolchain: GoToolchain = GO_TOOLCHAIN,
    ) -> None:
        self._root = paths.store
        self._store = Store(paths.store)
        self._pins = pins
        self._manifest = manifest
        self._toolchain = toolchain
        self._progress = progress
        self._platform = Platform.current()
        self._own = None if bin_dir is None else BinDir(bin_dir, names=pins, memory=paths.store / "bin-dir.json")
        self._told: set[str] = set()
        self._downloads: ReleaseDownloads | None = None
        self._builds: GoBuilds | None = None

    def ensure(self, *names: str) -> dict[str, Path]:
        """Paths of programs, obtaining what is missing.

        Args:
            names: names of components.

        Returns:
            The path of the executable for each name.

        Raises:
            InputError: ``component-unknown``; or a program of the user's directory cannot be run.
            LabError: one can be neither downloaded nor built; the hint says what to do.
        """
        wanted = [self._pin(name) for name in dict.fromkeys(names)]
        found: dict[str, Path] = {}
        missing: list[Component] = []
        for component in wanted:
            own = self._own_program(component)
            if own is not None:
                found[component.name] = own.path
                continue
            entry = self._look(component)
            if entry.state is State.READY:
                found[component.name] = entry.file
            else:
                self._say_why(component, entry)
                missing.append(component)
        for group in _by_module(missing):
            found |= self._obtain_group(group)
        if any(component.module.directory == self._manifest.module.directory for component in wanted):
            self.gatekeeper_manifest()
        return {component.name: found[component.name] for component in wanted}

    def path(self, name: str) -> Path | None:
        """Path of a program that is there and whole; None when `ensure` would have to obtain it."""
        component = self._pin(name)
        own = self._own_program(component)
        if own is not None:
            return own.path
        entry = self._look(component)
        return entry.file if entry.state is State.READY else None

    def gatekeeper_manifest(self) -> Path:
        """Gatekeeper's own deploy manifest of the pinned version, taken out of its verified module.

        Raises:
            LabError: the module cannot be downloaded.
        """
        return self._module_file(self._manifest)

    def kind_node_files(self) -> Path:
        """The directory of the files that kind's own node images have of kind, taken out of its verified module.

        Raises:
            LabError: the module cannot be downloaded.
        """
        file = self._module_file(KIND_NODE_FILES)
        return file.parents[KIND_NODE_FILES.path.count("/")]

    def _module_file(self, pinned: ModuleFile) -> Path:
        key = Key(name=pinned.name, version=pinned.module.version, platform="any")
        entry = self._store.look(key, recipe="")
        if entry.state is State.READY:
            return entry.file
        ticker = Ticker(self._progress, pinned.name)
        with self._store_errors(), self._store.lock(key, ticker):
            entry = self._store.look(key, recipe="")
            if entry.state is State.READY:
                return entry.file
            ticker.say(f"taking {pinned.tree or pinned.path} out of {pinned.module.path} v{pinned.module.version}")
            with self._store.staging(key) as work:
                source = self._go_builds().module_file(pinned, work, ticker)
                main = pinned.path if pinned.tree else pinned.path.rsplit("/", 1)[-1]
                return self._store.put(key, work / pinned.name, main=main, source=source)

    def list(self, *, thorough: bool = False) -> tuple[ComponentInfo, ...]:
        """Every component as it is now; obtains nothing.

        Args:
            thorough: compute the sha256 of each file of the store.
        """
        return tuple(self._info(component, thorough=thorough) for component in self._pins.values())

    def fingerprint(self, *names: str) -> str:
        """A short stable hash over versions and sha256 of programs, for keys of what was made with them.

        Raises:
            LabError: ``component-missing``: one of them is not there, so it has no sha256 yet.
        """
        digest = hashlib.sha256()
        for name in sorted(set(names)):
            info = self._info(self._pin(name), thorough=False)
            if info.state != State.READY:
                raise LabError(
                    "component-missing",
                    f"{name} {info.version} is {info.state}, so it has no fingerprint",
                    hint=f"run 'lab components fetch {name}'",
                )
            digest.update(f"{name} {info.version} {info.sha256}\n".encode())
        return digest.hexdigest()[:16]

    def _pin(self, name: str) -> Component:
        component = self._pins.get(name)
        if component is None:
            raise InputError(
                "component-unknown",
                f"there is no component {name!r}",
                hint=f"choose from: {', '.join(self._pins)}",
            )
        return component

    def _own_program(self, component: Component) -> OwnProgram | None:
        own = None if self._own is None else self._own.find(component)
        if own is not None and own.version != component.version and component.name not in self._told:
            self._told.add(component.name)
            Ticker(self._progress, component.name).say(
                f"using your {own.path}, version {own.version} (pinned: {component.version})"
            )
        return own

    def _key(self, component: Component) -> Key:
        return Key(name=component.name, version=component.version, platform=str(self._platform))

    def _look(self, component: Component, *, thorough: bool = False) -> Entry:
        from lab.components.gobuild import recipe  # noqa: PLC0415

        return self._store.look(self._key(component), recipe=recipe(component), thorough=thorough)

    def _info(self, component: Component, *, thorough: bool) -> ComponentInfo:
        own = self._own_program(component)
        if own is not None:
            return ComponentInfo(
                name=component.name, version=own.version, source=OWN, path=own.path, state=State.READY,
                size=own.size, sha256=own.sha256,
            )  # fmt: skip
        entry = self._look(component, thorough=thorough)
        return ComponentInfo(
            name=component.name, version=component.version, source=(entry.source or {}).get("kind", ""),
            path=entry.file, state=entry.state, size=entry.size, sha256=entry.sha256, problem=entry.problem,
        )  # fmt: skip

    def _say_why(self, component: Component, entry: Entry) -> None:
        if entry.problem:
            Ticker(self._progress, component.name).say(f"{entry.state}, obtaining it again: {entry.problem}")

    def _obtain_group(self, group: Sequence[Component]) -> dict[str, Path]:
        """Obtain components of one module under their locks; what another process finished meanwhile is taken."""
        found: dict[str, Path] = {}
        todo: list[Component] = []
        with self._store_errors(), ExitStack() as locks:
            for component in sorted(group, key=lambda component: component.name):
                locks.enter_context(self._store.lock(self._key(component), Ticker(self._progress, component.name)))
            for component in group:
                entry = self._look(component)
                path = entry.file if entry.state is State.READY else self._download(component)
                if path is None:
                    todo.append(component)
                else:
                    found[component.name] = path
            if todo:
                found |= self._build(todo)
        return found

    def _download(self, component: Component) -> Path | None:
        if component.release is None:
            return None
        if self._downloads is None:
            from lab.components.download import ReleaseDownloads  # noqa: PLC0415

            self._downloads = ReleaseDownloads()
        key = self._key(component)
        ticker = Ticker(self._progress, component.name)
        with self._store.staging(key) as work:
            staged = work / component.name
            staged.mkdir()
            source = self._downloads.obtain(component, self._platform, staged, ticker)
            return None if source is None else self._store.put(key, staged, main=component.name, source=source)

    def _build(self, components: Sequence[Component]) -> dict[str, Path]:
        ticker = Ticker(self._progress, ", ".join(component.name for component in components))
        with self._store.staging(self._key(components[0])) as work:
            sources = self._go_builds().build(components, work, ticker)
            return {
                component.name: self._store.put(
                    self._key(component), work / component.name, main=component.name, source=sources[component.name]
                )
                for component in components
            }

    def _go_builds(self) -> GoBuilds:
        if self._builds is None:
            from lab.components.gobuild import GoBuilds  # noqa: PLC0415

            self._builds = GoBuilds(store=self._store, platform=self._platform, pin=self._toolchain)
        return self._builds

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise store_error(error, self._root) from error


def _by_module(components: Iterable[Component]) -> list[list[Component]]:
    groups: dict[Path, list[Component]] = {}
    for component in components:
        groups.setdefault(_directory(component.module), []).append(component)
    return list(groups.values())


def _directory(module: GoModule) -> Path:
    return module.directory
