"""Which images the lab's registry serves, as data.

These are stand-ins under the names that the scenarios use: real OCI images with little inside (see `lab.images.oci`).
On the embedded backend no container runs from them; there they give every Pod an ``imageID`` with a real digest, and
a reference that is not here ends in ErrImagePull, as a typo does on a real node.

Each row is one content: its first tag is the version, the others are aliases of the same digest. The images of the
control plane (``registry.k8s.io/kube-apiserver`` and so on) are not here: they stand for the programs that really
run, so their digest comes from those.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.images.oci import ImageContent, OciImage, build

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueImage:
    """One content in one repository.

    Attributes:
        repository: normalised name, registry included: ``docker.io/library/nginx``.
        tags: the version, then its aliases.
        summary: one sentence for the image's README.
        entrypoint: the program that the original would run.
        user: the user that the original runs as; empty for root.
        ports: TCP ports of the original.
    """

    repository: str
    tags: tuple[str, ...]
    summary: str
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    ports: tuple[int, ...] = ()

    @property
    def version(self) -> str:
        """What tells this content from the repository's others."""
        return self.tags[0]

    @property
    def references(self) -> tuple[str, ...]:
        """Every tagged reference to this content."""
        return tuple(f"{self.repository}:{tag}" for tag in self.tags)

    def build(self) -> OciImage:
        """The image itself."""
        return _build(self)


def _nginx(*tags: str, repository: str = "docker.io/library/nginx") -> CatalogueImage:
    return CatalogueImage(
        repository=repository,
        tags=tags,
        summary="Stands in for the nginx web server.",
        entrypoint=("nginx", "-g", "daemon off;"),
        ports=(80,),
    )


def _httpd(*tags: str) -> CatalogueImage:
    return CatalogueImage(
        repository="docker.io/library/httpd",
        tags=tags,
        summary="Stands in for the Apache web server.",
        entrypoint=("httpd-foreground",),
        ports=(80,),
    )


def _shell(repository: str, *tags: str) -> CatalogueImage:
    return CatalogueImage(
        repository=repository, tags=tags, summary="Stands in for a small system with a shell.", entrypoint=("sh",)
    )


def _redis(*tags: str) -> CatalogueImage:
    return CatalogueImage(
        repository="docker.io/library/redis",
        tags=tags,
        summary="Stands in for the redis database.",
        entrypoint=("redis-server",),
        ports=(6379,),
    )


def _opa(*tags: str) -> CatalogueImage:
    return CatalogueImage(
        repository="docker.io/openpolicyagent/opa",
        tags=tags,
        summary="Stands for Open Policy Agent; the embedded backend runs its own OPA for it.",
        entrypoint=("/opa",),
        user="1000:1000",
        ports=(8181,),
    )


def _app(repository: str, *tags: str) -> CatalogueImage:
    return CatalogueImage(
        repository=repository, tags=tags, summary="An application of nobody in particular.", entrypoint=("/app",)
    )


def _old_kubernetes(repository: str, *tags: str) -> CatalogueImage:
    return CatalogueImage(
        repository=repository,
        tags=tags,
        summary="A name from an older cluster, kept for the scenarios that audit or scan one.",
    )


def _kubeadm_addon(repository: str, tag: str) -> CatalogueImage:
    return CatalogueImage(repository=repository, tags=(tag,), summary="Part of every cluster that kubeadm makes.")


