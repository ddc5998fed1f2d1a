"""Which credentials of a Pod's imagePullSecrets are for an image: the kubelet's rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lab.bouncer.reference import parse
from lab.images.pull_secrets import Credentials, credentials_for

IMAGE = "private-registry.example/team/app:1.0"
ENTRY = {"username": "candidate", "password": "course"}
GIVEN = Credentials(username="candidate", password="course")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(auths: dict[str, Any]) -> dict[str, Any]:
    """What ``kubectl create secret docker-registry`` makes."""
    data = {".dockerconfigjson": encoded(json.dumps({"auths": auths}))}
    return {"metadata": {"name": "login"}, "type": "kubernetes.io/dockerconfigjson", "data": data}


@pytest.mark.parametrize(
    ("registry", "image"),
    [
        ("private-registry.example", IMAGE),
        ("https://private-registry.example", IMAGE),
        ("https://private-registry.example/v1/", IMAGE),
        ("private-registry.example/team", IMAGE),
        ("*.example", IMAGE),
        ("https://index.docker.io/v1/", "nginx"),
        ("docker.io", "nginx"),
        ("mcr.example:5000", "mcr.example:5000/team/app"),
    ],
)
def test_an_entry_is_for_the_images_of_its_registry(registry: str, image: str) -> None:
    assert credentials_for(parse(image), [secret({registry: ENTRY})]) == (GIVEN,)


@pytest.mark.parametrize(
    "registry",
    [
        "docker.io",
        "registry.example",
        "private-registry.example:5000",
        "private-registry.example/other",
        "*",
        "example",
    ],
)
def test_an_entry_is_for_no_other_registrys_images(registry: str) -> None:
    assert credentials_for(parse(IMAGE), [secret({registry: ENTRY})]) == ()


def test_auth_goes_before_name_and_password() -> None:
    auths = {"private-registry.example": {"auth": encoded("candidate:a:b"), "username": "x", "password": "y"}}

    assert credentials_for(parse(IMAGE), [secret(auths)]) == (Credentials(username="candidate", password="a:b"),)


def test_the_longest_registry_is_tried_first_over_all_secrets() -> None:
    other = {"username": "other", "password": "course"}
    secrets = [secret({"private-registry.example": other}), secret({"private-registry.example/team": ENTRY})]

    assert [one.username for one in credentials_for(parse(IMAGE), secrets)] == ["candidate", "other"]


def test_the_older_format_is_read_too() -> None:
    data = {".dockercfg": encoded(json.dumps({"private-registry.example": ENTRY}))}
    old = {"metadata": {"name": "login"}, "type": "kubernetes.io/dockercfg", "data": data}

    assert credentials_for(parse(IMAGE), [old]) == (GIVEN,)


def test_a_secret_of_another_type_is_passed_over() -> None:
    assert credentials_for(parse(IMAGE), [{**secret({"private-registry.example": ENTRY}), "type": "Opaque"}]) == ()


@pytest.mark.parametrize(
    "auths",
    [
        {"private-registry.example": {"auth": "no base64!"}},
        {"private-registry.example": {"auth": encoded("no colon")}},
        {"private-registry.example": {"username": "candidate"}},
        {"private-registry.example": "candidate:course"},
    ],
)
def test_a_secret_that_cannot_be_read_is_named(auths: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="login"):
        credentials_for(parse(IMAGE), [secret(auths)])
