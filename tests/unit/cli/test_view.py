from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.cli.output import shortened, table
from lab.cli.view import render_status
from lab.cluster.protocol import ApiServerStatus, ProcessStatus
from lab.errors import LabError

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Lab, Labs

PROCESSES = (
    ProcessStatus(name="etcd", pid=11, pss_bytes=45_000_000),
    ProcessStatus(name="kube-apiserver", pid=12345, pss_bytes=283_400_000),
    ProcessStatus(name="pod default/image-bouncer-webhook-5d9/bouncer", pid=13, pss_bytes=None),
)


def test_status_of_a_running_lab_shows_its_memory_largest_first(run: Lab, labs: Labs) -> None:
    labs.add(phase="running", state="enforced+bouncer", processes=PROCESSES, notes=("a copy lies in the way",))
    result = run("status")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "lab          lab, running",
        "backend      embedded",
        "start state  enforced+bouncer",
        "server       https://127.0.0.1:4711",
        "API server   running",
        "",
        "MEMORY    PID  PROCESS",
        "283 MB  12345  kube-apiserver",
        " 45 MB     11  etcd",
        "     -     13  pod default/image-bouncer-webhook-5d9/bouncer",
        "328 MB         sum of 3 processes, without 1 that cannot be read",
        "",
        "note: a copy lies in the way",
    ]


def test_status_of_a_broken_lab_shows_the_api_server_s_own_error(run: Lab, labs: Labs) -> None:
    error = "Error: unknown flag: --enable-swagger-ui\nsecond line"
    labs.add(phase="broken", state="off", api_server=ApiServerStatus(state="failed", error=error, restarts=2))
    result = run("status")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[4:] == [
        "API server   failed, restarted 2 times after it ended by itself",
        "",
        "the API server's own error",
        "  Error: unknown flag: --enable-swagger-ui",
        "  second line",
    ]


def test_status_of_a_lab_that_is_not_there_says_how_to_make_it(run: Lab) -> None:
    result = run("status", "-n", "two")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "lab      two, stopped",
        "backend  embedded",
        "'lab up --name two' brings it up",
    ]


def test_status_as_json_has_every_field_and_the_sum(run: Lab, labs: Labs) -> None:
    labs.add(phase="running", state="off", processes=PROCESSES)
    status = json.loads(run("status", "--json").stdout)

    assert status["pss_bytes"] == 328_400_000
    assert status["api_server"] == {"state": "running", "flags": [], "error": "", "restarts": 0}
    assert status["processes"][2] == {"name": PROCESSES[2].name, "pid": 13, "pss_bytes": None}


@pytest.mark.parametrize(("phase", "code"), [("running", 0), ("starting", 1), ("broken", 1), ("stopped", 1)])
def test_the_exit_code_of_status_is_0_only_when_the_lab_runs(run: Lab, labs: Labs, phase: str, code: int) -> None:
    labs.add(phase=phase, state="off")

    assert run("status").exit_code == code
    assert run("status", "--json").exit_code == code


def test_status_fits_a_terminal_of_80_columns(labs: Labs) -> None:
    name = "pod gatekeeper-system/gatekeeper-controller-manager-7d4f9c5b6d-abcde/manager"
    cluster = labs.add(
        phase="running", state="off", processes=(ProcessStatus(name=name, pid=4194304, pss_bytes=74_000_000),)
    )

    lines = render_status(cluster.status(), width=80)
    assert max(map(len, (line for line in lines if "pod " in line))) <= 80
    assert any("pod gatekeeper-system" in line and line.endswith("abcde/manager") for line in lines)
    assert any(line.endswith(name) for line in render_status(cluster.status(), width=None))


def test_list_has_a_line_per_lab(run: Lab, labs: Labs) -> None:
    labs.add("one", phase="running", state="off", processes=PROCESSES)
    labs.add("two")
    result = run("list")

    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["NAME", "BACKEND", "PHASE", "STATE", "SERVER", "MEMORY"],
        ["one", "embedded", "running", "off", "https://127.0.0.1:4711", "328", "MB"],
        ["two", "embedded", "stopped", "-", "-", "-"],
    ]
    assert [entry["name"] for entry in json.loads(run("list", "--json").stdout)] == ["one", "two"]


def test_list_of_no_lab_is_no_error(run: Lab) -> None:
    assert (run("list").exit_code, run("list").stdout) == (0, "")
    assert json.loads(run("list", "--json").stdout) == []


def test_list_tells_a_lab_that_cannot_be_read_and_shows_the_others(
    run: Lab, labs: Labs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> None:
        raise LabError("lab-damaged", "its lab.json is damaged", hint="remove it")

    labs.add("one", phase="running", state="off")
    monkeypatch.setattr(labs.add("two"), "status", unreadable)
    result = run("list")

    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["one", "embedded", "running"],
        ["two", "-", "unreadable"],
    ]
    assert result.stderr == "two: its lab.json is damaged\n"
    assert json.loads(run("list", "--json").stdout)[1] == {
        "name": "two", "phase": "unreadable", "problem": "its lab.json is damaged",
    }  # fmt: skip


def test_a_table_that_is_too_wide_becomes_blocks() -> None:
    rows = [("one", "x" * 60), ("two", "y" * 60)]

    assert table(("NAME", "WHAT"), rows, width=66) == ["NAME  WHAT", f"one   {'x' * 60}", f"two   {'y' * 60}"]
    assert table(("NAME", "WHAT"), rows, width=65) == [
        "NAME  one", f"WHAT  {'x' * 60}", "", "NAME  two", f"WHAT  {'y' * 60}",
    ]  # fmt: skip
    assert table(("NAME", "WHAT"), rows, width=None)[1] == f"one   {'x' * 60}"


def test_a_name_is_shortened_in_its_middle() -> None:
    assert shortened("abcdefghij", width=7) == "ab...ij"
    assert shortened("abcdefghij", width=10) == "abcdefghij"
    assert shortened("abcdefghij", width=None) == "abcdefghij"
