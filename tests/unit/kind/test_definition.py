from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab.cluster.definition import parse_cluster_definition
from lab.cluster.kind import node_services
from lab.cluster.kind.definition import render, render_bare
from lab.errors import InputError

TEXT = (Path(__file__).parents[3] / "kind-config.yaml").read_text()
APPENDED = "kubeadmConfigPatchesJSON6902"
PROGRAMS = {"coredns": Path("/store/coredns"), "registry": Path("/store/registry")}


def mounts() -> list[node_services.NodeMount]:
    return list(node_services.mounts(PROGRAMS, Path("/cache/images"), Path("/cache/python")))


def test_the_definition_stays_as_it_is_and_the_labs_own_is_added() -> None:
    before, after = yaml.safe_load(TEXT), yaml.safe_load(render(TEXT, mounts=mounts()))
    patches = len(before["kubeadmConfigPatches"])
    assert after["kubeadmConfigPatches"][:patches] == before["kubeadmConfigPatches"]
    count = len(before["nodes"][0]["extraMounts"])
    assert after["nodes"][0]["extraMounts"][:count] == before["nodes"][0]["extraMounts"]
    added = {mount["containerPath"] for mount in after["nodes"][0]["extraMounts"][count:]}
    assert {"/etc/resolv.conf", "/etc/kubernetes/pki", "/run/lab/certificates", "/etc/containerd/certs.d"} <= added


def test_what_kind_is_given_is_a_definition_that_the_reader_accepts() -> None:
    parsed = parse_cluster_definition(render(TEXT, mounts=mounts()), file="kind.yaml")
    flags = {argument["name"] for argument in parsed.cluster_configuration["apiServer"]["extraArgs"]}
    assert "admission-control-config-file" in flags


def test_what_the_components_are_told_is_what_the_definition_says() -> None:
    patches = [{"group": "kubeadm.k8s.io", "version": "v1beta4", "kind": "ClusterConfiguration", "patch": "[]"}]
    before = yaml.safe_load(TEXT) | {APPENDED: patches}
    after = yaml.safe_load(render(yaml.safe_dump(before), mounts=mounts()))
    assert after[APPENDED] == patches
    added = after["kubeadmConfigPatches"][len(before["kubeadmConfigPatches"]) :]
    assert {yaml.safe_load(patch)["kind"] for patch in added} == {"KubeletConfiguration", "KubeProxyConfiguration"}


def test_a_bare_cluster_has_nothing_of_the_labs() -> None:
    overlay = yaml.safe_dump({"kubeadmConfigPatches": ["kind: KubeletConfiguration\n"]})
    assert yaml.safe_load(render_bare(overlay=overlay, has_own_network=True)) == {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": []}],
        "kubeadmConfigPatches": ["kind: KubeletConfiguration\n"],
        "networking": {"disableDefaultCNI": True},
    }


def test_a_path_that_the_definition_mounts_itself_is_left_to_it() -> None:
    document = yaml.safe_load(TEXT)
    document["nodes"][0]["extraMounts"].append({"hostPath": "mine", "containerPath": "/etc/resolv.conf"})
    after = yaml.safe_load(render(yaml.safe_dump(document), mounts=mounts()))
    sources = [m["hostPath"] for m in after["nodes"][0]["extraMounts"] if m["containerPath"] == "/etc/resolv.conf"]
    assert sources == ["mine"]


def test_what_a_machine_needs_is_added_from_its_overlay() -> None:
    overlay = yaml.safe_dump(
        {
            "kubeadmConfigPatches": ["kind: KubeletConfiguration\nfailCgroupV1: false\n"],
            "containerdConfigPatches": ["[x]\n"],
            "nodes": [{"role": "control-plane", "extraMounts": [{"hostPath": "/a", "containerPath": "/b"}]}],
        }
    )
    after = yaml.safe_load(render(TEXT, mounts=mounts(), overlay=overlay))
    assert after["kubeadmConfigPatches"][-1] == "kind: KubeletConfiguration\nfailCgroupV1: false\n"
    assert after["containerdConfigPatches"] == ["[x]\n"]
    assert after["nodes"][0]["extraMounts"][-1] == {"hostPath": "/a", "containerPath": "/b"}


@pytest.mark.parametrize("overlay", ["[a]", "networking: {}", "text"])
def test_an_overlay_that_would_replace_something_is_refused(overlay: str) -> None:
    with pytest.raises(InputError, match="LAB_KIND_OVERLAY"):
        render(TEXT, mounts=mounts(), overlay=overlay)
