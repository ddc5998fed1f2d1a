"""The webhook's kubeconfig: what the API server reads, and what it would refuse."""

from __future__ import annotations

import pytest
import yaml

from lab.admission.kubeconf import WebhookKubeconfig, webhook_kubeconfig_yaml
from lab.errors import InputError


def test_it_has_a_context_and_uses_it() -> None:
    config = yaml.safe_load(webhook_kubeconfig_yaml(WebhookKubeconfig()))
    (context,) = config["contexts"]
    assert config["current-context"] == context["name"]
    assert context["context"] == {"cluster": config["clusters"][0]["name"], "user": config["users"][0]["name"]}


def test_the_defaults_are_the_courses_paths_and_the_bouncers_node_port() -> None:
    config = yaml.safe_load(webhook_kubeconfig_yaml(WebhookKubeconfig()))
    assert config["clusters"][0]["cluster"] == {
        "certificate-authority": "/etc/kubernetes/admission/external-cert.pem",
        "server": "https://image-bouncer-webhook:30080/check-image",
    }
    assert config["users"][0]["user"] == {
        "client-certificate": "/etc/kubernetes/admission/apiserver-client-cert.pem",
        "client-key": "/etc/kubernetes/admission/apiserver-client-key.pem",
    }


@pytest.mark.parametrize("server", ["http://bouncer:1323/", "bouncer:1323", "https:///check-image", ""])
def test_a_url_that_the_api_server_refuses_is_refused(server: str) -> None:
    with pytest.raises(InputError) as caught:
        WebhookKubeconfig(server=server)
    assert caught.value.code == "webhook-url"


@pytest.mark.parametrize("field", ["certificate_authority", "client_certificate", "client_key"])
def test_a_relative_path_is_refused(field: str) -> None:
    with pytest.raises(InputError, match="not an absolute path"):
        WebhookKubeconfig(**{field: "x.pem"})
