"""Writes the AdmissionConfiguration that switches ImagePolicyWebhook on.

The outer object is decoded strictly by the API server, the inner ``imagePolicy`` block is not: a misspelt key there is
ignored without a word, and a TTL out of range keeps the API server from starting. So the block is a dataclass that
knows the ranges, and the file is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab import strict_yaml
from lab.errors import InputError

ADMISSION_DIR = "/etc/kubernetes/admission"
"""Where the admission files lie, on the node and in the API server's container alike."""
CONFIG_FILE = f"{ADMISSION_DIR}/admission_config.yaml"
KUBECONFIG_FILE = f"{ADMISSION_DIR}/kubeconf"

SWITCHED_OFF = -1
"""In place of a TTL: nothing is cached; in place of the backoff: no pause between two tries."""

# Ranges from kube-apiserver 1.37, plugin/pkg/admission/imagepolicy/config.go. There, 0 is accepted too and stands for
# the default (300 s, 30 s, 500 ms); here a value is written out, so that the file says what happens.
_MAX_TTL_S = 30 * 60
_MAX_BACKOFF_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicyConfig:
    """The ``imagePolicy`` block; the defaults are the course's 50/50/500/false.

    Attributes:
        kube_config_file: absolute path of the webhook's kubeconfig, as the API server's container sees it.
        allow_ttl_s: how long an admission is cached, 1 to 1800 seconds, or `SWITCHED_OFF`.
        deny_ttl_s: how long a denial is cached, 1 to 1800 seconds, or `SWITCHED_OFF`.
        retry_backoff_ms: pause before the second try, 1 to 300000 milliseconds, or `SWITCHED_OFF`.
        default_allow: whether a Pod gets in when the webhook gives no answer (fails open).

    Raises:
        InputError: a value is out of its range, or the path is not absolute.
    """

    kube_config_file: str = KUBECONFIG_FILE
    allow_ttl_s: int = 50
    deny_ttl_s: int = 50
    retry_backoff_ms: int = 500
    default_allow: bool = False

    def __post_init__(self) -> None:
        if not self.kube_config_file.startswith("/"):
            raise InputError(
                "admission-kubeconfig-path",
                f"kubeConfigFile is not an absolute path: {self.kube_config_file!r}",
                hint="give the path as the API server's container sees it; it is not relative to the configuration",
            )
        _check_range("allowTTL", self.allow_ttl_s, maximum=_MAX_TTL_S, unit="seconds")
        _check_range("denyTTL", self.deny_ttl_s, maximum=_MAX_TTL_S, unit="seconds")
        _check_range("retryBackoff", self.retry_backoff_ms, maximum=_MAX_BACKOFF_MS, unit="milliseconds")


def _check_range(name: str, value: int, *, maximum: int, unit: str) -> None:
    if value != SWITCHED_OFF and not 1 <= value <= maximum:
        raise InputError(
            "admission-duration",
            f"{name} is {value}; the API server takes 1 to {maximum} {unit}, or {SWITCHED_OFF}",
            hint=f"choose a number of {unit} within the range, or {SWITCHED_OFF} to switch it off",
        )


def admission_configuration(image_policy: ImagePolicyConfig) -> dict[str, Any]:
    """The AdmissionConfiguration object for one ImagePolicyWebhook block."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "ImagePolicyWebhook",
                "configuration": {
                    "imagePolicy": {
                        "kubeConfigFile": image_policy.kube_config_file,
                        # Bare integers: the API server reads seconds, seconds and milliseconds, never "50s".
                        "allowTTL": image_policy.allow_ttl_s,
                        "denyTTL": image_policy.deny_ttl_s,
                        "retryBackoff": image_policy.retry_backoff_ms,
                        "defaultAllow": image_policy.default_allow,
                    }
                },
            }
        ],
    }


def admission_configuration_yaml(image_policy: ImagePolicyConfig) -> str:
    """The same as the text of ``admission_config.yaml``."""
    return strict_yaml.dump(admission_configuration(image_policy))
