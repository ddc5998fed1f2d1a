"""The first layer: a small Debian with systemd, a container runtime's runc, network tools and CNI plugins.

mmdebstrap makes it, in one go, as a tar archive: as root, or as an ordinary user in a user namespace. What a package
does when it is installed (alternatives, users, units) is done as on any Debian; afterwards the units that make no sense
in a container are taken away, as kind's own image has it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from typing import TYPE_CHECKING

from lab.components import process
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from lab.components.progress import Ticker
    from lab.images.node.apt import AptSetup

PACKAGES = (
    # services
    "systemd", "dbus",
    # what a Kubernetes node calls
    "conntrack", "ethtool", "iproute2", "iptables", "kmod", "mount", "nftables", "socat", "util-linux",
    # the container runtime and the network
    "catatonit", "containernetworking-plugins", "libseccomp2", "pigz", "runc",
    # what kind's entrypoint and a person on the node call
    "bash", "ca-certificates", "curl", "e2fsprogs", "iputils-ping", "jq", "less", "nano", "procps",
    "vim-tiny",
)  # fmt: skip

_LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
_KEPT = ("/usr/share/doc/*/copyright",)

_FINISH = """
set -eu
cd "$1"
rm -f lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
rm -f lib/systemd/system/multi-user.target.wants/* etc/systemd/system/*.wants/*
rm -f lib/systemd/system/local-fs.target.wants/* lib/systemd/system/basic.target.wants/*
rm -f lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl*
echo ReadKMsg=no >> etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd sbin/init
ln -sf /dev/null etc/systemd/system/systemd-binfmt.service
mkdir -p opt/cni etc/kubernetes/manifests
ln -s /usr/lib/cni opt/cni/bin
rm -rf etc/apt/sources.list etc/apt/sources.list.d/* etc/apt/apt.conf.d/99mmdebstrap
rm -f etc/hostname etc/machine-id etc/resolv.conf
rm -rf var/lib/apt/lists/* var/cache/apt/* var/log/*
"""
"""As kind's images/base/Dockerfile, and nothing of this machine is left: not its mirror, its name or its resolvers."""

_TOOL = "mmdebstrap"


def recipe(setup: AptSetup) -> str:
    """What decides the layer; not which versions the mirror has today: see ``--fresh-packages``."""
    text = "\n".join([setup.codename, *PACKAGES, *_LEFT_OUT, *_KEPT, _FINISH])
    return hashlib.sha256(text.encode()).hexdigest()


def make_layer(target: Path, setup: AptSetup, ticker: Ticker) -> None:
    """Write the layer.

    Args:
        target: the file to write; its directory is there, and may be used for what is temporary.
        setup: where packages come from.
        ticker: hears of progress.

    Raises:
        LabError: ``node-image-tool``, ``node-image-packages``.
    """
    if shutil.which(_TOOL) is None:
        raise LabError(
            "node-image-tool",
            f"a node image is made of Debian packages by {_TOOL}, which is not installed",
            hint=f"sudo apt-get install {_TOOL} (and uidmap, to build as an ordinary user)",
        )
    said = "starting"

    def watch(line: str) -> None:
        nonlocal said
        if line.startswith("I: "):
            said = line.removeprefix("I: ").rstrip(".")

    ticker.say(f"installing {len(PACKAGES)} packages of {setup.codename} and what they need, from apt's mirror")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "0"}
    if os.geteuid() == 0:
        # The root of a user namespace is another user, who may not look into a directory of ours.
        environment["TMPDIR"] = str(target.parent)
    ended = process.run(
        [*_command(setup), setup.codename, str(target), *setup.sources],
        cwd=target.parent, env=environment, scratch=target.parent, on_line=watch, on_wait=lambda: ticker.tick(said),
    )  # fmt: skip
    if ended.exit_code != 0:
        raise LabError(
            "node-image-packages",
            f"{_TOOL} could not install the node's packages",
            hint="read its own lines above; 'apt-get update' must work here, and an ordinary user needs the package "
            "uidmap and entries in /etc/subuid and /etc/subgid (or run the command as root)",
            context={_TOOL: "\n".join(line for line in ended.lines if not line.startswith("I: "))[-3000:]},
        )


def _command(setup: AptSetup) -> list[str]:
    return [
        _TOOL,
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        *(f"--keyring={path}" for path in setup.keyrings),
        *(f"--aptopt={option}" for option in setup.options),
        *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
        *(f"--dpkgopt=path-include={path}" for path in _KEPT),
        f'--customize-hook=sh -c {shlex.quote(_FINISH)} finish "$1"',
    ]
