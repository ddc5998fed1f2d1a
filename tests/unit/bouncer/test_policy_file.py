"""The policy file: what it admits, what it refuses to be, and how it is reloaded."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bouncer.policy import judge
from lab.bouncer.policy_file import PolicyFile, json_schema, parse_policy
from lab.errors import InputError

HEAD = "apiVersion: bouncer.supply-chain/v1alpha1\nkind: ImagePolicy\n"
ALLOWED = "docker.io/library, registry.example.com:5000/team/app, k8s.gcr.io"
REGISTRIES = f"registries:\n  allowed: [{ALLOWED}]\n"
NO_LATEST = "tags:\n  denied: [latest]\n"
DIGEST = "sha256:" + "ab" * 32
DOCS = Path(__file__).parents[3] / "docs"


def reason(policy: str, *images: str) -> str:
    return judge(images, parse_policy(HEAD + policy, file="policy.yaml")).reason


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "library/nginx:1.29",
        "docker.io/nginx",
        "index.docker.io/library/nginx",
        f"docker.io/library/nginx@{DIGEST}",
        "registry.example.com:5000/team/app",
        "registry.example.com:5000/team/app/worker:v1",
        "k8s.gcr.io/a/b/c",
    ],
)
def test_images_below_an_allowed_host_and_path_are_allowed(image: str) -> None:
    assert reason(REGISTRIES, image) == ""


@pytest.mark.parametrize(
    ("image", "origin"),
    [
        ("docker.io/librarything/nginx", "docker.io/librarything/nginx"),
        ("docker.io/library-thing/nginx", "docker.io/library-thing/nginx"),
        ("docker.io/library.evil/nginx", "docker.io/library.evil/nginx"),
        ("docker.io/evil/library/nginx", "docker.io/evil/library/nginx"),
        ("docker.io.evil.example/library/nginx", "registry docker.io.evil.example"),
        ("docker.iomalicious/library/nginx", "registry docker.iomalicious"),
        ("evil.example/docker.io/library/nginx", "registry evil.example"),
        ("xdocker.io/library/nginx", "registry xdocker.io"),
        ("docker.io:5000/library/nginx", "registry docker.io:5000"),
        ("Docker.io/library/nginx", "registry Docker.io"),
        ("registry.example.com/team/app", "registry registry.example.com"),
        ("registry.example.com:5000/team/application", "registry.example.com:5000/team/application"),
        ("registry.example.com:5000/team", "registry.example.com:5000/team"),
        ("registry.example.com:50000/team/app", "registry registry.example.com:50000"),
        ("localhost/library/nginx", "registry localhost"),
    ],
)
def test_a_path_is_compared_by_components_and_a_host_as_a_whole(image: str, origin: str) -> None:
    assert reason(REGISTRIES, image) == (
        f'image "{image}" comes from {origin}, which is not in registries.allowed: {ALLOWED}'
    )


def test_a_single_name_on_docker_hub_lies_in_library_whatever_it_begins_with() -> None:
    assert reason(REGISTRIES, "docker.io/librarything") == ""  # docker.io/library/librarything is what is pulled
    assert "comes from docker.io/librarything/x," in reason(REGISTRIES, "librarything/x")


@pytest.mark.parametrize(
    "image",
    [
        "ubuntu\n",
        "docker.io/library/nginx ",
        "docker.io/library/../evil/nginx",
        "docker.io//library/nginx",
        "docker.io/library/NGINX",
        "docker.io\\library/nginx",
        "docker.io/library/nginx@sha256:abc",
        "d\u043ecker.io/library/nginx",  # a Cyrillic o
        "docker.io/library/nginx:latest:1",
        "https://docker.io/library/nginx",
        "user@docker.io/library/nginx",
        "",
    ],
)
def test_what_cannot_be_read_is_denied_by_every_policy(image: str) -> None:
    for policy in (REGISTRIES, NO_LATEST, "digests:\n  required: true\n"):
        assert "is not a valid image reference" in reason(policy, image)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("nginx", "has the tag latest, because it names no other, which tags.denied forbids"),
        ("nginx:latest", "has the tag latest, which tags.denied forbids"),
        (f"nginx:latest@{DIGEST}", "has the tag latest, which tags.denied forbids"),
        ("localhost:5000/nginx", "has the tag latest, because it names no other, which tags.denied forbids"),
    ],
)
def test_a_denied_tag_is_found_written_and_implied(image: str, why: str) -> None:
    assert reason(NO_LATEST, image) == f'image "{image}" {why}'


@pytest.mark.parametrize("image", ["nginx:1.29", "nginx:Latest", "nginx:latest-alpine", f"nginx@{DIGEST}", "latest:1"])
def test_other_tags_are_not_the_denied_one(image: str) -> None:
    assert reason(NO_LATEST, image) == ""


def test_a_required_tag_has_to_be_written_and_a_digest_is_none() -> None:
    policy = "tags:\n  required: true\n"

    assert reason(policy, "nginx:1.29", f"nginx:1.29@{DIGEST}", "nginx:latest") == ""
    for image in ("nginx", f"nginx@{DIGEST}", "localhost:5000/nginx"):
        assert reason(policy, image) == f'image "{image}" has no tag, and tags.required asks for one'


def test_a_required_digest_is_one_with_a_tag_or_without() -> None:
    policy = "digests:\n  required: true\n"

    assert reason(policy, f"nginx@{DIGEST}", f"nginx:1.29@{DIGEST}") == ""
    for image in ("nginx", "nginx:1.29", "nginx:sha256", f"nginx:{'a' * 64}"):
        assert reason(policy, image) == f'image "{image}" has no digest, and digests.required asks for one'


def test_all_rules_compose_and_every_offending_image_is_named_with_each_rule() -> None:
    policy = REGISTRIES + NO_LATEST + "digests:\n  required: true\n"
    good = f"docker.io/library/nginx:1.29@{DIGEST}"

    assert reason(policy, good) == ""
    assert reason(policy, good, "gcr.io/x/busybox", "nginx:1.29").split("; ") == [
        f'image "gcr.io/x/busybox" comes from registry gcr.io, which is not in registries.allowed: {ALLOWED}',
        'image "gcr.io/x/busybox" has the tag latest, because it names no other, which tags.denied forbids',
        'image "gcr.io/x/busybox" has no digest, and digests.required asks for one',
        'image "nginx:1.29" has no digest, and digests.required asks for one',
    ]


def test_all_faults_are_told_at_once_with_line_and_remedy() -> None:
    text = """\
