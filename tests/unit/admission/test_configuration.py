"""The AdmissionConfiguration: its text, and the ranges that the API server enforces."""

from __future__ import annotations

import pytest
import yaml

from lab.admission.configuration import (
    SWITCHED_OFF,
    ImagePolicyConfig,
    admission_configuration,
    admission_configuration_yaml,
)
from lab.errors import InputError


def test_the_defaults_are_the_courses_file_word_for_word() -> None:
    assert admission_configuration_yaml(ImagePolicyConfig()) == (
        "apiVersion: apiserver.config.k8s.io/v1\n"
        "kind: AdmissionConfiguration\n"
        "plugins:\n"
        "- name: ImagePolicyWebhook\n"
        "  configuration:\n"
        "    imagePolicy:\n"
        "      kubeConfigFile: /etc/kubernetes/admission/kubeconf\n"
        "      allowTTL: 50\n"
        "      denyTTL: 50\n"
        "      retryBackoff: 500\n"
        "      defaultAllow: false\n"
    )


def test_durations_stay_bare_integers_in_the_file() -> None:
    config = ImagePolicyConfig(allow_ttl_s=1800, deny_ttl_s=1, retry_backoff_ms=300_000, default_allow=True)
    block = yaml.safe_load(admission_configuration_yaml(config))["plugins"][0]["configuration"]["imagePolicy"]
    assert [block["allowTTL"], block["denyTTL"], block["retryBackoff"]] == [1800, 1, 300_000]
    assert block["defaultAllow"] is True


def test_minus_one_switches_the_cache_off() -> None:
    config = ImagePolicyConfig(allow_ttl_s=SWITCHED_OFF, deny_ttl_s=SWITCHED_OFF, retry_backoff_ms=SWITCHED_OFF)
    block = admission_configuration(config)["plugins"][0]["configuration"]["imagePolicy"]
    assert [block["allowTTL"], block["denyTTL"], block["retryBackoff"]] == [-1, -1, -1]


@pytest.mark.parametrize("value", [0, -2, 1801])
def test_a_ttl_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(InputError, match="allowTTL") as caught:
        ImagePolicyConfig(allow_ttl_s=value)
    assert caught.value.code == "admission-duration"
    with pytest.raises(InputError, match="denyTTL"):
        ImagePolicyConfig(deny_ttl_s=value)


@pytest.mark.parametrize("value", [0, -2, 300_001])
def test_a_backoff_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(InputError, match=r"retryBackoff is .* milliseconds"):
        ImagePolicyConfig(retry_backoff_ms=value)


def test_a_relative_kubeconfig_is_refused() -> None:
    with pytest.raises(InputError, match="not an absolute path"):
        ImagePolicyConfig(kube_config_file="kubeconf")
