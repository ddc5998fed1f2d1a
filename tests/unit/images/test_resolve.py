from __future__ import annotations

import asyncio
from itertools import combinations

import pytest

from lab.bouncer.reference import parse
from lab.errors import LabError
from lab.images.endpoint import Endpoint, stored_name
from lab.images.pull_secrets import Credentials
from lab.images.resolve import ImageResolver, InvalidImageName, node_name

DIGEST = f"sha256:{'a' * 64}"
NOWHERE = Endpoint(address="registry.invalid:1")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("httpd:2.4", "docker.io/library/httpd:2.4"),
        ("gcr.io/x/busybox", "gcr.io/x/busybox:latest"),
        (f"httpd@{DIGEST}", f"docker.io/library/httpd@{DIGEST}"),
        (f"httpd:2.4@{DIGEST}", f"docker.io/library/httpd@{DIGEST}"),
    ],
)
def test_a_node_keeps_an_image_under_its_normalised_name(written: str, name: str) -> None:
    assert node_name(parse(written)) == name


def test_a_name_that_is_none_is_refused_in_the_kubelets_words_without_a_request() -> None:
    with pytest.raises(InvalidImageName) as refusal:
        asyncio.run(ImageResolver(NOWHERE).resolve("Nginx/UPPER"))

    assert refusal.value.reason == "InvalidImageName"
    assert refusal.value.status_message.startswith(
        'Failed to apply default image tag "Nginx/UPPER": couldn\'t parse image name "Nginx/UPPER": '
        "invalid reference format: "
    )


def test_a_resolver_that_is_not_open_says_so() -> None:
    with pytest.raises(LabError) as refusal:
        asyncio.run(ImageResolver(NOWHERE).resolve("nginx"))

    assert refusal.value.code == "resolver-closed"


def test_two_registries_never_share_a_repository() -> None:
    registries = ["docker.io", "docker.io.evil.example", "docker.iomalicious", "mcr.example", "mcr.example:5000"]

    assert all(stored_name(one, "x") != stored_name(other, "x") for one, other in combinations(registries, 2))


def test_a_port_and_the_case_of_a_host_give_a_name_that_the_grammar_allows() -> None:
    assert stored_name("MCR.Example:5000", "team/app") == "mcr.example__5000/team/app"
    assert parse(f"localhost/{stored_name('MCR.Example:5000', 'team/app')}").path == "mcr.example__5000/team/app"


def test_a_password_is_never_shown() -> None:
    assert "secret-word" not in repr(Credentials(username="course", password="secret-word"))
