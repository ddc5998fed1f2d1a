"""What a container is started with: its environment and argv, as a kubelet makes them from the Pod.

Pure but for `load_environment_objects`, which fetches the Secrets and ConfigMaps that the container names. Wording and
order follow Kubernetes 1.37 (``pkg/kubelet/kubelet_pods.go``: makeEnvironmentVariables, ``pkg/kubelet/envvars``,
``third_party/forked/golang/expansion``), so that a Pod which fails here fails as it would on a node.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from lab.cluster.embedded.sandbox import DEFAULT_PATH
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|\((?P<name>[^)]*)\))")
_QUANTITY = re.compile(
    r"^(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)$"
)
_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_HOSTNAME_LENGTH = 63


class ContainerConfigError(LabError):
    """A container that cannot be created as it is written: the Pod waits with CreateContainerConfigError.

    Args:
        message: the kubelet's wording, shown in the container's status.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            "container-config",
            message,
            hint="create what the container refers to, or mend the reference; the Pod is tried again by itself",
        )


class ObjectReader(Protocol):
    """What is needed of the API client."""

    async def get(self, path: str) -> dict[str, Any]:
        """One object; raises an error with a ``status`` of 404 when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentObjects:
    """What a container's environment refers to, decoded. An object that does not exist has no entry.

    Attributes:
        secrets: data of each Secret by name.
        config_maps: data of each ConfigMap by name.
    """

    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContext:
    """A Pod and what its node knows about it.

    Attributes:
        pod: the v1.Pod.
        pod_ip: its address (the node's for hostNetwork); empty before it has one.
        node_ip: the node's address.
        allocatable: the node's allocatable resources, the default of limits in the downward API.
        services: every v1.Service of the Pod's namespace, and ``default/kubernetes``.
    """

    pod: Mapping[str, Any]
    pod_ip: str
    node_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    services: Sequence[Mapping[str, Any]] = ()

    @property
    def namespace(self) -> str:
        """The Pod's namespace."""
        return str(self.pod["metadata"]["namespace"])


# --- references to other objects ---------------------------------------------------------------------------------


def environment_references(container: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the Secrets and of the ConfigMaps that a container's environment refers to."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    for entry in container.get("envFrom") or ():
        if ref := entry.get("secretRef"):
            secrets.add(ref["name"])
        if ref := entry.get("configMapRef"):
            config_maps.add(ref["name"])
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        if ref := source.get("secretKeyRef"):
            secrets.add(ref["name"])
        if ref := source.get("configMapKeyRef"):
            config_maps.add(ref["name"])
    return frozenset(secrets), frozenset(config_maps)


async def load_environment_objects(
    client: ObjectReader, namespace: str, container: Mapping[str, Any]
) -> EnvironmentObjects:
    """Fetch what a container's environment refers to; what does not exist is left out.

    Raises:
        ContainerConfigError: the API server refused (the node authoriser lags a moment behind a new Pod): try again.
    """
    secret_names, config_map_names = environment_references(container)
    secrets: dict[str, Mapping[str, bytes]] = {}
    config_maps: dict[str, Mapping[str, str]] = {}
    for name in sorted(secret_names):
        if (found := await _get(client, f"/api/v1/namespaces/{namespace}/secrets/{name}")) is not None:
            secrets[name] = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    for name in sorted(config_map_names):
        if (found := await _get(client, f"/api/v1/namespaces/{namespace}/configmaps/{name}")) is not None:
            config_maps[name] = dict(found.get("data") or {})
    return EnvironmentObjects(secrets=secrets, config_maps=config_maps)


async def _get(client: ObjectReader, path: str) -> dict[str, Any] | None:
    try:
        return await client.get(path)
    except LabError as error:
        status = getattr(error, "status", None)
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status == HTTPStatus.FORBIDDEN:
            raise ContainerConfigError(error.message) from error
        raise


# --- environment ---------------------------------------------------------------------------------------------------


def container_environment(
    context: PodContext, container: Mapping[str, Any], objects: EnvironmentObjects
) -> dict[str, str]:
    """The environment that the Pod gives a container: the service variables, envFrom, env; later ones win.

    It is what ``$(VAR)`` in command and args refers to. What the runtime adds comes with `process_environment`.

    Raises:
        ContainerConfigError: a Secret, a ConfigMap or one of their keys is missing and not optional, or a field cannot
            be read.
    """
    services = service_variables(context)
    declared: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        declared |= _env_from(context, entry, objects)
    for entry in container.get("env") or ():
        value = _env_value(context, container, entry, objects, {**services, **declared})
        if value is not None:
            declared[entry["name"]] = value
    return {**services, **declared}


def process_environment(
    pod: Mapping[str, Any], environment: Mapping[str, str], *, image: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the process.

    In the order of a container runtime, each over the one before: its own PATH, the image's variables, its own
    HOSTNAME, the Pod's variables.

    Args:
        pod: the Pod.
        environment: what `container_environment` gave.
        image: variables that the image sets.
    """
    return {"PATH": DEFAULT_PATH, **image, "HOSTNAME": pod_hostname(pod), **environment}


def container_argv(
    container: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    entrypoint: Sequence[str] = (),
    default_args: Sequence[str] = (),
) -> list[str]:
    """The argv of a container: command and args with ``$(VAR)`` expanded.

    Args:
        container: the container of the Pod.
        environment: what `container_environment` gave.
        entrypoint: the image's ENTRYPOINT, used when the container has no command.
        default_args: the image's CMD, used when the container has neither command nor args.
    """
    command = [expand(word, environment) for word in container.get("command") or ()]
    args = [expand(word, environment) for word in container.get("args") or ()]
    if command:
        return [*command, *args]
    return [*entrypoint, *(args or default_args)]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by a variable and ``$$`` by ``$``; an unknown reference stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        return variables.get(match["name"], match[0])

    return _REFERENCE.sub(replacement, text)


def pod_hostname(pod: Mapping[str, Any]) -> str:
    """The host name that a Pod's processes see: spec.hostname, else its name; the node's with hostNetwork."""
    spec = pod["spec"]
    if spec.get("hostNetwork") and spec.get("nodeName"):
        return str(spec["nodeName"])
    name = str(spec.get("hostname") or pod["metadata"]["name"])
    return name[:_HOSTNAME_LENGTH].rstrip("-.")


def _env_from(context: PodContext, entry: Mapping[str, Any], objects: EnvironmentObjects) -> dict[str, str]:
    prefix = entry.get("prefix") or ""
    if ref := entry.get("configMapRef"):
        texts = objects.config_maps.get(ref["name"])
        if texts is None:
            return _missing("configmap", ref)
        return {prefix + key: value for key, value in texts.items()}
    ref = entry.get("secretRef")
    if not ref:
        return {}
    data = objects.secrets.get(ref["name"])
    if data is None:
        return _missing("secret", ref)
    return {prefix + key: _text(context, ref["name"], key, value) for key, value in data.items()}


def _missing(resource: str, ref: Mapping[str, Any]) -> dict[str, str]:
    if ref.get("optional"):
        return {}
    raise ContainerConfigError(f'{resource} "{ref["name"]}" not found')


def _env_value(
    context: PodContext,
    container: Mapping[str, Any],
    entry: Mapping[str, Any],
    objects: EnvironmentObjects,
    variables: Mapping[str, str],
) -> str | None:
    """The value of one ``env`` entry; None when an optional source is missing, so that the variable is not set."""
    if entry.get("value"):
        return expand(str(entry["value"]), variables)
    source = entry.get("valueFrom") or {}
    if ref := source.get("fieldRef"):
        return pod_field(context, str(ref["fieldPath"]))
    if ref := source.get("resourceFieldRef"):
        return resource_field(context, container, ref)
    if ref := source.get("configMapKeyRef"):
        return _config_map_key(context, ref, objects)
    if ref := source.get("secretKeyRef"):
        return _secret_key(context, ref, objects)
    return ""


def _config_map_key(context: PodContext, ref: Mapping[str, Any], objects: EnvironmentObjects) -> str | None:
    data = objects.config_maps.get(ref["name"])
    if data is not None and ref["key"] in data:
        return data[ref["key"]]
    if ref.get("optional"):
        return None
    if data is None:
        raise ContainerConfigError(f'configmap "{ref["name"]}" not found')
    raise ContainerConfigError(f"couldn't find key {ref['key']} in ConfigMap {context.namespace}/{ref['name']}")


def _secret_key(context: PodContext, ref: Mapping[str, Any], objects: EnvironmentObjects) -> str | None:
    data = objects.secrets.get(ref["name"])
    if data is not None and ref["key"] in data:
        return _text(context, ref["name"], ref["key"], data[ref["key"]])
    if ref.get("optional"):
        return None
    if data is None:
        raise ContainerConfigError(f'secret "{ref["name"]}" not found')
    raise ContainerConfigError(f"couldn't find key {ref['key']} in Secret {context.namespace}/{ref['name']}")


def _text(context: PodContext, secret: str, key: str, value: bytes) -> str:
    """A Secret's bytes as an environment value: any byte but NUL, which no environment can hold."""
    if b"\0" in value:
        raise ContainerConfigError(f"key {key} in Secret {context.namespace}/{secret} contains a NUL byte")
    return value.decode("utf-8", "surrogateescape")


# --- the downward API ----------------------------------------------------------------------------------------------


def pod_field(context: PodContext, path: str) -> str:
    """A field of the Pod by its downward API path, for an environment variable or a file.

    Raises:
        ContainerConfigError: the path is none that the downward API knows.
    """
    pod = context.pod
    metadata, spec = pod["metadata"], pod["spec"]
    simple = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.podIP": context.pod_ip,
        "status.podIPs": context.pod_ip,
        "status.hostIP": context.node_ip,
        "status.hostIPs": context.node_ip,
    }
    if path in simple:
        return str(simple[path] or "")
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f"{key}={json.dumps(entries[key], ensure_ascii=False)}" for key in sorted(entries))
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    raise ContainerConfigError(f"unsupported fieldPath: {path}")


def resource_field(context: PodContext, container: Mapping[str, Any], ref: Mapping[str, Any]) -> str:
    """A container's limit or request in units of the divisor, rounded up; limits default to the node's allocatable.

    Raises:
        ContainerConfigError: the container or the resource is unknown.
    """
    if (name := ref.get("containerName")) and name != container.get("name"):
        spec = context.pod["spec"]
        candidates = [*(spec.get("initContainers") or ()), *spec["containers"]]
        found = next((one for one in candidates if one["name"] == name), None)
        if found is None:
            raise ContainerConfigError(f"container {name} not found")
        container = found
    kind, _, resource = str(ref["resource"]).partition(".")
    if kind not in {"limits", "requests"} or not resource:
        raise ContainerConfigError(f"unsupported container resource : {ref['resource']}")
    resources = container.get("resources") or {}
    value = (resources.get(kind) or {}).get(resource)
    if value is None and kind == "limits":
        value = context.allocatable.get(resource)
    divisor = parse_quantity(str(ref.get("divisor") or "1")) or Decimal(1)
    return str(math.ceil(parse_quantity(str(value or "0")) / divisor))


def parse_quantity(text: str) -> Decimal:
    """A Kubernetes quantity (``250m``, ``64Mi``, ``1e3``) as a number.

    Raises:
        ContainerConfigError: it is not a quantity.
    """
    match = _QUANTITY.match(text.strip())
    if match is None:
        raise ContainerConfigError(f"{text!r} is not a quantity")
    number, suffix = Decimal(match["number"]), match["suffix"]
    if suffix in _BINARY_SUFFIXES:
        return number * Decimal(1024) ** _BINARY_SUFFIXES[suffix]
    if suffix in _DECIMAL_SUFFIXES:
        return number.scaleb(_DECIMAL_SUFFIXES[suffix])
    return number.scaleb(int(suffix[1:]))


# --- service variables ---------------------------------------------------------------------------------------------


def service_variables(context: PodContext) -> dict[str, str]:
    """The variables of the Services of the Pod's namespace, and always those of ``default/kubernetes``."""
    links = context.pod["spec"].get("enableServiceLinks", True)
    chosen: dict[str, Mapping[str, Any]] = {}
    for service in context.services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        if service["spec"].get("clusterIP") in {None, "", "None"}:
            continue
        if namespace == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
        elif namespace == context.namespace and links is not False:
            chosen[name] = service
    result: dict[str, str] = {}
    for name in sorted(chosen):
        result |= dict(_variables_of(name, chosen[name]["spec"]))
    return result


def _variables_of(name: str, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    prefix = name.replace("-", "_").upper()
    address, ports = str(spec["clusterIP"]), spec.get("ports") or ()
    yield f"{prefix}_SERVICE_HOST", address
    host = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), str(port.get("protocol") or "TCP")
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            yield f"{prefix}_SERVICE_PORT", number
            yield f"{prefix}_PORT", url
        if port.get("name"):
            yield f"{prefix}_SERVICE_PORT_{port['name'].replace('-', '_').upper()}", number
        link = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield link, url
        yield f"{link}_PROTO", protocol.lower()
        yield f"{link}_PORT", number
        yield f"{link}_ADDR", address
