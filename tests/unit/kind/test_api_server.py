from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.kind.api_server import (
    Log,
    Process,
    Sight,
    asked_for,
    describe,
    is_forgotten,
    look,
    meaning,
    outlived,
    parse,
)
from lab.cluster.protocol import ExecResult
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.cluster.kind.engine import Engine

ARGV = ("kube-apiserver", "--enable-admission-plugins=NodeRestriction", "--event-ttl=60m")
MANIFEST = b"""\
apiVersion: v1
kind: Pod
spec:
  containers:
    - command: [kube-apiserver, --enable-admission-plugins=NodeRestriction, --event-ttl=60m]
"""
RUNNING = Process(pid=700, argv=ARGV, began_s=1000.0)
SIGHT = Sight(now_s=1100.0, manifest=MANIFEST, written_s=990.0, processes=(RUNNING,))
CRASH = (
    '2026-01-01T00:00:00.0Z stderr F E0101 00:00:00.0  1 run.go:72] "command failed" '
    'err="couldn\'t init admission plugin \\"ImagePolicyWebhook\\": no config specified"'
)


def _b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def test_what_the_node_prints_is_read() -> None:
    command, mounts = _b64(b"/usr/local/bin/kube-apiserver\0--a=b c\0"), _b64(b"/\n/etc/kubernetes/audit\n")
    sight = parse(
        f"now 2000.5\nwritten 1990.25\nmanifest {_b64(MANIFEST)}\n"
        f"process 17 5000 {command} {mounts}\nuptime 100.5 100\nlog 3.log 1995.5 {_b64(CRASH.encode())}\n"
    )
    assert sight.manifest == MANIFEST
    assert (sight.now_s, sight.written_s, sight.restarts) == (2000.5, 1990.25, 3)
    assert sight.api_servers == (
        Process(
            pid=17,
            argv=("/usr/local/bin/kube-apiserver", "--a=b c"),
            began_s=1950.0,
            ticks=5000,
            mounts=("/", "/etc/kubernetes/audit"),
        ),
    )
    assert sight.logs == (Log(run=3, written_s=1995.5, tail=CRASH),)


def test_a_node_without_manifest_or_log_is_read() -> None:
    sight = parse("now 2000.5\nuptime 100.5 100\n")
    assert (sight.manifest, sight.processes, sight.logs) == (None, (), ())
    assert describe(sight, answers=False).state == "absent"


def test_a_node_that_prints_something_else_is_an_error() -> None:
    with pytest.raises(LabError, match="could not be looked at"):
        parse("sh: grep: not found\n")


def test_it_runs_when_it_answers_under_the_flags_of_its_manifest() -> None:
    status = describe(SIGHT, answers=True)
    assert (status.state, status.flags) == ("running", ARGV[1:])


@pytest.mark.parametrize(
    ("sight", "answers"),
    [
        (SIGHT, False),
        (replace(SIGHT, manifest=MANIFEST.replace(b"60m", b"61m")), True),
        # Written a moment ago, and the process is of before: the kubelet may not have noticed an annotation yet.
        (replace(SIGHT, written_s=1098.0), True),
        # The kubelet ends one while the next has begun.
        (replace(SIGHT, processes=(RUNNING, replace(RUNNING, pid=701, began_s=1099.0))), True),
    ],
    ids=["silent", "other flags", "just written", "two of them"],
)
def test_until_then_it_is_starting(sight: Sight, *, answers: bool) -> None:
    assert describe(sight, answers=answers).state == "starting"


def test_a_manifest_that_was_only_touched_changes_nothing() -> None:
    assert describe(replace(SIGHT, written_s=1080.0), answers=True).state == "running"


def test_one_that_ended_tells_its_own_error() -> None:
    status = describe(
        replace(SIGHT, processes=(), logs=(Log(run=2, written_s=1050.0, tail=CRASH),), restarts=2), answers=False
    )
    assert (status.state, status.restarts) == ("failed", 2)
    assert status.error.endswith('"ImagePolicyWebhook": no config specified')


def test_the_log_of_an_earlier_manifest_is_no_failure_of_this_one() -> None:
    status = describe(replace(SIGHT, processes=(), logs=(Log(run=2, written_s=900.0, tail=CRASH),)), answers=False)
    assert (status.state, status.error) == ("starting", "")


def test_what_the_kubelet_cannot_start_is_told_in_its_words() -> None:
    line = 'E1121 19:00:00.0 200 file.go:187] "Could not process manifest file" err="couldn\'t parse (\\"x\\")"'
    seen = replace(SIGHT, processes=(), kubelet_errors=(line,))
    assert describe(seen, answers=False).error == 'couldn\'t parse ("x")'
    assert describe(replace(seen, written_s=1098.0), answers=False).state == "starting"


def test_only_a_process_of_an_earlier_manifest_is_hurried() -> None:
    assert outlived(SIGHT) == ()
    edited = replace(SIGHT, manifest=MANIFEST.replace(b"60m", b"61m"), written_s=1050.0)
    assert outlived(edited) == (700,)
    # Written a moment ago: one that ends now would be started once more as it was.
    assert outlived(replace(edited, written_s=1099.0)) == ()
    # The same flags: it may be a touch, and then the kubelet leaves it running.
    assert outlived(replace(SIGHT, written_s=1050.0)) == ()


