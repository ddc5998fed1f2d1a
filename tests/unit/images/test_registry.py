from __future__ import annotations

from pathlib import Path

import yaml

from lab.images.endpoint import Endpoint
from lab.images.registry import ENVIRONMENT, RegistryConfig, command

ROOT = Path("/var/lib/registry")
TCP = Endpoint(address="10.96.0.5:5000")


def test_the_configuration_says_where_to_listen_and_where_images_lie() -> None:
    document = yaml.safe_load(RegistryConfig(endpoint=TCP, root=ROOT).render())

    assert document["version"] == "0.1"
    assert document["storage"]["filesystem"] == {"rootdirectory": "/var/lib/registry"}
    assert (document["http"]["net"], document["http"]["addr"]) == ("tcp", "10.96.0.5:5000")
    assert "auth" not in document


def test_a_unix_socket_is_listened_on_as_such() -> None:
    document = yaml.safe_load(RegistryConfig(endpoint=Endpoint.unix(Path("/run/r.sock")), root=ROOT).render())

    assert (document["http"]["net"], document["http"]["addr"]) == ("unix", "/run/r.sock")


def test_a_password_file_makes_the_registry_ask_for_a_password() -> None:
    config = RegistryConfig(endpoint=TCP, root=ROOT, htpasswd=Path("/etc/htpasswd"), realm="course")

    assert yaml.safe_load(config.render())["auth"] == {"htpasswd": {"realm": "course", "path": "/etc/htpasswd"}}


def test_nothing_runs_by_itself_and_nothing_is_logged_per_request() -> None:
    document = yaml.safe_load(RegistryConfig(endpoint=TCP, root=ROOT).render())

    assert document["storage"]["maintenance"]["uploadpurging"] == {"enabled": False}
    assert document["log"]["accesslog"] == {"disabled": True}
    assert "debug" not in document["http"]


def test_only_a_read_only_registry_refuses_pushes() -> None:
    modes = [
        yaml.safe_load(RegistryConfig(endpoint=TCP, root=ROOT, read_only=mode).render())["storage"]["maintenance"]
        for mode in (False, True)
    ]

    assert [mode["readonly"]["enabled"] for mode in modes] == [False, True]


def test_no_telemetry_leaves_the_program() -> None:
    assert ENVIRONMENT["OTEL_TRACES_EXPORTER"] == "none"


def test_the_command_serves_the_configuration_file() -> None:
    assert command("/bin/registry", "/etc/r.yaml") == ("/bin/registry", "serve", "/etc/r.yaml")
