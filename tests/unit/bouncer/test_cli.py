"""Options and environment variables, as kube-image-bouncer has them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lab.bouncer import server
from lab.bouncer.certificates import CertificateFiles
from lab.bouncer.cli import bouncer_command
from lab.bouncer.policy import DigestRequired, RegistryPolicy
from lab.bouncer.server import Settings
from lab.errors import InputError

NO_ENVIRONMENT: dict[str, str | None] = {
    f"BOUNCER_{name}": None
    for name in (
        "CERTIFICATE",
        "KEY",
        "PORT",
        "ADDRESS",
        "REGISTRY_WHITELIST",
        "POLICY",
        "CLIENT_CA",
        "REVIEW_LOG",
        "DEBUG",
    )
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the command would have served with."""
    started: list[Settings] = []

    def run(settings: Settings) -> int:
        started.append(settings)
        return 0

    monkeypatch.setattr(server, "run", run)
    return started


def call(*arguments: str, **environment: str) -> int:
    result = CliRunner(env=NO_ENVIRONMENT | environment).invoke(bouncer_command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code


def test_the_arguments_of_the_course_are_taken_as_they_stand(started: list[Settings]) -> None:
    tls = "/etc/admission-controller/tls"
    code = call(f"--cert={tls}/tls.crt", f"--key={tls}/tls.key", "--debug", "--registry-whitelist=docker.io,k8s.gcr.io")

    assert code == 0
    assert started == [
        Settings(
            port=1323,
            certificates=CertificateFiles(certificate=Path(f"{tls}/tls.crt"), key=Path(f"{tls}/tls.key")),
            policies=(RegistryPolicy.parse("docker.io,k8s.gcr.io"),),
            debug=True,
        )
    ]


def test_the_environment_of_the_original_is_read(started: list[Settings]) -> None:
    call(
        BOUNCER_CERTIFICATE="a.crt",
        BOUNCER_KEY="a.key",
        BOUNCER_PORT="8443",
        BOUNCER_REGISTRY_WHITELIST="gcr.io",
        BOUNCER_DEBUG="true",
        BOUNCER_CLIENT_CA="ca.crt",
    )

    assert started == [
        Settings(
            port=8443,
            certificates=CertificateFiles(certificate=Path("a.crt"), key=Path("a.key"), client_ca=Path("ca.crt")),
            policies=(RegistryPolicy.parse("gcr.io"),),
            debug=True,
        )
    ]


def test_without_options_it_is_plain_http_for_all_registries_as_the_original(started: list[Settings]) -> None:
    call()

    assert started == [Settings(port=1323)]


def test_the_variable_that_kubernetes_sets_for_a_service_called_bouncer_is_not_taken_for_a_port(
    started: list[Settings],
) -> None:
    call(BOUNCER_PORT="tcp://10.96.0.7:443")

    assert started[0].port == 1323


def test_a_policy_file_and_a_whitelist_hold_together(started: list[Settings], tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("apiVersion: bouncer.supply-chain/v1alpha1\nkind: ImagePolicy\ndigests: {required: true}\n")

    call("--registry-whitelist=docker.io", f"--policy={file}")
    call(BOUNCER_POLICY=str(file))

    assert started[0].current_policies() == (RegistryPolicy.parse("docker.io"), DigestRequired())
    assert started[1].current_policies() == (DigestRequired(),)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1.5", "\u0661", "tcp://10.96.0.7:443"])
def test_a_bad_port_is_bad_usage(port: str, started: list[Settings]) -> None:
    assert call(f"--port={port}") == 2
    assert started == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--cert=a.crt"], "certificate-incomplete"),
        (["--key=a.key"], "certificate-incomplete"),
        (["--client-ca=ca.crt"], "client-ca-without-tls"),
        (["--registry-whitelist="], "registry-whitelist-empty"),
        (["--registry-whitelist=https://docker.io"], "registry-entry"),
        (["--policy=/nowhere/policy.yaml"], "policy-unreadable"),
    ],
)
def test_options_that_make_no_sense_together_are_refused_before_anything_starts(
    arguments: list[str], code: str, started: list[Settings]
) -> None:
    with pytest.raises(InputError) as caught:
        call(*arguments)

    assert caught.value.code == code
    assert started == []


def test_it_is_a_command_that_the_lab_can_register() -> None:
    assert isinstance(bouncer_command, click.Command)
    assert bouncer_command.name == "bouncer"