@pytest.mark.parametrize("manifest", [b"{", b"", b"- a", b"spec: {containers: []}"])
def test_a_manifest_that_is_no_pod_asks_for_nothing(manifest: bytes) -> None:
    assert asked_for(manifest) is None


def test_an_api_server_that_was_seen_to_start_is_that_of_its_manifest_at_once() -> None:
    touched = replace(SIGHT, written_s=1099.0)
    assert describe(touched, answers=True, known=meaning(MANIFEST)).state == "running"
    annotated = replace(touched, manifest=MANIFEST.replace(b"kind: Pod", b"kind: Pod\nmetadata: {annotations: {a: b}}"))
    assert describe(annotated, answers=True, known=meaning(MANIFEST)).state == "starting"
    # However long that takes.
    late = replace(annotated, now_s=2000.0)
    assert describe(late, answers=True, known=meaning(MANIFEST)).state == "starting"
    assert outlived(late, known=meaning(MANIFEST)) == (700,)


def test_comments_mean_nothing() -> None:
    assert meaning(MANIFEST + b"# note\n") == meaning(MANIFEST)


def test_one_that_somebody_has_ended_is_no_failure() -> None:
    log = "2026-01-01T00:00:00.0Z stderr F I0101 00:00:00.0  1 controller.go:1] quota admission added evaluator"
    status = describe(
        replace(SIGHT, processes=(), logs=(Log(run=2, written_s=1050.0, tail=log),), restarts=2), answers=False
    )
    assert (status.state, status.error) == ("starting", "")


def test_while_it_tries_once_more_it_is_shown_with_what_it_ended_of() -> None:
    logs = (Log(run=3, written_s=1099.0, tail=""), Log(run=2, written_s=1090.0, tail=CRASH))
    status = describe(replace(SIGHT, logs=logs, restarts=3), answers=False)
    assert status.state == "starting"
    assert "no config specified" in status.error
    assert describe(replace(SIGHT, logs=logs, restarts=3), answers=True).error == ""


KUBELET = Process(pid=20, argv=("/usr/bin/kubelet", "--v=0"), began_s=980.0)
WAITED_FOR = replace(SIGHT, processes=(KUBELET,))


def test_a_kubelet_that_starts_nothing_under_a_newer_manifest_has_forgotten_it() -> None:
    assert is_forgotten(WAITED_FOR)
    # The last run of the manifest before may end after this one was written.
    assert is_forgotten(replace(WAITED_FOR, logs=(Log(run=5, written_s=991.0, tail=CRASH),)))


@pytest.mark.parametrize(
    "sight",
    [
        replace(WAITED_FOR, manifest=None),
        replace(WAITED_FOR, processes=(KUBELET, RUNNING)),
        replace(WAITED_FOR, processes=()),
        replace(WAITED_FOR, now_s=994.0),
        replace(WAITED_FOR, logs=(Log(run=5, written_s=1098.0, tail=CRASH),)),
        replace(WAITED_FOR, processes=(replace(KUBELET, began_s=995.0),)),
    ],
    ids=["no-manifest", "one-runs", "no-kubelet", "just-written", "tried-lately", "newer-kubelet"],
)
def test_one_that_is_at_work_has_not(sight: Sight) -> None:
    assert not is_forgotten(sight)


def test_what_was_logged_before_the_kubelet_started_anew_is_past() -> None:
    failed = replace(WAITED_FOR, logs=(Log(run=5, written_s=991.0, tail=CRASH),))
    assert describe(failed, answers=False).state == "failed"
    anew = replace(failed, processes=(replace(KUBELET, began_s=1099.0),))
    assert describe(anew, answers=False).state == "starting"


class DirectoryEngine:
    """Runs a node's commands on this machine, with the node's files in a directory.

    Attributes:
        listed: names of logs that are listed and were removed since.
    """

    def __init__(self, root: Path, *, listed: Sequence[str]) -> None:
        self.root = root
        self.listed = listed

    def run(self, _node: str, argv: Sequence[str], **_: Any) -> ExecResult:
        gone = "".join(f"echo {self.root}/{name}; " for name in self.listed)
        script = f'ls() {{ {gone} command ls "$@"; }}\n{argv[2]}'
        for path in ("/etc/kubernetes", "/var/log"):
            script = script.replace(path, f"{self.root}{path}")
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        return ExecResult(argv=tuple(argv), exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def test_a_log_that_is_removed_while_one_looks_is_passed_over(tmp_path: Path) -> None:
    manifest = tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml"
    log = tmp_path / "var/log/pods/kube-system_kube-apiserver-one_1/kube-apiserver/3.log"
    for file, content in ((manifest, MANIFEST), (log, CRASH.encode())):
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    sight = look(cast("Engine", DirectoryEngine(tmp_path, listed=["4.log"])), "node")
    assert sight.manifest == MANIFEST
    assert [(seen.run, seen.tail) for seen in sight.logs] == [(3, CRASH)]
