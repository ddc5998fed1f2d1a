"""Rendering: patches merged as kind merges them, into what kind generates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.cluster.definition import (
    ClusterDefinition,
    cluster_configuration_yaml,
    node_labels,
    parse_cluster_definition,
    read_cluster_definition,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT_FILE = Path(__file__).parents[3] / "kind-config.yaml"
GOLDEN = Path(__file__).parent / "testdata/kubeadm.yaml"


def definition(**fields: Any) -> ClusterDefinition:
    cluster = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"} | fields
    return parse_cluster_definition(json.dumps(cluster), file="k.yaml")


def patched(*patches: dict[str, Any], **fields: Any) -> ClusterDefinition:
    return definition(kubeadmConfigPatches=[json.dumps(patch) for patch in patches], **fields)


def rendered(source: ClusterDefinition, **arguments: Any) -> dict[str, dict[str, Any]]:
    text = cluster_configuration_yaml(
        source,
        **{
            "kubernetes_version": "v1.37.0",
            "control_plane_endpoint": "lab-control-plane:6443",
            "advertise_address": "10.88.0.2",
            "node_name": "lab-control-plane",
        }
        | arguments,
    )
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def arguments_of(component: dict[str, Any]) -> dict[str, str]:
    return {argument["name"]: argument["value"] for argument in component["extraArgs"]}


def test_the_projects_own_file_renders_as_before(golden: Callable[[Path, str], None]) -> None:
    text = cluster_configuration_yaml(
        read_cluster_definition(ROOT_FILE),
        kubernetes_version="v1.37.0",
        control_plane_endpoint="lab-control-plane:6443",
        advertise_address="10.88.0.2",
        node_name="lab-control-plane",
        cluster_name="lab",
        cert_sans=["lab-control-plane", "localhost"],
    )
    golden(GOLDEN, text)


def test_names_and_addresses_are_the_callers() -> None:
    documents = rendered(definition(name="mine"), cert_sans=["a", "localhost", "a"], bind_port=7443)
    cluster, init = documents["ClusterConfiguration"], documents["InitConfiguration"]
    assert cluster["clusterName"] == "mine"
    assert cluster["apiServer"]["certSANs"] == ["localhost", "127.0.0.1", "a"]
    assert init["localAPIEndpoint"] == {"advertiseAddress": "10.88.0.2", "bindPort": 7443}
    assert init["nodeRegistration"]["name"] == "lab-control-plane"


def test_another_etcd_is_named_by_its_image_tag_beside_the_definitions_own_arguments() -> None:
    source = read_cluster_definition(ROOT_FILE)
    local = rendered(source, etcd_version="3.7.3")["ClusterConfiguration"]["etcd"]["local"]
    own = source.cluster_configuration["etcd"]["local"]["extraArgs"]
    assert own
    assert local == {"imageTag": "3.7.3-0", "extraArgs": own}


def test_subnets_are_the_definitions_unless_the_caller_has_others() -> None:
    source = definition(networking={"podSubnet": "10.1.0.0/16"})
    assert rendered(source)["ClusterConfiguration"]["networking"] == {
        "podSubnet": "10.1.0.0/16",
        "serviceSubnet": "10.96.0.0/16",
    }
    other = rendered(source, pod_subnet="10.2.0.0/16", service_subnet="10.3.0.0/16")
    assert other["ClusterConfiguration"]["networking"] == {"podSubnet": "10.2.0.0/16", "serviceSubnet": "10.3.0.0/16"}


def test_arguments_merge_by_name_and_null_deletes() -> None:
    documents = rendered(
        patched(
            {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": {"enable-hostpath-provisioner": None}}},
            {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": {"v": "1", "audit-log-maxsize": "5"}}},
            {
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "kind": "ClusterConfiguration",
                "apiServer": {"extraArgs": [{"name": "v", "value": "2"}]},
            },
            runtimeConfig={"api/all": "true"},
        )
    )
    cluster = documents["ClusterConfiguration"]
    assert arguments_of(cluster["apiServer"]) == {"runtime-config": "api/all=true", "v": "2", "audit-log-maxsize": "5"}
    assert cluster["controllerManager"]["extraArgs"] == []


def test_names_in_the_certificate_are_united() -> None:
    source = patched({"kind": "ClusterConfiguration", "apiServer": {"certSANs": ["localhost", "mine"]}})
    assert rendered(source)["ClusterConfiguration"]["apiServer"]["certSANs"] == ["localhost", "127.0.0.1", "mine"]


def test_any_other_list_replaces_the_one_before() -> None:
    def volumes(name: str) -> dict[str, Any]:
        return {
            "kind": "ClusterConfiguration",
            "apiServer": {"extraVolumes": [{"name": name, "hostPath": "/x", "mountPath": "/x"}]},
        }

    cluster = rendered(patched(volumes("first"), volumes("second")))["ClusterConfiguration"]
    assert [volume["name"] for volume in cluster["apiServer"]["extraVolumes"]] == ["second"]


def test_a_patch_wins_over_the_caller() -> None:
    source = patched({"kind": "ClusterConfiguration", "networking": {"podSubnet": "10.9.0.0/16"}, "clusterName": "p"})
    cluster = rendered(source, pod_subnet="10.2.0.0/16", cluster_name="c")["ClusterConfiguration"]
    assert (cluster["networking"]["podSubnet"], cluster["clusterName"]) == ("10.9.0.0/16", "p")


def test_feature_gates_reach_every_component() -> None:
    documents = rendered(definition(featureGates={"B": False, "A": True}))
    cluster = documents["ClusterConfiguration"]
    for component in ("apiServer", "controllerManager", "scheduler"):
        assert arguments_of(cluster[component])["feature-gates"] == "A=true,B=false"
    assert documents["KubeProxyConfiguration"]["featureGates"] == {"A": True, "B": False}


def test_without_kube_proxy_kubeadm_is_told_so() -> None:
    documents = rendered(definition(networking={"kubeProxyMode": "none"}))
    assert documents["ClusterConfiguration"]["proxy"] == {"disabled": True}


def test_ipv6_components_listen_on_ipv6() -> None:
    cluster = rendered(definition(networking={"ipFamily": "ipv6"}))["ClusterConfiguration"]
    assert arguments_of(cluster["controllerManager"])["bind-address"] == "::"
    assert arguments_of(cluster["scheduler"])["bind-address"] == "::1"
    assert cluster["apiServer"]["certSANs"] == ["localhost", "::1"]


def test_each_patch_changes_its_own_kind_only() -> None:
    documents = rendered(
        patched(
            {"kind": "InitConfiguration", "skipPhases": ["preflight"]},
            {"kind": "KubeProxyConfiguration", "mode": "nftables"},
            {"kind": "KubeletConfiguration", "maxPods": 5},
        )
    )
    assert list(documents) == ["ClusterConfiguration", "InitConfiguration", "KubeProxyConfiguration"]
    assert documents["InitConfiguration"]["skipPhases"] == ["preflight"]
    assert documents["KubeProxyConfiguration"]["mode"] == "nftables"
    assert "skipPhases" not in documents["ClusterConfiguration"]


def test_json_patches_come_after_the_merge_patches_of_their_level() -> None:
    source = definition(
        kubeadmConfigPatchesJSON6902=[
            {
                "group": "kubeadm.k8s.io",
                "version": "v1beta4",
                "kind": "ClusterConfiguration",
                "patch": json.dumps([{"op": "replace", "path": "/clusterName", "value": "json"}]),
            }
        ],
        kubeadmConfigPatches=[json.dumps({"kind": "ClusterConfiguration", "clusterName": "merge"})],
        nodes=[{"kubeadmConfigPatches": [json.dumps({"kind": "ClusterConfiguration", "imageRepository": "node"})]}],
    )
    cluster = rendered(source)["ClusterConfiguration"]
    assert (cluster["clusterName"], cluster["imageRepository"]) == ("json", "node")


def test_rendering_twice_gives_the_same_and_changes_nothing() -> None:
    source = read_cluster_definition(ROOT_FILE)
    assert rendered(source) == rendered(source)
    assert source == read_cluster_definition(ROOT_FILE)


def test_node_labels_come_from_the_node_or_from_a_patch_of_the_kubelets_flag() -> None:
    nodes = [{"labels": {"b": "2", "a": "1"}}]
    assert node_labels(definition(nodes=nodes)) == {"a": "1", "b": "2"}
    patch = {"kind": "InitConfiguration", "nodeRegistration": {"kubeletExtraArgs": {"node-labels": "x=y,bare"}}}
    assert node_labels(patched(patch, nodes=nodes)) == {"x": "y", "bare": ""}
