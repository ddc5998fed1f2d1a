"""Programs of CI, pinned as the lab's own are: a linter for workflows, and the Kubernetes before the pinned one.

They share the component store and its ways (a release with a checksum, else a build from verified source), but no
``lab`` command knows them. To move a version: as for those in ``lab/components/pins.py``, with the ``go.mod`` here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from lab.components.pins import PINS, Component, GoModule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.components.catalog import Components

ACTIONLINT_VERSION = "1.7.12"
KUBERNETES_BEFORE_VERSION = "1.36.4"
"""The newest node image of the minor version before that our pinned kind names in its release notes."""

_MAJOR, _MINOR, _ = KUBERNETES_BEFORE_VERSION.split(".")
_GO = Path(__file__).parent / "go"

ACTIONLINT = GoModule(
    name="actionlint",
    directory=_GO / "actionlint",
    path="github.com/rhysd/actionlint",
    version=ACTIONLINT_VERSION,
    stamps={"github.com/rhysd/actionlint.version": ACTIONLINT_VERSION},
)
KUBERNETES_BEFORE = GoModule(
    name="Kubernetes",
    directory=_GO / "kubernetes",
    path="k8s.io/kubernetes",
    version=KUBERNETES_BEFORE_VERSION,
    stamps={
        "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES_BEFORE_VERSION}",
        "k8s.io/component-base/version.gitMajor": _MAJOR,
        "k8s.io/component-base/version.gitMinor": _MINOR,
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES_BEFORE_VERSION}",
    },
)


def _before(name: str) -> Component:
    pinned = PINS[name]
    return Component(name=name, module=KUBERNETES_BEFORE, package=pinned.package, release=pinned.release)


CONTROL_PLANE_BEFORE: Mapping[str, Component] = MappingProxyType(
    {name: _before(name) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")}
)
"""What decides. kubeadm and kubectl stay the pinned ones: kubeadm writes the node for the version that it is."""

LINTERS: Mapping[str, Component] = MappingProxyType(
    {
        "actionlint": Component(
            name="actionlint",
            module=ACTIONLINT,
            package="github.com/rhysd/actionlint/cmd/actionlint",
            version_argv=("-version",),
        )
    }
)


def gather(components: Components, directory: Path) -> None:
    """Make a directory of the control plane before the pinned one, for ``--bin-dir``.

    Args:
        components: the catalogue of `CONTROL_PLANE_BEFORE`.
        directory: made, or brought up to date.

    Raises:
        LabError: a program can be neither downloaded nor built.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, path in components.ensure(*CONTROL_PLANE_BEFORE).items():
        # No link: on the node of a lab the machine's files lie elsewhere, and it would lead nowhere.
        shutil.copy2(path, directory / name)
