from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from lab.cluster.embedded.control import call, connect
from lab.cluster.embedded.control_server import ControlServer
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


async def greet(arguments: Mapping[str, Any], progress: Callable[[str], None]) -> dict[str, str]:
    progress("one moment")
    return {"greeting": f"hello {arguments['name']}"}


async def refuse(_: Mapping[str, Any], __: Callable[[str], None]) -> None:
    raise LabError("no-way", "it is refused", hint="ask for something else", context={"seen": "this"})


async def break_down(_: Mapping[str, Any], __: Callable[[str], None]) -> None:
    raise ZeroDivisionError("a defect")


async def be_cancelled(_: Mapping[str, Any], __: Callable[[str], None]) -> None:
    """As an operation ends that waits for what another one has cancelled."""
    raise asyncio.CancelledError


def asked(directory: Path, operation: str, **options: Any) -> Any:
    async def both() -> Any:
        server = ControlServer({"greet": greet, "refuse": refuse, "break": break_down, "cancelled": be_cancelled})
        await server.start(directory / "control.sock")
        try:
            return await asyncio.to_thread(call, directory, operation, timeout_s=30.0, **options)
        finally:
            await server.close()

    return asyncio.run(both())


def test_an_operation_answers_after_its_progress(tmp_path: Path) -> None:
    said: list[str] = []
    answer = asked(tmp_path, "greet", arguments={"name": "you"}, progress=said.append)
    assert answer == {"greeting": "hello you"}
    assert said == ["one moment"]


def test_an_error_arrives_as_it_was_raised(tmp_path: Path) -> None:
    with pytest.raises(LabError) as raised:
        asked(tmp_path, "refuse")
    assert (raised.value.code, raised.value.message) == ("no-way", "it is refused")
    assert raised.value.hint == "ask for something else"
    assert raised.value.context == {"seen": "this"}


@pytest.mark.parametrize("operation", ["break", "cancelled", "unheard-of"])
def test_a_defect_is_told_and_does_not_end_the_supervisor(tmp_path: Path, operation: str) -> None:
    with pytest.raises(LabError) as raised:
        asked(tmp_path, operation)
    assert raised.value.code == "supervisor-defect"


@pytest.mark.parametrize("whole", [True, False], ids=["finished", "cancelled"])
def test_a_caller_who_hangs_up_leaves_only_what_must_be_whole(tmp_path: Path, *, whole: bool) -> None:
    async def both() -> str:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work(_: Mapping[str, Any], __: Callable[[str], None]) -> None:
            begun.set_result(None)
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                ended.set_result("cancelled")
                raise
            ended.set_result("finished")

        server = ControlServer({"work": work}, whole={"work"} if whole else ())
        await server.start(tmp_path / "control.sock")
        try:
            caller = await asyncio.to_thread(connect, tmp_path, "control.sock", timeout_s=30.0)
            with caller:
                caller.sendall(b'{"operation": "work"}\n')
                await begun
            return await ended
        finally:
            await server.close()

    assert asyncio.run(both()) == ("finished" if whole else "cancelled")


def test_a_directory_with_a_longer_path_than_a_socket_may_have_works(tmp_path: Path) -> None:
    """The supervisor binds at a short path of its own; only its callers see the long one."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.parent.mkdir()
    (tmp_path / "s").mkdir()
    deep.symlink_to(tmp_path / "s")

    async def both() -> Any:
        server = ControlServer({"greet": greet})
        await server.start(tmp_path / "s/control.sock")
        try:
            return await asyncio.to_thread(call, deep, "greet", arguments={"name": "you"}, timeout_s=30.0)
        finally:
            await server.close()

    assert asyncio.run(both()) == {"greeting": "hello you"}


def test_nobody_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(LabError) as raised:
        call(tmp_path, "greet", timeout_s=1.0)
    assert raised.value.code == "lab-gone"
    assert "lab status" in raised.value.hint


def test_a_supervisor_that_ends_in_the_middle_is_an_error(tmp_path: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async def both() -> None:
        server = await asyncio.start_unix_server(hang_up, tmp_path / "control.sock")
        async with server:
            await asyncio.to_thread(call, tmp_path, "greet", timeout_s=30.0)

    with pytest.raises(LabError) as raised:
        asyncio.run(both())
    assert raised.value.code == "lab-gone"
