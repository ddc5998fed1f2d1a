"""Writes the kubeconfig by which the API server finds and trusts the image policy webhook.

It is a kubeconfig read from the other side: the cluster is the webhook, the user is the API server. Without contexts
and a current context the API server does not start (``invalid configuration: no configuration has been provided``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lab import strict_yaml
from lab.admission.configuration import ADMISSION_DIR
from lab.errors import InputError

BOUNCER_URL = "https://image-bouncer-webhook:30080/check-image"
"""The bouncer's NodePort by the name in the node's ``/etc/hosts`` and in its certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookKubeconfig:
    """What the API server needs to call the webhook; paths as its container sees them.

    Attributes:
        server: URL of the webhook, path included; the API server insists on https.
        certificate_authority: the CA (or the certificate itself) that the webhook's certificate must chain to.
        client_certificate: what the API server shows to the webhook.
        client_key: its key.

    Raises:
        InputError: the URL is not https or names no host, or a path is not absolute.
    """

    server: str = BOUNCER_URL
    certificate_authority: str = f"{ADMISSION_DIR}/external-cert.pem"
    client_certificate: str = f"{ADMISSION_DIR}/apiserver-client-cert.pem"
    client_key: str = f"{ADMISSION_DIR}/apiserver-client-key.pem"

    def __post_init__(self) -> None:
        url = urlsplit(self.server)
        if url.scheme != "https" or not url.hostname:
            raise InputError(
                "webhook-url",
                f"the webhook's URL is {self.server!r}; it must be https and name a host",
                hint=f"write it as in {BOUNCER_URL}",
            )
        for path in (self.certificate_authority, self.client_certificate, self.client_key):
            if not path.startswith("/"):
                raise InputError(
                    "webhook-kubeconfig-path",
                    f"not an absolute path: {path!r}",
                    hint="give the path as the API server's container sees it",
                )


def webhook_kubeconfig(webhook: WebhookKubeconfig) -> dict[str, Any]:
    """The kubeconfig object, with the names that the course uses."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "image-checker",
                "cluster": {"certificate-authority": webhook.certificate_authority, "server": webhook.server},
            }
        ],
        "contexts": [{"name": "image-checker", "context": {"cluster": "image-checker", "user": "api-server"}}],
        "current-context": "image-checker",
        "users": [
            {
                "name": "api-server",
                "user": {"client-certificate": webhook.client_certificate, "client-key": webhook.client_key},
            }
        ],
    }


def webhook_kubeconfig_yaml(webhook: WebhookKubeconfig) -> str:
    """The same as the text of ``kubeconf``."""
    return strict_yaml.dump(webhook_kubeconfig(webhook))
