"""The files that a lab boots with: complete, open, and private where they must be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml
from cryptography import x509

from lab.admission.boot import BOUNCER_NAMES, BootFiles, audit_policy_yaml, write_boot_files
from lab.admission.configuration import ImagePolicyConfig
from lab.admission.kubeconf import WebhookKubeconfig

if TYPE_CHECKING:
    from pathlib import Path


def test_every_file_that_the_kubeconfig_names_is_there(tmp_path: Path) -> None:
    write_boot_files(tmp_path)
    kubeconfig = (tmp_path / "admission/kubeconf").read_text()
    named = re.findall(r"/etc/kubernetes/admission/(\S+)", kubeconfig)
    assert len(named) == 3
    assert all((tmp_path / "admission" / name).is_file() for name in named)


def test_it_boots_open(tmp_path: Path) -> None:
    write_boot_files(tmp_path)
    config = yaml.safe_load((tmp_path / "admission/admission_config.yaml").read_text())
    block = config["plugins"][0]["configuration"]["imagePolicy"]
    assert block["defaultAllow"] is True
    assert block["kubeConfigFile"] == "/etc/kubernetes/admission/kubeconf"


def test_other_settings_can_be_given(tmp_path: Path) -> None:
    write_boot_files(
        tmp_path,
        image_policy=ImagePolicyConfig(deny_ttl_s=1),
        webhook=WebhookKubeconfig(server="https://external-service:1234/check-image"),
    )
    assert "denyTTL: 1\n" in (tmp_path / "admission/admission_config.yaml").read_text()
    assert "https://external-service:1234/check-image" in (tmp_path / "admission/kubeconf").read_text()


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    write_boot_files(tmp_path)
    keys = [*tmp_path.rglob("*.key"), *tmp_path.rglob("*-key.pem")]
    assert len(keys) == 9
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


def test_the_api_servers_directory_holds_no_key_but_its_own(tmp_path: Path) -> None:
    files = write_boot_files(tmp_path)
    held = b"".join(path.read_bytes() for path in (tmp_path / "admission").iterdir())
    assert held.count(b"PRIVATE KEY-----") == 2
    assert files.api_server_client.key_pem in held


def test_writing_again_makes_fresh_keys(tmp_path: Path) -> None:
    first, second = write_boot_files(tmp_path), write_boot_files(tmp_path)
    assert first.authority.key_pem != second.authority.key_pem
    assert (tmp_path / "admission/external-cert.pem").read_bytes() == second.authority.certificate_pem


def test_the_bouncers_certificate_has_every_name_by_which_it_is_reached(tmp_path: Path) -> None:
    files = write_boot_files(tmp_path)
    names = x509.load_pem_x509_certificate(files.bouncer_server.certificate_pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    found = names.value.get_values_for_type(x509.DNSName)
    found += [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)]
    assert sorted(found) == sorted(BOUNCER_NAMES)


def test_who_signed_what(tmp_path: Path) -> None:
    files: BootFiles = write_boot_files(tmp_path)
    authority = x509.load_pem_x509_certificate(files.authority.certificate_pem)
    foreign = x509.load_pem_x509_certificate(files.faulty.foreign_authority.certificate_pem)
    for pair in (files.bouncer_server, files.api_server_client, files.external_service, files.faulty.expired):
        x509.load_pem_x509_certificate(pair.certificate_pem).verify_directly_issued_by(authority)
    x509.load_pem_x509_certificate(files.faulty.foreign.certificate_pem).verify_directly_issued_by(foreign)


def test_the_scenarios_find_their_certificates_by_name(tmp_path: Path) -> None:
    files = write_boot_files(tmp_path)
    directory = tmp_path / "certificates"
    assert sorted(path.stem for path in directory.glob("*.crt")) == sorted(
        path.stem for path in directory.glob("*.key")
    )
    assert (directory / "expired.crt").read_bytes() == files.faulty.expired.certificate_pem
    assert (directory / "image-bouncer-webhook.key").read_bytes() == files.bouncer_server.key_pem


def test_the_audit_policy_keeps_what_holds_images_and_never_a_secret() -> None:
    policy = yaml.safe_load(audit_policy_yaml())
    assert policy["omitStages"] == ["RequestReceived"]
    levels = {
        resource: rule["level"]
        for rule in reversed(policy["rules"])
        for group in rule.get("resources", [])
        for resource in group.get("resources", [])
    }
    kept = ("pods", "pods/ephemeralcontainers", "deployments", "replicasets", "jobs", "cronjobs", "namespaces")
    assert {levels[resource] for resource in kept} == {"Metadata"}
    assert {levels[resource] for resource in ("secrets", "serviceaccounts/token", "leases", "events")} == {"None"}
    assert policy["rules"][0] == {"level": "None", "verbs": ["get", "list", "watch"]}
    assert policy["rules"][-1] == {"level": "None"}
