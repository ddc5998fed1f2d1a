"""Policies on images, and how their findings become one verdict.

A policy judges one image and knows nothing of Kubernetes or HTTP. Policies compose: an image is allowed when no policy
finds fault with it, and every fault of every image is reported, not just the first. Further ones (severity, signatures)
are further classes with the same method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lab.bouncer import reference as references
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.bouncer.reference import Reference

GRAMMAR = "reference"
"""The policy that always applies: an image must be readable as a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one policy holds against one image.

    Attributes:
        policy: name of the policy.
        image: the image as it was written.
        why: continues the sentence ``image "..." ``.
    """

    policy: str
    image: str
    why: str

    @property
    def text(self) -> str:
        """The finding as a sentence that names the image."""
        return f"image {references.show(self.image)} {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the policies say about all images of one review.

    Attributes:
        findings: every fault found, in the order of the images; none means allowed.
    """

    findings: tuple[Finding, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def reason(self) -> str:
        """Every finding, joined by ``; ``; empty when allowed."""
        return "; ".join(finding.text for finding in self.findings)


class Policy(Protocol):
    """One rule about images."""

    @property
    def name(self) -> str:
        """A short name for logs: ``registries``."""

    def review(self, written: str, reference: Reference) -> Finding | None:
        """Judge one image.

        Args:
            written: the image as it stands in the Pod.
            reference: the same, normalised.

        Returns:
            What is wrong with it; None when nothing is.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """One entry of a whitelist: a registry, or a part of one.

    Attributes:
        host: the registry with its port, compared exactly.
        path: a repository or a prefix of repositories, compared component by component; empty for all.
    """

    host: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Registry:
        """Read an entry such as ``docker.io``, ``localhost:5000`` or ``docker.io/library``.

        Raises:
            InputError: ``registry-entry`` when it could never match an image, or would not mean what it seems to.
        """
        host, slash, path = text.strip().removesuffix("/").partition("/")
        if not references.is_domain(host):
            raise _bad_entry(text, "is not a registry host", hint="write HOST[:PORT][/PATH], without a scheme")
        if not references.names_registry(host):
            raise _bad_entry(
                text,
                f"names no registry: an image {host}/x comes from {references.DEFAULT_DOMAIN}/{host}/x",
                hint=f"write {references.DEFAULT_DOMAIN}/{host}, or give the registry's host with a dot or a port",
            )
        if slash:
            try:
                references.check_path(path)
            except InputError as error:
                raise _bad_entry(text, f"has a bad path: {error.message}", hint=error.hint) from error
        if host == references.LEGACY_DEFAULT_DOMAIN:
            host = references.DEFAULT_DOMAIN
        return cls(host=host, path=path)

    def covers(self, reference: Reference) -> bool:
        """Whether an image comes from here."""
        if reference.domain != self.host:
            return False
        return not self.path or reference.path == self.path or reference.path.startswith(f"{self.path}/")

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPolicy:
    """Only images from these registries.

    Attributes:
        whitelist: the registries allowed; at least one.
        listed_in: what a person calls the list, for the reason of a denial.
    """

    whitelist: tuple[Registry, ...]
    listed_in: str = "the whitelist"
    name: str = "registries"

    @classmethod
    def parse(cls, text: str) -> RegistryPolicy:
        """Read a comma-separated list, as ``--registry-whitelist`` takes it.

        Raises:
            InputError: ``registry-entry``, or ``registry-whitelist-empty`` when the list names no registry.
        """
        entries = [entry for entry in text.split(",") if entry.strip()]
        if not entries:
            raise InputError(
                "registry-whitelist-empty",
                f"the registry whitelist {references.show(text)} names no registry",
                hint="name at least one, for example docker.io,k8s.gcr.io; leave the option out to allow all",
            )
        return cls(whitelist=tuple(Registry.parse(entry) for entry in entries))

    def review(self, written: str, reference: Reference) -> Finding | None:
        """Find fault with an image from a registry that is not in the whitelist."""
        if any(registry.covers(reference) for registry in self.whitelist):
            return None
        if any(registry.host == reference.domain for registry in self.whitelist):
            origin = f"comes from {reference.name}"
        else:
            origin = f"comes from registry {reference.domain}"
        listed = ", ".join(str(registry) for registry in self.whitelist)
        return Finding(policy=self.name, image=written, why=f"{origin}, which is not in {self.listed_in} {listed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRequired:
    """Only images that are written with a tag; a digest in its place is not one."""

    name: str = "tags"

    def review(self, written: str, reference: Reference) -> Finding | None:
        """Find fault with an image without a tag."""
        if reference.tag is not None:
            return None
        return Finding(policy=self.name, image=written, why="has no tag, and tags.required asks for one")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsDenied:
    """No image with one of these tags.

    An image with neither tag nor digest means ``latest``. A tag beside a digest decides nothing about what is pulled,
    and is denied all the same: whoever reads it is misled.

    Attributes:
        tags: compared exactly; at least one.
    """

    tags: frozenset[str]
    name: str = "tags"

    def review(self, written: str, reference: Reference) -> Finding | None:
        """Find fault with an image that has a denied tag, or means one."""
        tag = references.DEFAULT_TAG if reference.tag_is_implicit else reference.tag
        if tag not in self.tags:
            return None
        implied = ", because it names no other" if reference.tag_is_implicit else ""
        return Finding(policy=self.name, image=written, why=f"has the tag {tag}{implied}, which tags.denied forbids")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestRequired:
    """Only images that are named by their digest, so that nobody can move them."""

    name: str = "digests"

    def review(self, written: str, reference: Reference) -> Finding | None:
        """Find fault with an image without a digest."""
        if reference.digest is not None:
            return None
        return Finding(policy=self.name, image=written, why="has no digest, and digests.required asks for one")


def judge(images: Iterable[str], policies: Sequence[Policy]) -> Verdict:
    """Review images against every policy; an image that cannot be read is a finding of its own.

    Args:
        images: as written; one that occurs twice is judged once.
        policies: all must agree.
    """
    findings: list[Finding] = []
    for written in dict.fromkeys(images):
        try:
            reference = references.parse(written)
        except InputError as error:
            why = f"is not a valid image reference: {error.message}"
            findings.append(Finding(policy=GRAMMAR, image=written, why=why))
            continue
        findings += [found for policy in policies if (found := policy.review(written, reference)) is not None]
    return Verdict(findings=tuple(findings))


def _bad_entry(text: str, why: str, *, hint: str) -> InputError:
    return InputError("registry-entry", f"the registry entry {references.show(text)} {why}", hint=hint)
