"""kubeadm itself reads what the cluster definition renders, strictly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.cluster.definition import (
    ClusterDefinition,
    cluster_configuration_yaml,
    parse_cluster_definition,
    read_cluster_definition,
)
from lab.components import KUBERNETES_VERSION, Components
from lab.paths import LabPaths

pytestmark = pytest.mark.integration

ROOT_FILE = Path(__file__).parents[3] / "kind-config.yaml"


@pytest.fixture(scope="module")
def kubeadm() -> Path:
    return Components(LabPaths.from_environment()).ensure("kubeadm")["kubeadm"]


def validated(kubeadm: Path, text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "kubeadm.yaml"
    file.write_text(text)
    return subprocess.run(
        [kubeadm, "config", "validate", "--config", file], capture_output=True, text=True, timeout=30, check=False
    )


def rendered(definition: ClusterDefinition, *, cluster_name: str = "lab") -> str:
    return cluster_configuration_yaml(
        definition,
        kubernetes_version=f"v{KUBERNETES_VERSION.removeprefix('v')}",
        control_plane_endpoint="lab-control-plane:6443",
        advertise_address="10.88.0.2",
        node_name="lab-control-plane",
        cluster_name=cluster_name,
        cert_sans=["lab-control-plane"],
    )


def definition(**fields: Any) -> ClusterDefinition:
    cluster = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"} | fields
    return parse_cluster_definition(json.dumps(cluster), file="k.yaml")


def test_kubeadm_accepts_the_projects_own_definition(kubeadm: Path, tmp_path: Path) -> None:
    result = validated(kubeadm, rendered(read_cluster_definition(ROOT_FILE)), tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"featureGates": {"AllBeta": False}, "runtimeConfig": {"api/all": "true"}},
        {"networking": {"kubeProxyMode": "none"}},
        {"networking": {"ipFamily": "dual"}},
        {
            "kubeadmConfigPatches": [
                json.dumps(patch)
                for patch in (
                    {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": {"v": "2"}, "certSANs": ["x"]}},
                    {"kind": "InitConfiguration", "nodeRegistration": {"kubeletExtraArgs": {"node-labels": "a=b"}}},
                    {"kind": "KubeProxyConfiguration", "mode": "nftables"},
                )
            ]
        },
    ],
    ids=["smallest", "gates", "no-kube-proxy", "dual-stack", "patches"],
)
def test_kubeadm_accepts_what_other_definitions_render(kubeadm: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    result = validated(kubeadm, rendered(definition(**fields)), tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["n", "12e5", "0o17"])
def test_a_name_that_reads_like_something_else_reaches_kubeadm_as_a_string(
    kubeadm: Path, tmp_path: Path, name: str
) -> None:
    result = validated(kubeadm, rendered(definition(name=name), cluster_name=name), tmp_path)
    assert result.returncode == 0, result.stderr


def test_kubeadm_would_refuse_an_unknown_key(kubeadm: Path, tmp_path: Path) -> None:
    text = rendered(definition()).replace("clusterName:", "clusterNam:")
    result = validated(kubeadm, text, tmp_path)
    assert result.returncode != 0
    assert 'unknown field "clusterNam"' in result.stderr
