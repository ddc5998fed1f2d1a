"""The shape of the definition's files: kind's v1alpha4 and kubeadm's v1beta4, as strict decoders.

Only shape and single values are decided here; what holds between values is decided in `checks`. Fields follow
kubernetes-sigs/kind pkg/apis/config/v1alpha4/types.go and kubernetes cmd/kubeadm/app/apis/kubeadm/v1beta4/types.go. Any
field may be null: kind takes its default then, and in a patch null deletes.
"""

from __future__ import annotations

import copy
import difflib
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from lab.strict_yaml import render_path

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from lab.strict_yaml import Document, Fault

_CLUSTER_NAME = re.compile(r"[a-z0-9.-]+\Z")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, frozen=True)


def _fault(message: str, remedy: str) -> PydanticCustomError:
    # Placeholders, because the message itself may hold braces.
    return PydanticCustomError("lab", "{message}", {"message": message, "remedy": remedy})


def _text(value: object) -> object:
    """A string as kind's decoder reads it: also from a number or a boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _cluster_name(value: str) -> str:
    if not _CLUSTER_NAME.match(value):
        raise _fault(f"{value!r} is no cluster name", "use lower-case letters, digits, '.' and '-' only")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise _fault(f"{value!r} is not an absolute path", "begin it with a slash")
    return value


def _port(value: int) -> int:
    if not -1 <= value <= 65535:  # noqa: PLR2004  # the ports there are; -1 lets the container engine choose
        raise _fault(f"{value} is no port", "choose a number from 1 to 65535")
    return value


def _address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise _fault(f"{value!r} is no IP address", "write an address such as 127.0.0.1") from None
    return value


def _subnets(value: str) -> str:
    try:
        for subnet in value.split(","):
            ipaddress.ip_network(subnet, strict=False)
    except ValueError:
        raise _fault(f"{value!r} is no subnet", "write it as 10.244.0.0/16") from None
    return value


Text = Annotated[str, BeforeValidator(_text)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Port = Annotated[int, AfterValidator(_port)]
Address = Annotated[str, AfterValidator(_address)]
Subnets = Annotated[str, AfterValidator(_subnets)]
Protocol = Annotated[
    Literal["TCP", "UDP", "SCTP"], BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
]


class KindMount(_Strict):
    """``nodes[].extraMounts[]``."""

    container_path: AbsolutePath
    host_path: Annotated[str, Field(min_length=1)]
    read_only: bool | None = None
    selinux_relabel: bool | None = None
    propagation: Literal["None", "HostToContainer", "Bidirectional"] | None = None


class KindPortMapping(_Strict):
    """``nodes[].extraPortMappings[]``."""

    container_port: Port
    host_port: Port | None = None
    listen_address: Address | None = None
    protocol: Protocol | None = None


class KindJsonPatch(_Strict):
    """``kubeadmConfigPatchesJSON6902[]``."""

    group: Text = ""
    version: Text = ""
    kind: str
    patch: str


class KindNode(_Strict):
    """``nodes[]``."""

    role: Literal["control-plane", "worker"] | None = None
    image: str | None = None
    labels: dict[str, Text] | None = None
    extra_mounts: list[KindMount] | None = None
    extra_port_mappings: list[KindPortMapping] | None = None
    kubeadm_config_patches: list[str] | None = None
    kubeadm_config_patches_json: Annotated[list[KindJsonPatch] | None, Field(alias="kubeadmConfigPatchesJSON6902")] = (
        None
    )


class KindNetworking(_Strict):
    """``networking``."""

    ip_family: Literal["ipv4", "ipv6", "dual"] | None = None
    api_server_port: Port | None = None
    api_server_address: Address | None = None
    pod_subnet: Subnets | None = None
    service_subnet: Subnets | None = None
    disable_default_cni: Annotated[bool | None, Field(alias="disableDefaultCNI")] = None
    kube_proxy_mode: Literal["iptables", "ipvs", "nftables", "none"] | None = None
    dns_search: list[Text] | None = None


class KindCluster(_Strict):
    """The whole file."""

    kind: Literal["Cluster"]
    api_version: Literal["kind.x-k8s.io/v1alpha4"]
    name: Annotated[str, AfterValidator(_cluster_name)] | None = None
    nodes: list[KindNode] | None = None
    networking: KindNetworking | None = None
    feature_gates: dict[str, bool] | None = None
    runtime_config: dict[str, Text] | None = None
    kubeadm_config_patches: list[str] | None = None
    kubeadm_config_patches_json: Annotated[list[KindJsonPatch] | None, Field(alias="kubeadmConfigPatchesJSON6902")] = (
        None
    )
    containerd_config_patches: list[str] | None = None
    containerd_config_patches_json: Annotated[list[str] | None, Field(alias="containerdConfigPatchesJSON6902")] = None


class _KubeadmObject(_Strict):
    kind: str
    api_version: str | None = None
    # kind calls every object it generates "config", so patches that name it so are common; it is taken out again.
    metadata: dict[str, Any] | None = None


class _EnvVar(_Strict):
    name: str
    value: str | None = None
    value_from: dict[str, Any] | None = None


class _HostPathMount(_Strict):
    name: str
    host_path: AbsolutePath
    mount_path: AbsolutePath
    read_only: bool | None = None
    path_type: (
        Literal[
            "",
            "DirectoryOrCreate",
            "Directory",
            "FileOrCreate",
            "File",
            "Socket",
            "CharDevice",
            "BlockDevice",
        ]
        | None
    ) = None


class _Component(_Strict):
    # A list, or a map where the patch names no version: decided where the version is known.
    extra_args: Any = None
    extra_volumes: list[_HostPathMount] | None = None
    extra_envs: list[_EnvVar] | None = None


class _ApiServer(_Component):
    cert_sans: Annotated[list[str] | None, Field(alias="certSANs")] = None


class _LocalEtcd(_Strict):
    image_repository: str | None = None
    image_tag: str | None = None
    data_dir: str | None = None
    extra_args: Any = None
    extra_envs: list[_EnvVar] | None = None
    server_cert_sans: Annotated[list[str] | None, Field(alias="serverCertSANs")] = None
    peer_cert_sans: Annotated[list[str] | None, Field(alias="peerCertSANs")] = None


class _ExternalEtcd(_Strict):
    endpoints: list[str] | None = None
    http_endpoints: Annotated[list[str] | None, Field(alias="httpEndpoints")] = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class _Etcd(_Strict):
    local: _LocalEtcd | None = None
    external: _ExternalEtcd | None = None


class _KubeadmNetworking(_Strict):
    service_subnet: str | None = None
    pod_subnet: str | None = None
    dns_domain: str | None = None


class _Dns(_Strict):
    image_repository: str | None = None
    image_tag: str | None = None
    disabled: bool | None = None


class _Proxy(_Strict):
    disabled: bool | None = None


class _Patches(_Strict):
    directory: str | None = None


class _Endpoint(_Strict):
    advertise_address: str | None = None
    bind_port: int | None = None


class _NodeRegistration(_Strict):
    name: str | None = None
    cri_socket: str | None = None
    taints: list[dict[str, Any]] | None = None
    kubelet_extra_args: Any = None
    ignore_preflight_errors: list[str] | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_serial: bool | None = None


class KubeadmClusterConfiguration(_KubeadmObject):
    """A patch of ClusterConfiguration."""

    etcd: _Etcd | None = None
    networking: _KubeadmNetworking | None = None
    kubernetes_version: str | None = None
    control_plane_endpoint: str | None = None
    api_server: _ApiServer | None = None
    controller_manager: _Component | None = None
    scheduler: _Component | None = None
    dns: _Dns | None = None
    proxy: _Proxy | None = None
    certificates_dir: str | None = None
    image_repository: str | None = None
    feature_gates: dict[str, bool] | None = None
    cluster_name: str | None = None
    encryption_algorithm: Literal["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"] | None = None
    certificate_validity_period: str | None = None
    ca_certificate_validity_period: str | None = None


class KubeadmInitConfiguration(_KubeadmObject):
    """A patch of InitConfiguration."""

    bootstrap_tokens: list[dict[str, Any]] | None = None
    dry_run: bool | None = None
    node_registration: _NodeRegistration | None = None
    local_api_endpoint: Annotated[_Endpoint | None, Field(alias="localAPIEndpoint")] = None
    certificate_key: str | None = None
    skip_phases: list[str] | None = None
    patches: _Patches | None = None
    timeouts: dict[str, str] | None = None


class KubeadmJoinConfiguration(_KubeadmObject):
    """A patch of JoinConfiguration."""

    dry_run: bool | None = None
    node_registration: _NodeRegistration | None = None
    ca_cert_path: str | None = None
    discovery: dict[str, Any] | None = None
    control_plane: dict[str, Any] | None = None
    skip_phases: list[str] | None = None
    patches: _Patches | None = None
    timeouts: dict[str, str] | None = None


class _FreeObject(BaseModel):
    """A patch whose fields are the component's own business: the kubelet and kube-proxy check theirs at start."""

    model_config = ConfigDict(strict=True, extra="allow", alias_generator=to_camel, frozen=True)
    kind: str


