"""What the API server's manifest asks for on a kind node, what runs, and why it does not run when it does not.

The kubelet cannot be asked while the API server is away, because it has the API server say who may ask. So the node is
looked at: the manifest, the process and its start, the container's log, what the kubelet has logged.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from lab.cluster.component_log import fatal_error_in
from lab.cluster.protocol import ApiServerStatus
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.cluster.kind.engine import Engine

SETTLED_S = 15.0
"""So long after the manifest was written, the kubelet has noticed, however busy the machine: it watches the files."""
NOTICED_S = 3.0
"""The same, where an early guess does no harm."""
FORGOTTEN_S = 6.0
"""So long the kubelet leaves a Pod alone between two runs, and some time: a wrong guess does no harm here either."""

_LOOK = r"""
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
echo "now $(date +%s.%N)"
# Any of these files may be gone by the time that it is looked at.
if written=$(stat -c %.Y "$manifest" 2>/dev/null); then
  echo "written $written"
  echo "manifest $(base64 -w0 < "$manifest")"
fi
for comm in $(grep -lxE 'kube-apiserver|kube-controller|kube-scheduler|etcd|kubelet' /proc/[0-9]*/comm 2>/dev/null); do
  process=${comm%/comm}
  line=$(base64 -w0 < "$process/cmdline" 2>/dev/null)
  began=$(cut -d' ' -f22 "$process/stat" 2>/dev/null)
  mounts=$(cut -d' ' -f5 "$process/mountinfo" 2>/dev/null | base64 -w0)
  [ -z "$line" ] || echo "process ${process#/proc/} ${began:-0} $line $mounts"
done
echo "uptime $(cut -d' ' -f1 /proc/uptime) $(getconf CLK_TCK)"
for log in $(ls -1t /var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/*.log 2>/dev/null | head -2); do
  written=$(stat -c %.Y "$log" 2>/dev/null) || continue
  echo "log ${log##*/} $written $(tail -c 65536 "$log" 2>/dev/null | base64 -w0)"
done
"""
_KUBELET_ERRORS = r"""
journalctl -u kubelet --no-pager -o cat --since "@$1" 2>/dev/null | grep -F kube-apiserver | tail -400 |
  grep -E 'Could not process manifest|MountVolume.SetUp failed|hostPath type check|(RunContainer|CreateContainer)[A-Z]'
"""
"""Only what keeps it from being started: while it is away, the kubelet complains of much else."""
_ERROR = re.compile(r'err="(?P<text>(?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of the control plane, or the kubelet.

    Attributes:
        pid: as the node sees it.
        argv: its command line.
        began_s: when it was started, in seconds since the epoch.
        ticks: the same as the kernel counts it, which never changes.
        mounts: the mount points that it sees.
    """

    pid: int
    argv: tuple[str, ...]
    began_s: float
    ticks: int = 0
    mounts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The program's name."""
        return self.argv[0].rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log of one run of the API server.

    Attributes:
        run: the how manieth of its Pod, from 0.
        written_s: when it was last written to.
        tail: its end.
    """

    run: int
    written_s: float
    tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen on the node; times are the node's, in seconds since the epoch.

    Attributes:
        now_s: when.
        manifest: the API server's manifest; None when there is none.
        written_s: when it was written.
        processes: the control plane's, and the kubelet.
        logs: the API server's two newest, the newest first: what runs now, and what ran before.
        restarts: how often its container has been started again.
        kubelet_errors: what the kubelet has to say about it since the manifest was written.
    """

    now_s: float
    manifest: bytes | None = None
    written_s: float = 0.0
    processes: tuple[Process, ...] = ()
    logs: tuple[Log, ...] = ()
    restarts: int = 0
    kubelet_errors: tuple[str, ...] = field(default=())

    @property
    def api_servers(self) -> tuple[Process, ...]:
        """The API server's processes: two for a moment while one takes the other's place."""
        return tuple(process for process in self.processes if process.name == "kube-apiserver")

    @property
    def kubelet_began_s(self) -> float:
        """When the kubelet was started; 0 when it does not run."""
        return max((process.began_s for process in self.processes if process.name == "kubelet"), default=0.0)


def look(engine: Engine, node: str) -> Sight:
    """Look at a node.

    Raises:
        LabError: the node cannot be entered.
    """
    result = engine.run(node, ("sh", "-c", _LOOK))
    sight = parse(result.stdout)
    if sight.manifest is None or sight.api_servers:
        return sight
    journal = engine.run(node, ("sh", "-c", _KUBELET_ERRORS, "sh", f"{sight.written_s:.0f}")).stdout
    return parse(result.stdout, kubelet_errors=tuple(journal.splitlines()))


