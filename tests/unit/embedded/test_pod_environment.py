from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.embedded.pod_environment import (
    ContainerConfigError,
    EnvironmentObjects,
    PodContext,
    container_argv,
    container_environment,
    environment_references,
    expand,
    load_environment_objects,
    parse_quantity,
    pod_field,
    pod_hostname,
    process_environment,
    service_variables,
)

KUBERNETES: dict[str, Any] = {
    "metadata": {"namespace": "default", "name": "kubernetes"},
    "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
}
BOUNCER: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "image-bouncer"},
    "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 1323}, {"name": "dns-udp", "port": 53, "protocol": "UDP"}]},
}
HEADLESS: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "headless"},
    "spec": {"clusterIP": "None", "ports": [{"port": 1}]},
}
FOREIGN: dict[str, Any] = {
    "metadata": {"namespace": "other", "name": "foreign"},
    "spec": {"clusterIP": "10.96.0.8", "ports": [{"port": 1}]},
}


def context(*, spec: dict[str, Any] | None = None, services: tuple[dict[str, Any], ...] = ()) -> PodContext:
    pod = {
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "uid": "u-1",
            "labels": {"app": "web", "tier": 'a"b'},
            "annotations": {"example.com/note": "hi"},
        },
        "spec": {"nodeName": "lab", "serviceAccountName": "sa", "containers": [], **(spec or {})},
    }
    return PodContext(
        pod=pod, pod_ip="10.244.0.5", node_ip="172.30.0.2", allocatable={"cpu": "2", "memory": "8Gi"}, services=services
    )


def environment(container: dict[str, Any], objects: EnvironmentObjects | None = None, **kwargs: Any) -> dict[str, str]:
    return container_environment(context(**kwargs), container, objects or EnvironmentObjects())


# --- expansion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$A $ $(", "$A $ $("),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("end$", "end$"),
    ],
)
def test_expansion_follows_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_a_variable_refers_only_to_earlier_ones() -> None:
    entries = [
        {"name": "EARLY", "value": "$(LATE)"},
        {"name": "LATE", "value": "x"},
        {"name": "BOTH", "value": "$(EARLY)/$(LATE)"},
    ]
    result = environment({"name": "c", "env": entries})
    assert (result["EARLY"], result["BOTH"]) == ("$(LATE)", "$(LATE)/x")


def test_command_and_args_are_expanded_and_fall_back_to_the_image() -> None:
    container = {"command": ["/manager"], "args": ["--port=$(PORT)", "$(UNSET)"]}
    assert container_argv(container, {"PORT": "80"}) == ["/manager", "--port=80", "$(UNSET)"]
    assert container_argv({"args": ["x"]}, {}, entrypoint=["/e"], default_args=["d"]) == ["/e", "x"]
    assert container_argv({}, {}, entrypoint=["/e"], default_args=["d"]) == ["/e", "d"]
    assert container_argv({"command": ["/c"]}, {}, entrypoint=["/e"], default_args=["d"]) == ["/c"]


# --- fields


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['missing']", ""),
        ("metadata.annotations['example.com/note']", "hi"),
        ("metadata.labels", 'app="web"\ntier="a\\"b"'),
        ("spec.nodeName", "lab"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "10.244.0.5"),
        ("status.podIPs", "10.244.0.5"),
        ("status.hostIP", "172.30.0.2"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert pod_field(context(), path) == value


def test_an_unknown_field_is_a_configuration_error() -> None:
    with pytest.raises(ContainerConfigError, match=r"unsupported fieldPath: spec\.replicas"):
        pod_field(context(), "spec.replicas")


@pytest.mark.parametrize(
    ("ref", "value"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "250"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "requests.memory"}, "67108864"),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "8"),  # none set: the node's allocatable
        ({"resource": "requests.cpu", "divisor": "0"}, "0"),
    ],
)
def test_resources_are_divided_and_rounded_up(ref: dict[str, str], value: str) -> None:
    resources = {"limits": {"cpu": "250m"}, "requests": {"memory": "64Mi"}}
    container = {"name": "c", "resources": resources, "env": [{"name": "R", "valueFrom": {"resourceFieldRef": ref}}]}
    assert environment(container)["R"] == value


