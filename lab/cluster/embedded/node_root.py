"""The node's file system: the machine's programs, with the lab's own ``/etc``, ``/var``, ``/root`` and ``/tmp``.

The root is a tmpfs. Directories of the machine that hold programs are bound into it as they are; ``/etc`` is the lab's
own directory, in which every entry that the lab does not replace is a link to the machine's (so editors, shells and
TLS roots work), and ``/etc/hosts`` is a plain file that any editor can replace. What a process of the lab needs at its
own path (the Python that runs it, the lab's directory) is bound again where one of those directories would hide it.
"""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path

import lab
from lab.cluster.embedded import syscalls as sc
from lab.cluster.embedded.layout import HOST_ROOT, INSIDE, LabLayout

_OWN = ("etc", "var", "root", "tmp")
"""Directories of the node that come from the lab's directory."""
_SPECIAL = frozenset({*_OWN, "proc", "run", "lost+found"})


def prepare(layout: LabLayout, *, hostname: str, hosts: str, resolv_conf: str) -> None:
    """Write the directories of a node that does not exist yet.

    Args:
        layout: the lab's directory.
        hostname: the node's name.
        hosts: content of ``/etc/hosts``.
        resolv_conf: content of ``/etc/resolv.conf``.
    """
    for directory in (
        "etc/kubernetes/manifests",
        "root",
        "tmp",
        "var/lib/etcd",
        "var/lib/kubelet",
        "var/log/pods",
        "var/log/containers",
        "var/log/kubernetes/audit",
        "var/tmp",
    ):
        (layout.node / directory).mkdir(parents=True, exist_ok=True)
    for directory_path in (layout.run, layout.logs, layout.pods, layout.bin, layout.node_mount, layout.sandbox_mount):
        directory_path.mkdir(parents=True, exist_ok=True)
    layout.etcd_data.chmod(0o700)  # etcd refuses a data directory that others can read
    bashrc = layout.node / "root/.bashrc"
    if not bashrc.exists():
        bashrc.write_text(resources.files(__package__).joinpath("bashrc").read_text())
    etc = layout.node / "etc"
    (etc / "hostname").write_text(hostname + "\n")
    (etc / "hosts").write_text(hosts)
    (etc / "resolv.conf").write_text(resolv_conf)
    for entry in Path("/etc").iterdir():
        link = etc / entry.name
        if link.is_symlink() or link.exists():
            continue
        link.symlink_to(entry.readlink() if entry.is_symlink() else HOST_ROOT / "etc" / entry.name)
    var_run = layout.node / "var/run"
    if not var_run.is_symlink():
        var_run.symlink_to("/run")


def enter(layout: LabLayout, *, extra_mounts: dict[str, str]) -> None:
    """Put the node's root together and make it this mount namespace's root.

    Must be called by PID 1 of the lab's PID namespace. Afterwards the machine's own root is at `HOST_ROOT`.

    Args:
        layout: the lab's directory, as seen from outside.
        extra_mounts: path on the node to path relative to the lab's directory.
    """
    root = layout.node_mount
    visible = _paths_to_keep(layout)
    sc.mount("tmpfs", str(root), fstype="tmpfs", flags=sc.MS_NOSUID | sc.MS_NODEV, data="mode=0755")
    for entry in Path("/").iterdir():
        if entry.name not in _SPECIAL:
            _bring(entry, root / entry.name)
    for name in _OWN:
        _bind(layout.node / name, root / name)
    run = root / "run"
    run.mkdir()
    sc.mount("tmpfs", str(run), fstype="tmpfs", flags=sc.MS_NOSUID | sc.MS_NODEV, data="mode=0755")
    # Not recursively: the lab's directory holds the mount point of this very root.
    _bind(layout.root, root / INSIDE.relative_to("/"), recursive=False)
    for inside, outside in extra_mounts.items():
        _bind(layout.root / outside, root / Path(inside).relative_to("/"))
    for path in visible:
        target = root / path.relative_to("/")
        if not target.exists():
            _bind(path, target)
    (root / "proc").mkdir()
    sc.mount("proc", str(root / "proc"), fstype="proc", flags=sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    host = root / HOST_ROOT.relative_to("/")
    host.mkdir()
    os.chdir(root)
    sc.pivot_root(str(root), str(host))
    os.chdir("/")


def _paths_to_keep(layout: LabLayout) -> list[Path]:
    """Directories that must be reachable at their own paths: Python, this package, the lab's directory."""
    package = Path(lab.__file__).resolve().parent.parent
    candidates = [Path(sys.base_prefix), Path(sys.base_prefix).resolve(), Path(sys.prefix), package, layout.root]
    hidden = [path for path in candidates if path.parts[1:2] and path.parts[1] in (*_OWN, "run")]
    return sorted(set(hidden), key=lambda path: len(path.parts))


def _bring(entry: Path, target: Path) -> None:
    """Have a top-level entry of the machine on the node too."""
    if entry.is_symlink():
        target.symlink_to(entry.readlink())
    elif entry.is_dir():
        _bind(entry, target)


def _bind(source: Path, target: Path, *, recursive: bool = True) -> None:
    target.mkdir(parents=True, exist_ok=True)
    sc.bind(str(source), str(target), recursive=recursive)
