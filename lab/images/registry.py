"""Runs the pinned registry program (distribution) for the lab: its configuration, its environment, its storage.

The embedded backend starts the program itself, inside its namespaces, from `RegistryConfig.render`, `command` and
`ENVIRONMENT`; `serving` runs it for as long as a block lasts. A lab does not push anything when it starts: it takes a
copy of the storage that `prepare_storage` made once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.errors import LabError, WaitError
from lab.images.catalogue import CATALOGUE, storage_directory
from lab.images.endpoint import Endpoint
from lab.images.push import push_images

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

ENVIRONMENT = {
    # Since v3 every request is traced and sent to localhost:4318 unless told otherwise. The whole environment is given,
    # because any REGISTRY_* variable of the user's would override the configuration.
    "OTEL_TRACES_EXPORTER": "none",
    # Most of its memory is program text, which no setting changes; this saves 1 to 2 MB of heap once it has served.
    "GOGC": "50",
}
"""The program's whole environment."""

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 3.0
_POLL_S = 0.01
_LOG_TAIL = 2000

_LEASHED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the program after asking the kernel to end it with its parent (prctl(2)): a preexec_fn would have to run
Python between fork and exec, which is not safe beside threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """What the registry program is told.

    Attributes:
        endpoint: where it listens.
        root: its storage directory.
        htpasswd: a file of bcrypt entries; with it every request needs one of its names and passwords. A registry that
            asks for a password is thus a server of its own, beside the open one.
        realm: what the registry calls itself when it asks for a password.
        read_only: refuse every push (405) and write nothing, so that any number of servers can share a storage.
    """

    endpoint: Endpoint
    root: Path
    htpasswd: Path | None = None
    realm: str = "lab"
    read_only: bool = False

    def render(self) -> str:
        """The program's configuration file.

        The keys are those of distribution's configuration reference, version 0.1.
        """
        # The purger would walk the whole storage some time after the start, to find uploads a week old.
        maintenance: dict[str, Any] = {"uploadpurging": {"enabled": False}, "readonly": {"enabled": self.read_only}}
        document: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "formatter": "text", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.root)},
                "delete": {"enabled": True},
                "maintenance": maintenance,
            },
            # Relative locations hold for every address under which the server is reached, a relay's included. The
            # secret signs the state of uploads between several servers; one server needs none that outlives it.
            "http": {**self._listen(), "relativeurls": True, "http2": {"disabled": True}},
            "health": {"storagedriver": {"enabled": False}},
        }
        if self.htpasswd is not None:
            document["auth"] = {"htpasswd": {"realm": self.realm, "path": str(self.htpasswd)}}
        return yaml.safe_dump(document, sort_keys=False)

    def _listen(self) -> dict[str, str]:
        if self.endpoint.socket is not None:
            return {"net": "unix", "addr": str(self.endpoint.socket)}
        return {"net": "tcp", "addr": self.endpoint.address}


def command(program: str | Path, config_file: str | Path) -> tuple[str, ...]:
    """The argv that serves a rendered configuration."""
    return (str(program), "serve", str(config_file))


@asynccontextmanager
async def serving(program: Path, config: RegistryConfig, *, directory: Path) -> AsyncIterator[Endpoint]:
    """Run the registry for as long as the block lasts; it never outlives this process.

    Args:
        program: the registry program.
        config: what it is told.
        directory: an existing directory for its configuration file and its log, ``registry.log``.

    Yields:
        Where it answers, which it does already.

    Raises:
        LabError: ``registry-start``: it cannot be started or ended at once; its log's end is in the context.
        WaitError: it does not answer in time.
    """
    config_file = directory / "registry.yaml"
    config_file.write_text(config.render())
    log_file = directory / "registry.log"
    process = await _start(program, config_file, log_file)
    try:
        await _wait_until_it_answers(process, config.endpoint, log_file)
        yield config.endpoint
    finally:
        await _stop(process)


async def prepare_storage(program: Path, directory: Path) -> Path:
    """A storage directory that holds the whole catalogue, made once.

    Args:
        program: the registry program.
        directory: where such storage directories are kept; see `storage_directory`.

    Returns:
        The storage directory: to be copied (`copy_storage`) or served read-only, never to be written.

    Raises:
        LabError: the registry does not run or refuses an image. Nothing is left behind.
    """
    finished = storage_directory(directory)
    if finished.is_dir():
        return finished
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="lab-registry-", dir=_memory()) as scratch,
        tempfile.TemporaryDirectory(prefix=".registry-", dir=directory) as staging,
    ):
        root = Path(scratch, "root")
        config = RegistryConfig(endpoint=Endpoint.unix(Path(scratch, "socket")), root=root)
        async with serving(program, config, directory=Path(scratch)) as endpoint:
            await push_images(endpoint, CATALOGUE)
        whole = Path(staging, "root")
        copy_storage(root, whole)
        _publish(whole, finished)
    return finished


def copy_storage(source: Path, destination: Path) -> None:
    """Give a lab its own copy of a storage directory.

    Args:
        source: what `prepare_storage` returned.
        destination: must not exist yet.
    """
    shutil.copytree(source, destination)


def _memory() -> Path | None:
    """A directory in memory, where there is one.

    The server syncs every file and directory that it writes: about two thousand syncs for a catalogue, which a slow
    disk takes many seconds for. Its path is short too, and that of a UNIX socket may have 107 bytes at most.
    """
    shared_memory = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes a directory of its own in it
    return shared_memory if os.access(shared_memory, os.W_OK | os.X_OK) else None


def _publish(whole: Path, finished: Path) -> None:
    try:
        whole.rename(finished)
    except OSError:
        # rename(2) replaces no directory with content: another process was faster, and its directory holds the same.
        if not finished.is_dir():
            raise


async def _start(program: Path, config_file: Path, log_file: Path) -> Process:
    if not os.access(program, os.X_OK):
        raise LabError(
            "registry-start",
            f"{program} is no program that can be run",
            hint="run `lab components fetch registry`",
        )
    with log_file.open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _LEASHED, str(os.getpid()), *command(program, config_file),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, process_group=0,
        )  # fmt: skip


async def _wait_until_it_answers(process: Process, endpoint: Endpoint, log_file: Path) -> None:
    import aiohttp  # noqa: PLC0415 - heavy, and who only writes the registry's configuration asks nothing

    last_seen = "no connection yet"
    try:
        async with asyncio.timeout(_START_TIMEOUT_S), endpoint.open_session() as session:
            while process.returncode is None:
                try:
                    # 401 is an answer too: of a registry that asks for a password.
                    async with session.get(endpoint.url("")):
                        return
                except aiohttp.ClientConnectionError as error:
                    last_seen = str(error)
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise WaitError(
            what=f"the registry to answer at {endpoint.address}",
            timeout_s=_START_TIMEOUT_S,
            last_seen=last_seen,
            hint="the machine may be overloaded; try again",
        ) from error
    raise LabError(
        "registry-start",
        f"the registry ended with exit code {process.returncode} before it answered",
        hint="read its log below; a wrong or damaged program is replaced by `lab components fetch registry`",
        context={"log": log_file.read_text(errors="replace")[-_LOG_TAIL:].strip()},
    )


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