PATCH_KINDS: dict[str, tuple[str, type[BaseModel]]] = {
    "ClusterConfiguration": ("kubeadm.k8s.io/v1beta4", KubeadmClusterConfiguration),
    "InitConfiguration": ("kubeadm.k8s.io/v1beta4", KubeadmInitConfiguration),
    "JoinConfiguration": ("kubeadm.k8s.io/v1beta4", KubeadmJoinConfiguration),
    "KubeletConfiguration": ("kubelet.config.k8s.io/v1beta1", _FreeObject),
    "KubeProxyConfiguration": ("kubeproxy.config.k8s.io/v1alpha1", _FreeObject),
}
"""The objects that kind generates for a node of Kubernetes 1.36 or newer: kind to apiVersion and shape."""


ModelT = TypeVar("ModelT", bound=BaseModel)

_REMEDIES = {
    "bool_type": "write true or false",
    "dict_type": "write a mapping",
    "int_type": "write a number without quotes",
    "list_type": "write a list: each element on a line of its own, after '- '",
    "model_type": "write a mapping: KEY: VALUE, one on each line, indented by the same number of spaces",
    "string_too_short": "write a value",
    "string_type": "put the value in quotes; for a patch, write its YAML as a block after '|'",
}


def decode(model: type[ModelT], document: Document) -> tuple[ModelT | None, list[Fault]]:
    """A document as a model, and every way in which it is not one.

    Args:
        model: one of this module's.
        document: a mapping.

    Returns:
        The model, also when unknown keys are all that is wrong, so that the checks that follow find what else is.
    """
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    faults = [_described(details, model, document) for details in errors]
    if any(details["type"] != "extra_forbidden" for details in errors):
        return None, faults
    known: Any = copy.deepcopy(document.data)
    for details in errors:
        holder = known
        for part in details["loc"][:-1]:
            holder = holder[part]
        del holder[details["loc"][-1]]
    return model.model_validate(known), faults