CATALOGUE: tuple[CatalogueImage, ...] = (
    # What Pods run.
    _nginx("1.29.4", "1.29", "1", "latest"),
    _nginx("1.29.4-alpine", "1.29-alpine", "1-alpine", "alpine"),
    _nginx("1.28.0", "1.28"),
    _nginx("1.27.5", "1.27"),
    _nginx("1.19.10", "1.19"),
    _httpd("2.4.66", "2.4", "2", "latest"),
    _httpd("2.4.66-alpine", "2.4-alpine", "2-alpine", "alpine"),
    _httpd("2.4.58"),
    _shell("docker.io/library/busybox", "1.37.0", "1.37", "1", "latest"),
    _shell("docker.io/library/busybox", "1.36.1", "1.36"),
    _shell("docker.io/library/busybox", "1.28"),
    _shell("docker.io/library/alpine", "3.23.0", "3.23", "3", "latest"),
    _shell("docker.io/library/alpine", "3.22.2", "3.22"),
    _shell("docker.io/library/alpine", "3.20.8", "3.20"),
    _shell("docker.io/library/debian", "13.2", "13", "trixie", "latest"),
    _shell("docker.io/library/debian", "12.12", "12", "bookworm"),
    _redis("8.4.0", "8.4", "8", "latest"),
    _redis("7.4.7", "7.4", "7"),
    # Admission: what the workload table gives a program.
    CatalogueImage(
        repository="docker.io/kainlite/kube-image-bouncer",
        tags=("latest",),
        summary="Stands for the image bouncer; the lab runs its own bouncer for it.",
        entrypoint=("kube-image-bouncer",),
        ports=(1323,),
    ),
    CatalogueImage(
        repository="docker.io/openpolicyagent/gatekeeper",
        tags=("v3.23.1",),
        summary="Stands for OPA Gatekeeper's manager; the embedded backend runs the real one for it.",
        entrypoint=("/manager",),
        user="65532:65532",
        ports=(8443, 8888, 9090),
    ),
    _opa("1.22.2", "latest"),
    _opa("1.22.2-static", "latest-static"),
    CatalogueImage(
        repository="docker.io/library/python",
        tags=("3.14", "3", "latest"),
        summary="Stands for Python; the embedded backend runs the machine's own interpreter for it.",
    ),
    CatalogueImage(
        repository="docker.io/pramodhm/image-policy-webhook",
        tags=("v5",),
        summary="Stands for the course's webhook server; the lab runs its own copy for it.",
        entrypoint=("python", "image_policy_webhook.py"),
        ports=(8080,),
    ),
    CatalogueImage(
        repository="ghcr.io/aquasecurity/trivy",
        tags=("0.70.0", "latest"),
        summary="Stands for the scanner; the lab's node has the program itself.",
        entrypoint=("trivy",),
    ),
    # Registries that policies tell apart.
    _shell("gcr.io/google-containers/busybox", "1.27", "latest"),
    _shell("gcr.io/x/busybox", "latest"),
    _nginx("1.0", "latest", repository="internal-registry.io/nginx"),
    _app("internal-registry.io/app", "1.0", "latest"),
    _app("internal-registry.io/team/app", "1.0", "latest"),
    _app("internal-registry.io/team/app", "1.1"),
    _nginx("1.0", "latest", repository="registry.example.com/nginx"),
    _app("registry.example.com/app", "1.0", "latest"),
    _app("registry.example.com/team/app", "1.0", "latest"),
    _nginx("1.29.4", "latest", repository="quay.io/library/nginx"),
    _app("quay.io/team/app", "1.0", "latest"),
    _app("ghcr.io/team/app", "1.0", "latest"),
    _app("some-registry.io/a-very-vulnerable-image", "latest"),
    # Behind a password: see lab.images.private.
    _app("private-registry.example/team/app", "1.0", "latest"),
    # Look-alikes of trusted registries.
    _app("docker.io.evil.example/x", "latest"),
    _app("docker.io.evil.example/library/nginx", "latest"),
    _app("docker.iomalicious/x", "latest"),
    _app("evil.example/docker.io/nginx", "latest"),
    _app("evil.example/internal-registry.io/x", "latest"),
    _app("internal-registry.io.evil.example/x", "latest"),
    _app("mcr.example:5000/team/app", "1.0", "latest"),
    # What kubeadm adds to a cluster beside the control plane, as `kubeadm config images list` names it.
    _kubeadm_addon("registry.k8s.io/coredns/coredns", "v1.14.6"),
    _kubeadm_addon("registry.k8s.io/kube-proxy", "v1.37.0"),
    # Names from the course's older clusters.
    _old_kubernetes("k8s.gcr.io/pause", "3.9", "latest"),
    _old_kubernetes("k8s.gcr.io/echoserver", "1.10"),
    _old_kubernetes("k8s.gcr.io/kube-apiserver", "v1.20.2"),
    _old_kubernetes("k8s.gcr.io/kube-apiserver", "v1.23.6"),
    _old_kubernetes("k8s.gcr.io/kube-apiserver-amd64", "v1.13.3"),
    _old_kubernetes("k8s.gcr.io/coredns/coredns", "v1.8.6"),
    _old_kubernetes("docker.io/weaveworks/weave-kube", "2.8.1"),
    _old_kubernetes("docker.io/weaveworks/weave-npc", "2.8.1"),
)


def fingerprint(images: Sequence[CatalogueImage] = CATALOGUE) -> str:
    """A hash over every reference and its digest: two equal catalogues fill a registry alike."""
    lines = [f"{reference}={image.build().digest}\n" for image in images for reference in image.references]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def storage_directory(directory: Path) -> Path:
    """Where the registry's storage that holds the whole catalogue is kept; `registry.prepare_storage` makes it, once.

    Args:
        directory: where such storage directories are kept; the one of this catalogue bears its fingerprint.
    """
    return directory / f"registry-{fingerprint()[:16]}"


@functools.cache
def _build(image: CatalogueImage) -> OciImage:
    name = f"{image.repository}:{image.version}"
    readme = f"{name}\n\n{image.summary}\nThis image was made by the Kubernetes supply-chain lab.\n"
    return build(
        ImageContent(
            files={"/etc/os-release": _os_release(image).encode(), "/README": readme.encode()},
            entrypoint=image.entrypoint,
            user=image.user,
            ports=image.ports,
            labels={"org.opencontainers.image.ref.name": name, "org.opencontainers.image.version": image.version},
        )
    )


def _os_release(image: CatalogueImage) -> str:
    """The keys of os-release(5) that say which image this is."""
    keys = {
        "ID": "k8s-supply-chain-lab",
        "IMAGE_ID": image.repository.rsplit("/", maxsplit=1)[-1],
        "IMAGE_VERSION": image.version,
        "NAME": "Kubernetes supply-chain lab",
        "PRETTY_NAME": f"{image.repository}:{image.version} (stand-in)",
    }
    return "".join(f'{key}="{value}"\n' for key, value in keys.items())
