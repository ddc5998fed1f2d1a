"""Whitelists, look-alikes, and how findings become a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.bouncer.policy import Finding, Policy, Registry, RegistryPolicy, judge
from lab.errors import InputError

if TYPE_CHECKING:
    from lab.bouncer.reference import Reference

COURSE = RegistryPolicy.parse("docker.io,k8s.gcr.io")
DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "image",
    [
        "nginx",  # a short name is docker.io's
        "bitnami/nginx:1",
        "docker.io/nginx",
        "docker.io/library/nginx:1.27",
        f"docker.io/library/nginx:1.27@{DIGEST}",
        "index.docker.io/library/nginx",
        "k8s.gcr.io/pause:3.9",
    ],
)
def test_images_of_whitelisted_registries_are_allowed(image: str) -> None:
    assert judge([image], [COURSE]).allowed


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("gcr.io/x/busybox", "gcr.io"),
        ("docker.io.evil.example/x", "docker.io.evil.example"),
        ("docker.iomalicious/x", "docker.iomalicious"),
        ("evil.example/docker.io/nginx", "evil.example"),
        ("mcr.example:5000/a", "mcr.example:5000"),
        ("docker.io:5000/nginx", "docker.io:5000"),
        ("xdocker.io/nginx", "xdocker.io"),
        ("sub.docker.io/nginx", "sub.docker.io"),
        ("Docker.io/nginx", "Docker.io"),
        ("DOCKER.IO/nginx", "DOCKER.IO"),
        ("Docker/nginx", "Docker"),
        ("localhost/nginx", "localhost"),
        (f"gcr.io/docker.io/nginx:1@{DIGEST}", "gcr.io"),
    ],
)
def test_look_alikes_and_other_registries_are_denied_by_name(image: str, registry: str) -> None:
    verdict = judge([image], [COURSE])

    assert verdict.reason == (
        f'image "{image}" comes from registry {registry}, which is not in the whitelist docker.io, k8s.gcr.io'
    )


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("nginx", True),
        ("docker.io/library/nginx:1", True),
        ("docker.io/library/a/b", True),
        ("docker.io/library2/nginx", False),
        ("docker.io/librarynginx/x", False),
        ("bitnami/library/nginx", False),
        ("gcr.io/team/app", True),
        ("gcr.io/team/app/sub", True),
        ("gcr.io/team/apple", False),
        ("gcr.io/team", False),
    ],
)
def test_a_path_in_the_whitelist_ends_at_a_component(image: str, *, allowed: bool) -> None:
    assert judge([image], [RegistryPolicy.parse("docker.io/library,gcr.io/team/app")]).allowed is allowed


def test_a_denial_by_path_names_the_repository() -> None:
    verdict = judge(["bitnami/nginx"], [RegistryPolicy.parse("docker.io/library")])

    assert verdict.reason == (
        'image "bitnami/nginx" comes from docker.io/bitnami/nginx, which is not in the whitelist docker.io/library'
    )


@pytest.mark.parametrize(
    ("text", "registries"),
    [
        ("docker.io", [Registry(host="docker.io")]),
        (" docker.io , localhost:5000,", [Registry(host="docker.io"), Registry(host="localhost:5000")]),
        ("docker.io/", [Registry(host="docker.io")]),
        ("index.docker.io", [Registry(host="docker.io")]),
        ("localhost/team", [Registry(host="localhost", path="team")]),
        ("[::1]:5000", [Registry(host="[::1]:5000")]),
    ],
)
def test_a_whitelist_is_read_as_the_original_takes_it(text: str, registries: list[Registry]) -> None:
    assert RegistryPolicy.parse(text).whitelist == tuple(registries)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "registry-whitelist-empty"),
        (" , ", "registry-whitelist-empty"),
        ("https://docker.io", "registry-entry"),
        ("docker.io/library/nginx:1", "registry-entry"),
        ("docker.io//", "registry-entry"),
        ("docker.io/Library", "registry-entry"),
        ("library", "registry-entry"),
        ("*.docker.io", "registry-entry"),
        ("docker.io\n,gcr.io\nx", "registry-entry"),
        ("docker.io,-", "registry-entry"),
    ],
)
def test_an_entry_that_could_not_mean_what_it_seems_to_is_refused(text: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        RegistryPolicy.parse(text)

    assert caught.value.code == code


def test_every_offending_image_is_named_once_and_in_order() -> None:
    verdict = judge(["b.example/x", "nginx", "a.example/y", "b.example/x"], [COURSE])

    assert [finding.image for finding in verdict.findings] == ["b.example/x", "a.example/y"]
    assert verdict.reason == (
        'image "b.example/x" comes from registry b.example, which is not in the whitelist docker.io, k8s.gcr.io; '
        'image "a.example/y" comes from registry a.example, which is not in the whitelist docker.io, k8s.gcr.io'
    )


def test_an_unreadable_image_is_denied_even_without_policies_and_shown_so_that_its_trick_is_seen() -> None:
    verdict = judge(["ubuntu\n", "d\u043ecker.io/nginx", ""], [])

    assert [finding.policy for finding in verdict.findings] == ["reference"] * 3
    assert 'image "ubuntu\\n" is not a valid image reference' in verdict.reason
    assert 'image "d\\u043ecker.io/nginx" is not a valid image reference' in verdict.reason
    assert 'image "" is not a valid image reference: it is empty' in verdict.reason


def test_policies_compose_and_each_is_heard() -> None:
    class NoTag:
        name = "tags"

        def review(self, written: str, reference: Reference) -> Finding | None:
            return None if reference.digest else Finding(policy=self.name, image=written, why="has no digest")

    policies: list[Policy] = [COURSE, NoTag()]

    assert judge([f"nginx@{DIGEST}"], policies).allowed
    assert [finding.policy for finding in judge(["gcr.io/x"], policies).findings] == ["registries", "tags"]


def test_no_images_and_no_policies_are_allowed() -> None:
    assert judge([], [COURSE]).allowed
    assert judge(["anything.example/x"], []).allowed
    assert not judge([], [COURSE]).reason
