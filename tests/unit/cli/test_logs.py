from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.cli.logs import plain_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Lab, Labs

LOGS = {
    "lab/supervisor.log": "one\ntwo\nthree\n",
    "pods/kube-system_kube-apiserver-node_u1/kube-apiserver/0.log": "2026-01-01T00:00:01Z stderr F first run\n",
    "pods/kube-system_kube-apiserver-node_u1/kube-apiserver/1.log": (
        "2026-01-01T00:00:02Z stderr F second run\n2026-01-01T00:00:03Z stderr F Error: unknown flag: --nope\n"
    ),
    "pods/gatekeeper-system_gatekeeper-a_u2/manager/0.log": "2026-01-01T00:00:04Z stdout F from a\n",
    "pods/gatekeeper-system_gatekeeper-b_u3/manager/0.log": "2026-01-01T00:00:05Z stdout F from b\n",
    "audit/audit.log": '{"kind":"Event"}\n',
    "manifests/kube-apiserver.yaml": "kind: Pod\n",
}


@pytest.fixture(autouse=True)
def _with_logs(labs: Labs) -> None:
    labs.add(phase="running", logs=LOGS)


def test_without_a_component_the_logs_are_listed(run: Lab) -> None:
    assert [line.split() for line in run("logs").stdout.splitlines()] == [
        ["COMPONENT", "RUNS", "SIZE", "LOG"],
        ["audit", "1", "17", "B", "audit/audit.log"],
        ["kube-apiserver", "2", "99", "B", "kube-system/kube-apiserver-node/kube-apiserver"],
        ["manager", "1", "37", "B", "gatekeeper-system/gatekeeper-a/manager"],
        ["manager", "1", "37", "B", "gatekeeper-system/gatekeeper-b/manager"],
        ["supervisor", "1", "14", "B", "lab/supervisor.log"],
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["supervisor"], "one\ntwo\nthree\n"),
        (["supervisor", "--tail", "2"], "two\nthree\n"),
        (["supervisor", "--tail", "0"], ""),
        (["supervisor", "--tail", "9"], "one\ntwo\nthree\n"),
        (["kube-apiserver"], "second run\nError: unknown flag: --nope\n"),
        (["kube-apiserver", "--tail", "1", "--timestamps"], "2026-01-01T00:00:03Z Error: unknown flag: --nope\n"),
        (["gatekeeper-b"], "from b\n"),
        (["gatekeeper-system/gatekeeper-a"], "from a\n"),
        (
            ["manager"],
            (
                "==> gatekeeper-system/gatekeeper-a/manager <==\nfrom a\n\n"
                "==> gatekeeper-system/gatekeeper-b/manager <==\nfrom b\n"
            ),
        ),
        (
            ["kube-apiserver", "--all-runs", "--tail", "1"],
            (
                "==> kube-system/kube-apiserver-node/kube-apiserver <==\nfirst run\n\n"
                "==> kube-system/kube-apiserver-node/kube-apiserver <==\nError: unknown flag: --nope\n"
            ),
        ),
    ],
)
def test_a_component_s_log_is_what_it_wrote(run: Lab, arguments: list[str], text: str) -> None:
    result = run("logs", *arguments)

    assert (result.exit_code, result.stdout) == (0, text)


def test_an_unknown_component_is_told_with_the_nearest(run: Lab) -> None:
    result = run("logs", "kube-apisever")

    assert result.exit_code == 2
    assert "what to do: did you mean kube-apiserver" in result.stderr
    assert "choose from: audit, kube-apiserver, manager, supervisor\n" in run("logs", "zzz").stderr


def test_a_lab_without_logs_could_not_run(run: Lab) -> None:
    result = run("logs", "-n", "two")

    assert result.exit_code == 3
    assert "[no-logs]" in result.stderr


def test_output_copies_everything(run: Lab, tmp_path: Path) -> None:
    result = run("logs", "--output", str(tmp_path / "copy"))

    assert result.stdout == f"{tmp_path / 'copy'}\n"
    assert {str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*") if p.is_file()} == set(LOGS)
    assert run("logs", "--output", str(tmp_path / "copy"), "audit").exit_code == 2


@pytest.mark.parametrize(
    ("lines", "plain"),
    [
        (["T stdout P a", "T stdout P b", "T stdout F c", "T stderr F d"], ["abc", "d"]),
        (["T stdout P cut off"], ["cut off"]),
        (["T stdout F ", "no mark"], ["", "no mark"]),
        (["T stdout F   indented  "], ["  indented  "]),
    ],
)
def test_pieces_of_a_line_are_joined(lines: list[str], plain: list[str]) -> None:
    assert list(plain_lines(lines, timestamps=False)) == plain