def parse(text: str, *, kubelet_errors: tuple[str, ...] = ()) -> Sight:
    """Read what the look at a node has printed."""
    found: dict[str, str] = {}
    logs: list[Log] = []
    lines: list[tuple[int, int, tuple[str, ...], tuple[str, ...]]] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "process":
            pid, ticks, command, mounts = rest.split(" ")
            lines.append((int(pid), int(ticks), _argv(command), tuple(base64.b64decode(mounts).decode().split())))
        elif word == "log":
            name, written, tail = rest.split(" ")
            run = int(name.removesuffix(".log")) if name.removesuffix(".log").isdigit() else 0
            logs.append(Log(run=run, written_s=float(written), tail=base64.b64decode(tail).decode(errors="replace")))
        else:
            found[word] = rest
    if "now" not in found or "uptime" not in found:
        raise LabError(
            "node-unreadable",
            "the node could not be looked at",
            hint="see whether it has a shell and coreutils: lab node shell",
            context={"output": text[-500:]},
        )
    up_s, ticks_per_s = (float(number) for number in found["uptime"].split())
    boot_s = float(found["now"]) - up_s
    return Sight(
        now_s=float(found["now"]),
        manifest=base64.b64decode(found["manifest"]) if "manifest" in found else None,
        written_s=float(found.get("written", 0)),
        processes=tuple(
            Process(pid=pid, argv=argv, began_s=boot_s + ticks / ticks_per_s, ticks=ticks, mounts=mounts)
            for pid, ticks, argv, mounts in lines
            if argv
        ),
        logs=tuple(logs),
        restarts=logs[0].run if logs else 0,
        kubelet_errors=kubelet_errors,
    )


def describe(sight: Sight, *, answers: bool, known: str = "") -> ApiServerStatus:
    """The API server as it is now.

    Args:
        sight: what was seen on the node.
        answers: whether it calls itself ready at this moment.
        known: `meaning` of the manifest that the process was started for, where that was seen; else empty.
    """
    if sight.manifest is None:
        return ApiServerStatus(state="absent")
    if sight.api_servers:
        newest = max(sight.api_servers, key=lambda process: process.began_s)
        flags = newest.argv[1:]
        runs = answers and len(sight.api_servers) == 1 and _is_settled(sight, newest, known)
        # A program that ends again and again is shown with what it ended of, also while it tries once more.
        error = "" if runs else logged_error(sight)
        return ApiServerStatus(
            state="running" if runs else "starting", flags=flags, error=error, restarts=sight.restarts
        )
    error = logged_error(sight)
    if error:
        return ApiServerStatus(state="failed", error=error, restarts=sight.restarts)
    if sight.kubelet_errors and sight.now_s - sight.written_s > NOTICED_S:
        return ApiServerStatus(state="failed", error=_kubelet_error(sight.kubelet_errors[-1]), restarts=1)
    return ApiServerStatus(state="starting", restarts=sight.restarts)


def outlived(sight: Sight, *, known: str = "") -> tuple[int, ...]:
    """The processes that run under a manifest of before, and that the kubelet is about to end.

    It gives them half a minute to say goodbye to their clients, which a lab does not need.

    Args:
        sight: what was seen on the node.
        known: as for `describe`.
    """
    if sight.manifest is None or sight.now_s - sight.written_s < NOTICED_S:
        return ()
    is_other = known != "" and known != meaning(sight.manifest)
    wanted = asked_for(sight.manifest)
    return tuple(
        process.pid
        for process in sight.api_servers
        if process.began_s < sight.written_s and (is_other or process.argv != wanted)
    )


def is_forgotten(sight: Sight) -> bool:
    """Whether the kubelet is about to wait for ever before it starts what the manifest asks for.

    One that was started while no API server ran ends no Pod before it has heard from one (kubernetes,
    pkg/kubelet/kubelet.go, deletePod), and the static pod of another manifest waits until the one before it has ended.
    Started anew, the kubelet knows the newest manifest alone.
    """
    if sight.manifest is None or sight.api_servers or not 0 < sight.kubelet_began_s < sight.written_s:
        return False
    return sight.now_s - max(sight.written_s, *(log.written_s for log in sight.logs), 0.0) > FORGOTTEN_S


def meaning(manifest: bytes) -> str:
    """A hash over what a manifest says: the kubelet starts another API server when that changes, and only then."""
    try:
        said = yaml.safe_load(manifest)
    except yaml.YAMLError:
        said = manifest.decode(errors="replace")
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def asked_for(manifest: bytes) -> tuple[str, ...] | None:
    """The command line that a manifest asks for; None when it is no Pod."""
    try:
        pod = yaml.safe_load(manifest)
        container = pod["spec"]["containers"][0]
        return (*container.get("command", ()), *container.get("args", ()))
    except (yaml.YAMLError, TypeError, KeyError, IndexError):
        return None


def _is_settled(sight: Sight, process: Process, known: str) -> bool:
    """Whether a process is that of the manifest as it is now."""
    manifest = sight.manifest or b""
    if process.argv != asked_for(manifest):
        return False
    if process.began_s >= sight.written_s:
        return True
    return known == meaning(manifest) if known else sight.now_s - sight.written_s > SETTLED_S


def logged_error(sight: Sight) -> str:
    """What its last run ended with, unless somebody ended it, or that was one of an earlier manifest or kubelet."""
    since_s = max(sight.written_s, sight.kubelet_began_s)
    errors = (fatal_error_in(log.tail) for log in sight.logs if log.written_s >= since_s)
    return next(filter(None, errors), "")


def _kubelet_error(line: str) -> str:
    match = _ERROR.search(line)
    return json.loads(f'"{match["text"]}"') if match else line


def _argv(encoded: str) -> tuple[str, ...]:
    words = base64.b64decode(encoded).decode(errors="replace").split("\0")
    return tuple(words[:-1])
