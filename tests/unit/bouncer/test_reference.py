"""The distribution grammar, Docker's normalisation, and what must be refused."""

from __future__ import annotations

import time

import pytest

from lab.bouncer.reference import PATH_MAX, parse
from lab.errors import InputError

SHA256 = "sha256:" + "0f" * 32
SHA512 = "sha512:" + "0f" * 64


@pytest.mark.parametrize(
    ("written", "domain", "path", "tag", "digest"),
    [
        ("nginx", "docker.io", "library/nginx", None, None),
        ("nginx:1.27", "docker.io", "library/nginx", "1.27", None),
        ("bitnami/nginx", "docker.io", "bitnami/nginx", None, None),
        ("docker.io/nginx", "docker.io", "library/nginx", None, None),
        ("docker.io/library/nginx", "docker.io", "library/nginx", None, None),
        ("docker.io/library/a/b", "docker.io", "library/a/b", None, None),
        ("index.docker.io/nginx", "docker.io", "library/nginx", None, None),
        ("index.docker.io/bitnami/nginx:1", "docker.io", "bitnami/nginx", "1", None),
        ("localhost/app", "localhost", "app", None, None),
        ("localhost", "docker.io", "library/localhost", None, None),
        ("docker.io", "docker.io", "library/docker.io", None, None),
        ("localhost:5000", "docker.io", "library/localhost", "5000", None),
        ("localhost:5000/app", "localhost:5000", "app", None, None),
        ("registry:5000/team/app:v1", "registry:5000", "team/app", "v1", None),
        ("192.168.0.1:80", "docker.io", "library/192.168.0.1", "80", None),
        ("nginx:1/2", "nginx:1", "2", None, None),
        ("192.168.0.1:80/app:90", "192.168.0.1:80", "app", "90", None),
        ("[2001:db8::1]/app", "[2001:db8::1]", "app", None, None),
        ("[2001:db8::1]:5000/app:v1", "[2001:db8::1]:5000", "app", "v1", None),
        ("registry.example.com/a/b/c", "registry.example.com", "a/b/c", None, None),
        ("xn--n3h.example/app", "xn--n3h.example", "app", None, None),
        ("GCR.IO/x/app", "GCR.IO", "x/app", None, None),
        ("Docker.io/library/nginx", "Docker.io", "library/nginx", None, None),
        ("Team/app", "Team", "app", None, None),
        ("app:UPPER_case.tag-1", "docker.io", "library/app", "UPPER_case.tag-1", None),
        ("app:_under", "docker.io", "library/app", "_under", None),
        ("app:" + "t" * 128, "docker.io", "library/app", "t" * 128, None),
        (f"nginx@{SHA256}", "docker.io", "library/nginx", None, SHA256),
        (f"nginx:1.27@{SHA256}", "docker.io", "library/nginx", "1.27", SHA256),
        (f"gcr.io/x/app:v1@{SHA512}", "gcr.io", "x/app", "v1", SHA512),
        ("docker.io.evil.example/x", "docker.io.evil.example", "x", None, None),
        ("docker.iomalicious/x", "docker.iomalicious", "x", None, None),
        ("docker.io:443/library/nginx", "docker.io:443", "library/nginx", None, None),
        ("mcr.example:5000/a", "mcr.example:5000", "a", None, None),
        ("a/docker.io/b", "docker.io", "a/docker.io/b", None, None),
        ("a__b/c_d/e--f/g.h", "docker.io", "a__b/c_d/e--f/g.h", None, None),
        ("docker.io/" + "ab" * 32, "docker.io", "library/" + "ab" * 32, None, None),
        ("a" * 63, "docker.io", "library/" + "a" * 63, None, None),
    ],
)
def test_a_valid_reference_is_taken_apart(
    written: str, domain: str, path: str, tag: str | None, digest: str | None
) -> None:
    reference = parse(written)

    assert (reference.domain, reference.path, reference.tag, reference.digest) == (domain, path, tag, digest)


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "ubuntu\n",
        "ubuntu:22.04\n",
        f"ubuntu@{SHA256}\n",
        "docker.io/\nubuntu",
        " ubuntu",
        "ubuntu ",
        ":tag",
        "nginx:",
        "nginx@",
        "nginx:@",
        f"@{SHA256}",
        f"nginx:@{SHA256}",
        f"nginx@{SHA256}:tag",
        f"nginx@{SHA256}@{SHA256}",
        "nginx:.dot",
        "nginx:-dash",
        "nginx:" + "t" * 129,
        "nginx:t\u00e4g",
        "nginx:1:2",
        "Nginx",
        "docker/Nginx",
        "docker.io/library/Nginx",
        "registry:5000/Upper/app",
        "-nginx",
        "nginx-",
        "-team/app",
        "team-/app",
        "-docker.io/app",
        "docker.io-/app",
        "a..b/app",
        "a.example/b..c",
        "a.example/b___c",
        "a.example/b_.c",
        "_a/_b",
        "team//app",
        "/app",
        "team/",
        "docker.io/",
        "https://docker.io/nginx",
        "a.example:port/app",
        "a.example:/app",
        "[2001:db8::1]",
        "[2001:db8::1]:5000",
        "2001:db8::1/app",
        "[fe80::1%eth0]:5000/app",
        "[::ffff:192.0.2.1]/app",
        "ab" * 32,
        "d\u043ecker.io/nginx",  # Cyrillic o
        "docker\uff0eio/nginx",  # full-width dot
        "nginx\x00",
        "nginx@sha256:abc",
        "nginx@sha256:" + "0F" * 32,
        "nginx@sha256:" + "0f" * 33,
        "nginx@md5:" + "0f" * 16,
        "nginx@sha256",
        "nginx@sha512:" + "0f" * 32,
    ],
)
def test_what_the_grammar_does_not_allow_is_refused(written: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(written)

    assert caught.value.code == "image-reference"
    assert caught.value.hint


def test_a_host_with_an_underscore_is_refused_although_upstream_reads_it_as_a_path_without_a_registry() -> None:
    with pytest.raises(InputError, match="is not a registry host"):
        parse("foo_bar.example/app")


@pytest.mark.parametrize("prefix", ["", "docker.io/library/", "registry.example/"])
def test_the_path_has_at_most_255_characters(prefix: str) -> None:
    namespace = 0 if prefix == "registry.example/" else len("library/")
    longest = "a" * (PATH_MAX - namespace)

    assert len(parse(f"{prefix}{longest}:v1").path) == PATH_MAX
    with pytest.raises(InputError, match="more than 255"):
        parse(f"{prefix}{longest}a:v1")


@pytest.mark.parametrize(
    ("written", "normalised", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx"),
        ("nginx:latest", "docker.io/library/nginx:latest", "nginx:latest"),
        ("docker.io/library/nginx:1", "docker.io/library/nginx:1", "nginx:1"),
        ("index.docker.io/bitnami/nginx", "docker.io/bitnami/nginx:latest", "bitnami/nginx"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b"),
        ("gcr.io/x/app", "gcr.io/x/app:latest", "gcr.io/x/app"),
        ("localhost:5000/app:2", "localhost:5000/app:2", "localhost:5000/app:2"),
        (f"nginx@{SHA256}", f"docker.io/library/nginx@{SHA256}", f"nginx@{SHA256}"),
        (f"nginx:1@{SHA256}", f"docker.io/library/nginx:1@{SHA256}", f"nginx:1@{SHA256}"),
    ],
)
def test_a_reference_is_spelt_out_and_shortened(written: str, normalised: str, familiar: str) -> None:
    reference = parse(written)

    assert (reference.normalised, reference.familiar) == (normalised, familiar)
    assert parse(reference.normalised).name == reference.name
    assert parse(reference.familiar) == reference


@pytest.mark.parametrize(
    ("written", "implicit"), [("nginx", True), ("nginx:latest", False), (f"nginx@{SHA256}", False), ("a.b/c:1", False)]
)
def test_an_implicit_tag_is_told_from_a_written_one(written: str, *, implicit: bool) -> None:
    assert parse(written).tag_is_implicit is implicit


@pytest.mark.parametrize(
    "hostile",
    ["a-" * 250_000, "a." * 250_000 + "/x", "a" * 500_000 + "!/x.y", "a.b/" + "a-" * 250_000, "a:" + "." * 500_000],
    ids=["hyphens", "dots", "letters", "path", "tag"],
)
def test_a_hostile_reference_is_refused_in_linear_time_and_cut_in_the_message(hostile: str) -> None:
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        parse(hostile)

    assert time.process_time() - started < 2.0
    assert len(caught.value.message) < 1000