apiVersion: bouncer.supply-chain/v1
kind: ImagePolicy
registries:
  allowed:
    - docker.io/library
    - https://gcr.io
    - library
tags:
  denied: [":latest"]
  denied: [latest]
digests:
  require: true
tag: {}
"""
    with pytest.raises(InputError) as caught:
        parse_policy(text, file="policy.yaml")

    message = caught.value.message
    assert caught.value.code == "invalid-file"
    for line in (
        "policy.yaml:1: apiVersion: 'bouncer.supply-chain/v1' is not a value of this key; write 'bouncer.supply-chain/",
        'policy.yaml:6: registries.allowed[1]: the registry entry "https://gcr.io" is not a registry host; write HOST',
        'policy.yaml:7: registries.allowed[2]: the registry entry "library" names no registry',
        'policy.yaml:9: tags.denied[0]: ":latest" is not a tag; ',
        "policy.yaml:10: tags.denied: the key is there twice, first on line 9; remove one of them",
        "policy.yaml:12: digests.require: unknown key 'require'; did you mean required?",
        "policy.yaml:11: digests: the key 'required' is missing; write required: and its value",
        "policy.yaml:13: tag: unknown key 'tag'; did you mean tags?",
    ):
        assert line in message


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "tags:\n  required: false\n",
        "digests:\n  required: false\n",
        "registries:\n",
        "registries: {}\n",
        "registries:\n  allowed: []\n",
        "registries:\n  allowed: docker.io\n",
        "registries:\n  allowed: [5000]\n",
        "registries:\n  allowed: ['docker.io,gcr.io']\n",
        "registries:\n  allowed: ['*']\n",
        "registries:\n  allowed: ['*.gcr.io']\n",
        "registries:\n  allowed: [docker.io/library/nginx:1.29]\n",
        "tags:\n",
        "tags: {}\n",
        "tags:\n  denied:\n",
        "tags:\n  denied: []\n",
        "tags:\n  required: 'true'\n",
        "digests: true\n",
        "signatures: {}\n",
        "- a list\n",
    ],
)
def test_a_policy_that_would_allow_everything_or_not_mean_what_it_seems_is_refused(policy: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_policy(HEAD + policy, file="policy.yaml")

    assert caught.value.code == "invalid-file"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    for name in ("missing", "binary"):
        with pytest.raises(InputError) as caught:
            PolicyFile(tmp_path / name)
        assert caught.value.code == "policy-unreadable"


def test_a_changed_file_takes_effect_and_a_bad_one_keeps_the_old_policy_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "policy.yaml"
    file.write_text(HEAD + NO_LATEST)
    policy = PolicyFile(file)

    file.write_text(HEAD + "digests:\n  required: true\n")
    policy.refresh()
    assert judge(["nginx:1.29"], policy.current).reason.endswith("digests.required asks for one")

    file.write_text(HEAD)
    policy.refresh()
    policy.refresh()
    file.unlink()
    policy.refresh()
    policy.refresh()
    assert not judge(["nginx:1.29"], policy.current).allowed

    file.write_text(HEAD + REGISTRIES)
    policy.refresh()
    policy.refresh()
    assert judge(["nginx:1.29"], policy.current).allowed
    assert [record.message for record in caplog.records] == [
        "policy-reloaded",
        "policy-kept",
        "policy-kept",
        "policy-reloaded",
    ]


def test_the_published_schema_is_the_one_that_the_reader_uses() -> None:
    hint = "python -m lab.bouncer.policy_file > docs/image-policy.schema.json"
    assert (DOCS / "image-policy.schema.json").read_text(encoding="utf-8") == json_schema(), hint


def test_the_example_in_the_docs_is_a_policy() -> None:
    example = re.search(r"```yaml\n(apiVersion: bouncer.*?)```", (DOCS / "bouncer.md").read_text(), re.DOTALL)
    assert example
    assert len(parse_policy(example[1], file="bouncer.md")) == 4


def test_a_bouncer_without_a_policy_file_imports_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys, lab.bouncer.cli, lab.bouncer.server; print([m for m in ('pydantic', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