@pytest.mark.parametrize(("text", "value"), [("1.5Gi", 1610612736), ("1e3", 1000), ("2k", 2000), (".5", 0.5)])
def test_quantities(text: str, value: float) -> None:
    assert float(parse_quantity(text)) == value


@pytest.mark.parametrize("text", ["", "1.2.3", "12 apples", "Mi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ContainerConfigError, match="is not a quantity"):
        parse_quantity(text)


# --- Secrets and ConfigMaps

OBJECTS = EnvironmentObjects(
    secrets={"s": {"user": b"bob", "bin": b"\xff\xfe", "nul": b"a\0b"}},
    config_maps={"cm": {"mode": "open", "user": "eve"}},
)


def secret_ref(name: str, key: str, **more: Any) -> dict[str, Any]:
    ref = {"name": name, "key": key, **more}
    return {"name": "c", "env": [{"name": "V", "valueFrom": {"secretKeyRef": ref}}]}


def test_keys_of_secrets_and_config_maps_become_values() -> None:
    assert environment(secret_ref("s", "user"), OBJECTS)["V"] == "bob"
    container = {"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "mode"}}}]}
    assert environment(container, OBJECTS)["V"] == "open"
    assert environment(secret_ref("s", "bin"), OBJECTS)["V"].encode("utf-8", "surrogateescape") == b"\xff\xfe"


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (secret_ref("s", "nope"), "couldn't find key nope in Secret shop/s"),
        (secret_ref("gone", "k"), 'secret "gone" not found'),
        (secret_ref("s", "nul"), "key nul in Secret shop/s contains a NUL byte"),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, 'configmap "gone" not found'),
        (
            {"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]},
            "couldn't find key k in ConfigMap shop/cm",
        ),
    ],
)
def test_what_is_missing_is_told_in_the_kubelets_words(container: dict[str, Any], message: str) -> None:
    with pytest.raises(ContainerConfigError) as caught:
        environment(container, OBJECTS)
    assert caught.value.message == message


def test_an_optional_reference_leaves_the_variable_unset() -> None:
    assert "V" not in environment(secret_ref("gone", "k", optional=True), OBJECTS)
    assert "V" not in environment(secret_ref("s", "nope", optional=True), OBJECTS)
    assert environment({"envFrom": [{"secretRef": {"name": "gone", "optional": True}}]}, OBJECTS) == {}


def test_env_wins_over_env_from_and_prefixes_apply() -> None:
    container = {
        "envFrom": [
            {"prefix": "CM_", "configMapRef": {"name": "cm"}},
            {"configMapRef": {"name": "cm"}},
            {"secretRef": {"name": "s"}},
        ],
        "env": [{"name": "mode", "value": "set:$(CM_mode)"}],
    }
    objects = EnvironmentObjects(secrets={"s": {"user": b"bob"}}, config_maps=OBJECTS.config_maps)
    assert environment(container, objects) == {"CM_mode": "open", "CM_user": "eve", "mode": "set:open", "user": "bob"}


def test_references_name_every_object_once() -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "a"}}, {"configMapRef": {"name": "m"}}],
        "env": [*secret_ref("a", "k")["env"], *secret_ref("b", "k")["env"], {"name": "X", "value": "1"}],
    }
    assert environment_references(container) == (frozenset({"a", "b"}), frozenset({"m"}))


class FakeApi:
    def __init__(self, objects: dict[str, dict[str, Any]], *, refuse: int = 404) -> None:
        self.objects = objects
        self.refuse = refuse

    async def get(self, path: str) -> dict[str, Any]:
        if path in self.objects:
            return self.objects[path]
        raise ApiError(request=path, status=self.refuse, reason="", message=f"refused {path}", body={})


