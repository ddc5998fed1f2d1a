"""Where this machine's packages come from: its own apt says so, and nothing of it is written down here.

So a machine with a mirror of its own, a proxy or an air gap has its node's packages from where it has its others.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

COMPONENTS = ("main", "universe")
"""Debian has all in main; Ubuntu has some in universe. Others hold nothing that a node needs."""
KEYRINGS = ("debian-archive-keyring.gpg", "ubuntu-archive-keyring.gpg")
"""Files of /usr/share/keyrings: the distributions' own keys."""
CONNECTION = ("Proxy", "CaInfo", "SslCert", "SslKey", "Verify-Peer", "Verify-Host", "Timeout", "Retries")
"""Settings of apt's below ``Acquire`` that say how a mirror is reached."""

_FIELDS = "$(RELEASE)|$(COMPONENT)|$(REPO_URI)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSetup:
    """What this machine's apt is set up with.

    Attributes:
        codename: of the distribution's release, for example ``bookworm``.
        sources: lines of a sources.list, for this release and its updates.
        options: lines of an apt.conf that say how the mirror is reached.
        keyrings: files with the distribution's keys.
    """

    codename: str
    sources: tuple[str, ...]
    options: tuple[str, ...]
    keyrings: tuple[Path, ...]


def read_setup() -> AptSetup:
    """Ask this machine's apt.

    Raises:
        LabError: ``node-image-apt``: there is no apt here, or it knows no mirror of the distribution.
    """
    if shutil.which("apt-get") is None:
        raise LabError(
            "node-image-apt",
            "a node image is made of Debian packages, and this machine has no apt",
            hint="make the image on Debian or Ubuntu with 'lab node-image build --output node.tar', then "
            "'docker load -i node.tar' here; or use kind's own image, where a registry can be reached",
        )
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = _ask("apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages")
    sources = select_sources(targets.splitlines(), codename)
    if not sources:
        raise LabError(
            "node-image-apt",
            f"this machine's apt has no source for the release {codename!r} of its distribution",
            hint="name the release by its code name in /etc/apt/sources.list or /etc/apt/sources.list.d",
            context={"sources": targets.strip() or "none"},
        )
    keyrings = (Path("/usr/share/keyrings") / name for name in KEYRINGS)
    return AptSetup(
        codename=codename,
        sources=sources,
        options=select_options(_ask("apt-config", "dump", "Acquire").splitlines()),
        keyrings=tuple(path for path in keyrings if path.exists()),
    )


def select_sources(targets: list[str], codename: str) -> tuple[str, ...]:
    """The sources of one release and of its updates; those of other projects name other releases."""
    lines = []
    for target in targets:
        release, component, uri = target.split("|", 2)
        if component in COMPONENTS and codename and release.split("-")[0] == codename and "backports" not in release:
            lines.append(f"deb {uri} {release} {component}")
    return tuple(dict.fromkeys(lines))


def select_options(settings: list[str]) -> tuple[str, ...]:
    """The settings that say how a mirror is reached, as lines of an apt.conf."""
    return tuple(
        setting for setting in settings if any(f"::{name}" in setting.split(" ")[0] for name in CONNECTION)
        and not setting.endswith('"";')
    )  # fmt: skip


def _ask(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError(
            "node-image-apt",
            f"{argv[0]} {argv[1]} failed",
            hint="mend this machine's apt until 'apt-get check' passes",
            context={"apt": done.stderr.strip()},
        )
    return done.stdout
