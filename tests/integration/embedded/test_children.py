"""Processes in their sandboxes, started and reaped as the supervisor does it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.children import Child, Children
from lab.cluster.embedded.control import LENGTH
from lab.cluster.embedded.exec_server import ExecServer
from lab.cluster.embedded.node_services import NodeService
from lab.cluster.embedded.sandbox import Bind, SandboxSpec
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Run = Callable[[Callable[[], Coroutine[None, None, None]]], None]

PROGRAMS = tuple(
    Bind(source=Path(tree), target=tree, read_only=True)
    for tree in ("/usr", "/lib", "/lib64", "/bin")
    if Path(tree).exists()
)


def reaping() -> Children:
    children = Children()
    children.install()
    return children


async def output_of(children: Children, argv: tuple[str, ...], binds: tuple[Bind, ...] = (), **options: str) -> str:
    """What a sandboxed program prints, after it has ended well."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryDirectory() as root:
        spec = SandboxSpec(
            argv=argv,
            environment={"WHO": "me"},
            root=Path(root),
            binds=(*PROGRAMS, *binds),
            hosts="10.0.0.1 somewhere\n",
            resolv_conf="nameserver 10.0.0.2\n",
            stdout=out.fileno(),
            stderr=out.fileno(),
            hostname=options.get("hostname"),
        )
        child = children.spawn("test", spec)
        code = await asyncio.wait_for(child.exited, 20)
        out.seek(0)
        text = out.read().decode()
        assert code == 0, text
        return text


def test_a_sandbox_shows_its_program_and_its_volumes_only(in_namespaces: Run) -> None:
    in_namespaces(shows_volumes_only)


async def shows_volumes_only() -> None:
    children = reaping()
    with tempfile.TemporaryDirectory() as volume:
        (Path(volume) / "file").write_text("content")
        text = await output_of(
            children,
            ("sh", "-c", "ls /; cat /data/file /etc/hosts /etc/resolv.conf; echo $WHO; cat /proc/sys/kernel/hostname"),
            (Bind(source=Path(volume), target="/data"),),
            hostname="pod-name",
        )
    assert "data" in text.split()
    assert "content10.0.0.1 somewhere\nnameserver 10.0.0.2\nme\npod-name\n" in text
    assert "home" not in text.split("content")[0].split()


def test_a_read_only_mount_cannot_be_written(in_namespaces: Run) -> None:
    in_namespaces(read_only_cannot_be_written)


async def read_only_cannot_be_written() -> None:
    children = reaping()
    with tempfile.TemporaryDirectory() as volume:
        binds = (Bind(source=Path(volume), target="/data", read_only=True),)
        text = await output_of(children, ("sh", "-c", "touch /data/x 2>&1 || echo refused"), binds)
        assert "refused" in text
        assert list(Path(volume).iterdir()) == []
        await output_of(children, ("touch", "/data/x"), (Bind(source=Path(volume), target="/data"),))
        assert [entry.name for entry in Path(volume).iterdir()] == ["x"]


def test_what_cannot_start_says_why(in_namespaces: Run) -> None:
    in_namespaces(cannot_start)


async def cannot_start() -> None:
    children = reaping()
    for argv, binds, why in (
        (("no-such-program",), (), 'exec: "no-such-program": executable file not found in $PATH'),
        (("true",), (Bind(source=Path("/no/such/file"), target="/data"),), "No such file or directory"),
    ):
        with pytest.raises(LabError) as raised:
            await output_of(children, argv, binds)
        assert raised.value.code == "sandbox-failed"
        assert why in raised.value.message
    await asyncio.sleep(0.05)
    assert children.all() == (), "the failed ones are reaped"


def test_stopping_kills_what_does_not_end_by_itself(in_namespaces: Run) -> None:
    in_namespaces(stopping_kills)


async def stopping_kills() -> None:
    children = reaping()

    def start(script: str) -> Child:
        return children.fork("test", lambda: os.execv("/bin/sh", ("sh", "-c", f"exec 2>/dev/null; {script}")))

    stubborn = start("trap '' TERM; while :; do sleep 0.1; done")
    polite = start("trap 'exit 7' TERM; while :; do sleep 0.05; done")
    await asyncio.sleep(0.3)
    assert await polite.stop(grace_s=5) == 7
    assert await stubborn.stop(grace_s=0.2) == -signal.SIGKILL
    assert not stubborn.running


def test_a_service_that_ends_is_started_again(in_namespaces: Run) -> None:
    in_namespaces(started_again)


async def started_again() -> None:
    children = reaping()
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        service = NodeService("x", ("sh", "-c", "echo run"), environment={}, log=log, children=children)
        service.start()
        async with asyncio.timeout(30):
            while not log.exists() or log.read_text().count("run") < 2:
                await asyncio.sleep(0.02)
        await service.stop()


def test_a_command_that_its_caller_leaves_is_ended(in_namespaces: Run) -> None:
    in_namespaces(caller_leaves)


async def caller_leaves() -> None:
    children = reaping()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "exec.sock"
        server = ExecServer(children)
        server.start(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            request = json.dumps({"argv": ["sleep", "60"], "environment": {}, "terminal": False}).encode()
            null = os.open(os.devnull, os.O_RDWR)
            socket.send_fds(connection, [LENGTH.pack(len(request))], [null] * 3)
            os.close(null)
            connection.sendall(request)
            async with asyncio.timeout(30):
                while not children.all():
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while children.all():
                await asyncio.sleep(0.01)
        server.close()
        await asyncio.sleep(0)