def test_objects_are_fetched_and_decoded_and_missing_ones_left_out() -> None:
    secret = {"data": {"user": base64.b64encode(b"bob").decode()}}
    api = FakeApi({"/api/v1/namespaces/shop/secrets/s": secret})
    container = {"envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "gone"}}]}
    objects = asyncio.run(load_environment_objects(api, "shop", container))
    assert objects == EnvironmentObjects(secrets={"s": {"user": b"bob"}}, config_maps={})


def test_a_refusal_of_the_node_authoriser_is_a_configuration_error_and_others_are_not() -> None:
    container = secret_ref("s", "k")
    with pytest.raises(ContainerConfigError, match="refused"):
        asyncio.run(load_environment_objects(FakeApi({}, refuse=403), "shop", container))
    with pytest.raises(ApiError):
        asyncio.run(load_environment_objects(FakeApi({}, refuse=500), "shop", container))


# --- Services


def test_service_variables_are_complete_and_of_the_right_services() -> None:
    variables = service_variables(context(services=(KUBERNETES, BOUNCER, HEADLESS, FOREIGN)))
    assert variables == {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": "tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
        "KUBERNETES_PORT_443_TCP_PORT": "443",
        "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
        "IMAGE_BOUNCER_SERVICE_HOST": "10.96.0.9",
        "IMAGE_BOUNCER_SERVICE_PORT": "1323",
        "IMAGE_BOUNCER_PORT": "tcp://10.96.0.9:1323",
        "IMAGE_BOUNCER_PORT_1323_TCP": "tcp://10.96.0.9:1323",
        "IMAGE_BOUNCER_PORT_1323_TCP_PROTO": "tcp",
        "IMAGE_BOUNCER_PORT_1323_TCP_PORT": "1323",
        "IMAGE_BOUNCER_PORT_1323_TCP_ADDR": "10.96.0.9",
        "IMAGE_BOUNCER_SERVICE_PORT_DNS_UDP": "53",
        "IMAGE_BOUNCER_PORT_53_UDP": "udp://10.96.0.9:53",
        "IMAGE_BOUNCER_PORT_53_UDP_PROTO": "udp",
        "IMAGE_BOUNCER_PORT_53_UDP_PORT": "53",
        "IMAGE_BOUNCER_PORT_53_UDP_ADDR": "10.96.0.9",
    }


def test_without_service_links_only_kubernetes_remains() -> None:
    variables = service_variables(context(spec={"enableServiceLinks": False}, services=(KUBERNETES, BOUNCER)))
    assert {name.split("_")[0] for name in variables} == {"KUBERNETES"}


def test_service_variables_can_be_referred_to_and_overridden() -> None:
    entries = [
        {"name": "URL", "value": "https://$(KUBERNETES_SERVICE_HOST)"},
        {"name": "KUBERNETES_PORT", "value": "x"},
    ]
    result = environment({"env": entries}, services=(KUBERNETES,))
    assert (result["URL"], result["KUBERNETES_PORT"]) == ("https://10.96.0.1", "x")


def test_the_process_gets_path_and_host_name_unless_the_pod_sets_them() -> None:
    pod = context().pod
    assert process_environment(pod, {}, image={})["HOSTNAME"] == "web-1"
    own = {"HOSTNAME": "mine", "PATH": "/x"}
    assert process_environment(pod, own, image={"HOSTNAME": "image", "PATH": "/y"}) == own


def test_the_path_is_the_images_where_it_has_one() -> None:
    pod = {"metadata": {"name": "web"}, "spec": {}}
    assert process_environment(pod, {}, image={})["PATH"].startswith("/usr/local/sbin:")
    assert process_environment(pod, {}, image={"PATH": "/opt/bin"})["PATH"] == "/opt/bin"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, "web-1"),
        ({"hostname": "db"}, "db"),
        ({"hostNetwork": True}, "lab"),
        ({"hostname": "x" * 62 + "-y"}, "x" * 62),
    ],
)
def test_host_names(spec: dict[str, Any], name: str) -> None:
    assert pod_hostname(context(spec=spec).pod) == name
