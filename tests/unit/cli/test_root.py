from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from lab.cli import cli
from lab.cli.lazy import LazyGroup
from lab.cli.root import SECTIONS
from lab.errors import InputError, LabError, WaitError

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Lab, Labs

HEAVY = ("aiohttp", "asyncio", "cryptography", "docker", "kubernetes", "pydantic", "pyroute2", "pytest", "rich", "yaml")


def test_help_lists_every_command_and_imports_no_heavy_library() -> None:
    program = (
        "import sys; from lab.cli import cli\n"
        "cli.main(['--help'], prog_name='lab', standalone_mode=False)\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr == "imported: []\n"
    for commands in SECTIONS.values():
        for name, command in commands.items():
            assert any(line.split()[:1] == [name] for line in done.stdout.splitlines()), name
            assert command.summary.split()[0] in done.stdout


@pytest.mark.parametrize("name", [name for section in SECTIONS.values() for name in section])
def test_each_command_is_there_and_its_summary_is_that_of_the_list(name: str) -> None:
    assert isinstance(cli, LazyGroup)
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200).rstrip(".") == cli.lazy[name].summary


@pytest.mark.parametrize("arguments", [(), ("nope",), ("status", "--nope"), ("up", "--with", "nope"), ("run",)])
def test_wrong_usage_is_exit_code_2(run: Lab, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "lab" in result.stderr


def test_an_unknown_command_is_told_with_the_nearest(run: Lab) -> None:
    assert run("statsu").stderr == (
        "error: there is no command 'statsu'; did you mean status or start or task?\n  what to do: see 'lab --help'\n"
    )


def test_an_error_says_what_why_and_what_to_do(run: Lab, labs: Labs) -> None:
    def fail() -> None:
        raise LabError(
            "user-namespaces-forbidden",
            "this machine forbids user namespaces",
            hint="set kernel.unprivileged_userns_clone to 1",
            context={"setting": "kernel.unprivileged_userns_clone=0", "output": "one\ntwo"},
        )

    labs.add(on_up=fail)
    result = run("up")

    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines()[1:] == [
        "error: this machine forbids user namespaces [user-namespaces-forbidden]",
        "  setting: kernel.unprivileged_userns_clone=0",
        "  output:",
        "    one",
        "    two",
        "  what to do: set kernel.unprivileged_userns_clone to 1",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("name-wrong", "it is wrong", hint="mend it"), 2),
        (WaitError(what="the API server", timeout_s=3, last_seen="refused", hint="see its log"), 3),
        (PermissionError(13, "Permission denied", "/somewhere"), 3),
        (ZeroDivisionError("division by zero"), 3),
    ],
)
def test_each_error_has_its_exit_code_and_a_remedy_but_no_traceback(
    run: Lab, labs: Labs, error: Exception, code: int
) -> None:
    def fail() -> None:
        raise error

    labs.add(on_up=fail)
    result = run("up")

    assert result.exit_code == code
    assert "what to do: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_defect_is_called_one_and_tells_how_to_see_more(run: Lab, labs: Labs) -> None:
    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    labs.add("two", on_up=fail)
    result = run("up", "--name", "two")

    assert "this is a defect of the lab, not of your input: ZeroDivisionError: division by zero" in result.stderr
    assert "where: test_root.py:" in result.stderr
    assert "run 'lab --debug up --name two' and report its output" in result.stderr


def test_debug_shows_the_traceback_and_the_error(run: Lab, labs: Labs) -> None:
    def fail() -> None:
        raise LabError("broken", "it broke", hint="mend it")

    labs.add(on_up=fail)
    result = run("--debug", "up")

    assert result.exit_code == 3
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("error: it broke [broken]\n  what to do: mend it\n")


@pytest.mark.parametrize(
    "ending",
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_passes_through_the_backend_and_ends_with_one_line(
    run: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch, ending: tuple[signal.Signals, int, str]
) -> None:
    number, code, line = ending
    seen: list[type[BaseException]] = []
    monkeypatch.setattr("signal.getsignal", lambda _number: signal.SIG_DFL)

    def be_interrupted() -> None:
        try:
            os.kill(os.getpid(), number)
            signal.sigtimedwait([], 5)  # a signal that arrives ends the wait
        except BaseException as interrupt:
            seen.append(type(interrupt))
            raise

    labs.add(on_up=be_interrupted)
    result = run("up")

    assert result.exit_code == code
    assert result.stderr.splitlines()[1:] == [line]
    assert issubclass(seen[0], KeyboardInterrupt)


def test_handlers_of_signals_are_put_back(run: Lab) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]

    assert run("up").exit_code == 0

    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_the_version_is_the_package_s(run: Lab) -> None:
    assert run("--version").stdout == "lab, version 0.1.0\n"
