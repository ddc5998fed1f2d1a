"""A container's world: a root that holds its program and exactly the volumes that its manifest mounts.

A sandbox has a mount and UTS namespace of its own and, for a Pod that is not on the host network, the Pod's network
namespace. It shares the lab's PID namespace, runs as the one uid that there is, and has no seccomp filter: what it
shows is what the program can see, not what an attacker could do.
"""

from __future__ import annotations

import os
import resource
import socket
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.embedded import syscalls as sc

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a container whose image sets none (the OCI runtime's default)."""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_ETC_FILES = {
    "passwd": "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "nsswitch.conf": "hosts: files dns\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or directory of the node, seen at a path in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One process and what it may see.

    Attributes:
        argv: the command; its first element is looked up in the container's PATH.
        environment: the whole environment.
        working_directory: absolute, in the container.
        root: an empty directory of the node to put the container's root together on.
        binds: program and volumes; a bind below another one comes after it.
        hosts: content of the container's ``/etc/hosts``.
        resolv_conf: content of its ``/etc/resolv.conf``.
        hostname: its host name; None keeps the node's.
        network: descriptor of the network namespace to join; None for the node's.
        stdout: descriptor that becomes standard output.
        stderr: descriptor that becomes standard error.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    working_directory: str = "/"
    root: Path
    binds: tuple[Bind, ...]
    hosts: str
    resolv_conf: str
    hostname: str | None = None
    network: int | None = None
    stdout: int
    stderr: int


def exec_in_sandbox(spec: SandboxSpec) -> None:
    """Become the program of ``spec``; called in a child that was forked for it, and does not return.

    Raises:
        OSError: a namespace, a mount or the program could not be had.
    """
    sc.unshare(sc.CLONE_NEWNS | (sc.CLONE_NEWUTS if spec.hostname else 0))
    if spec.network is not None:
        sc.setns(spec.network, sc.CLONE_NEWNET)
    if spec.hostname:
        socket.sethostname(spec.hostname)
    _make_root(spec)
    _change_root(spec.root)
    os.chdir(spec.working_directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (spec.stdout, 1), (spec.stderr, 2)):
        os.dup2(source, target, inheritable=True)
    try:
        os.execvpe(spec.argv[0], spec.argv, {"PATH": DEFAULT_PATH, **spec.environment})
    except FileNotFoundError:
        # The wording of runc, which a candidate meets on a real node.
        raise FileNotFoundError(f'exec: "{spec.argv[0]}": executable file not found in $PATH') from None


def _make_root(spec: SandboxSpec) -> None:
    root = spec.root
    sc.mount("tmpfs", str(root), fstype="tmpfs", flags=sc.MS_NOSUID | sc.MS_NODEV, data="mode=0755")
    for name in ("dev", "etc", "proc", "tmp", "root", "var", "run"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    sc.bind("/proc", str(root / "proc"))
    for device in _DEVICES:
        _bind_file(Path("/dev", device), root / "dev" / device)
    (root / "dev/fd").symlink_to("/proc/self/fd")
    for name, content in _ETC_FILES.items():
        (root / "etc" / name).write_text(content)
    (root / "etc/hosts").write_text(spec.hosts)
    (root / "etc/resolv.conf").write_text(spec.resolv_conf)
    for bind in sorted(spec.binds, key=lambda bind: len(Path(bind.target).parts)):
        target = root / Path(bind.target).relative_to("/")
        if bind.source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            sc.bind(str(bind.source), str(target), read_only=bind.read_only)
        else:
            _bind_file(bind.source, target, read_only=bind.read_only)


def _bind_file(source: Path, target: Path, *, read_only: bool = False) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    sc.bind(str(source), str(target), recursive=False, read_only=read_only)


def _change_root(root: Path) -> None:
    os.chdir(root)
    # pivot_root(2), NOTES: with both arguments ".", the old root is stacked on the new one and can be detached.
    sc.pivot_root(".", ".")
    sc.umount(".")
    os.chdir("/")
