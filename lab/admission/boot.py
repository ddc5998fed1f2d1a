"""Writes the files that a lab's API server boots with: the host side of the cluster definition's extraMounts.

Everything lies below the lab's own directory, under the relative paths that ``kind-config.yaml`` names, so that kind
and the embedded backend mount the same files. It boots open (``defaultAllow: true``): fail-closed with no webhook
running yet would deny every Pod of the system, the webhook's own included.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from lab.admission.certificates import CertificateAuthority, KeyPair, Validity
from lab.admission.configuration import ImagePolicyConfig, admission_configuration_yaml
from lab.admission.kubeconf import WebhookKubeconfig, webhook_kubeconfig_yaml

if TYPE_CHECKING:
    from pathlib import Path

BOUNCER_NAMES = (
    "image-bouncer-webhook",
    "image-bouncer-webhook.default.svc",
    "image-bouncer-webhook.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
)
"""Every name by which the bouncer is reached: its NodePort, its Service, and from the machine it runs on."""

EXTERNAL_SERVICE_NAMES = ("external-service",)
"""The name of the webhook in the course's kubeconf, which no resolver knows until a scenario says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyPairs:
    """Server certificates that a careful client refuses, each for one reason.

    Attributes:
        expired: right in all but its date.
        without_names: the name is in its subject only.
        other_name: it holds for another name than the bouncer's.
        foreign: issued by ``foreign_authority``, which the API server does not trust.
        foreign_authority: that CA.
    """

    expired: KeyPair
    without_names: KeyPair
    other_name: KeyPair
    foreign: KeyPair
    foreign_authority: KeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """The certificates behind the files that were written.

    Attributes:
        authority: the bouncer's CA; its certificate is ``external-cert.pem``.
        api_server_client: what the API server shows to the bouncer.
        bouncer_server: the bouncer's own, for the Secret ``tls-image-bouncer-webhook``.
        external_service: the same for the course's ``external-service``.
        faulty: what the break-fix scenarios put in its place.
    """

    authority: KeyPair
    api_server_client: KeyPair
    bouncer_server: KeyPair
    external_service: KeyPair
    faulty: FaultyPairs


def make_certificates() -> BootFiles:
    """Fresh keys and certificates for one lab."""
    authority = CertificateAuthority.create("image-bouncer-webhook-ca")
    foreign = CertificateAuthority.create("some-other-ca")
    return BootFiles(
        authority=authority.pair,
        api_server_client=authority.issue_client(common_name="kube-apiserver-admission"),
        bouncer_server=authority.issue_server(names=BOUNCER_NAMES),
        external_service=authority.issue_server(names=EXTERNAL_SERVICE_NAMES),
        faulty=FaultyPairs(
            expired=authority.issue_server(names=BOUNCER_NAMES, validity=Validity.expired()),
            without_names=authority.issue_server(names=BOUNCER_NAMES, with_subject_alternative_names=False),
            other_name=authority.issue_server(names=["some-other-webhook"]),
            foreign=foreign.issue_server(names=BOUNCER_NAMES),
            foreign_authority=foreign.pair,
        ),
    )


def write_boot_files(
    lab_dir: Path,
    *,
    image_policy: ImagePolicyConfig | None = None,
    webhook: WebhookKubeconfig | None = None,
) -> BootFiles:
    """Write ``admission/``, ``audit/`` and ``certificates/`` below a lab's directory, with fresh keys.

    Args:
        lab_dir: the lab's directory; made if it is not there.
        image_policy: the ``imagePolicy`` block; by default the course's, but open.
        webhook: the kubeconfig of the webhook; by default the bouncer's NodePort.

    Returns:
        The certificates. Of these, ``admission/`` holds only what the API server needs; ``certificates/`` holds all
        the others for the scenarios, as NAME.crt and NAME.key.
    """
    files = make_certificates()
    admission = lab_dir / "admission"
    _write(
        admission / "admission_config.yaml",
        admission_configuration_yaml(image_policy or ImagePolicyConfig(default_allow=True)).encode(),
    )
    _write(admission / "kubeconf", webhook_kubeconfig_yaml(webhook or WebhookKubeconfig()).encode())
    _write(admission / "external-cert.pem", files.authority.certificate_pem)
    _write(admission / "apiserver-client-cert.pem", files.api_server_client.certificate_pem)
    _write(admission / "apiserver-client-key.pem", files.api_server_client.key_pem, mode=0o600)
    _write(lab_dir / "audit" / "policy.yaml", audit_policy_yaml().encode())
    for name, pair in _scenario_pairs(files).items():
        _write(lab_dir / "certificates" / f"{name}.crt", pair.certificate_pem)
        _write(lab_dir / "certificates" / f"{name}.key", pair.key_pem, mode=0o600)
    return files


def audit_policy_yaml() -> str:
    """The audit policy: admission annotations of what holds images, and little else."""
    return resources.files("lab.admission").joinpath("audit_policy.yaml").read_text(encoding="utf-8")


def _scenario_pairs(files: BootFiles) -> dict[str, KeyPair]:
    return {
        "ca": files.authority,
        "image-bouncer-webhook": files.bouncer_server,
        "external-service": files.external_service,
        "expired": files.faulty.expired,
        "without-names": files.faulty.without_names,
        "other-name": files.faulty.other_name,
        "foreign": files.faulty.foreign,
        "foreign-ca": files.faulty.foreign_authority,
    }


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A key is never readable by others, not even between its creation and a later chmod.
    path.unlink(missing_ok=True)
    path.touch(mode=mode, exist_ok=False)
    path.write_bytes(content)