def shape_problem(model: type[BaseModel], data: object) -> str | None:
    """The first way in which an object that no file holds is not a model."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{render_path(tuple(first['loc']))}: {first['msg']}"
    return None


def _described(details: ErrorDetails, model: type[BaseModel], document: Document) -> Fault:
    """What pydantic found, in the words and at the line of the file."""
    path = details["loc"]
    match details["type"]:
        case "extra_forbidden":
            return document.fault(path, f"unknown key {path[-1]!r}", _spelling(str(path[-1]), model))
        case "missing":
            return document.fault(path[:-1], f"the key {path[-1]!r} is missing", f"write {path[-1]}: and its value")
        case "lab":
            return document.fault(path, details["ctx"]["message"], details["ctx"]["remedy"])
        case "literal_error":
            return document.fault(
                path, f"{details['input']!r} is not a value of this key", f"write {details['ctx']['expected']}"
            )
        case kind:
            message = details["msg"].replace("Input should be", "the value should be")
            return document.fault(path, message, _REMEDIES.get(kind, "look at the values in the project's own file"))


def _spelling(key: str, model: type[BaseModel]) -> str:
    """The nearest key that the model or one inside it knows."""
    near = difflib.get_close_matches(key, sorted(_keys(model)), n=1, cutoff=0.75)
    return f"write {near[0]}, if that is what is meant; else remove it" if near else "remove it, or check its spelling"


def _keys(model: type[BaseModel]) -> set[str]:
    keys: set[str] = set()
    for definition in [(schema := model.model_json_schema(by_alias=True)), *schema.get("$defs", {}).values()]:
        keys |= set(definition.get("properties", {}))
    return keys
