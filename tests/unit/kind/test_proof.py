from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.cluster.definition import parse_cluster_definition, read_cluster_definition
from lab.cluster.kind.proof import arguments_asked_for, prove
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.cluster.definition import ClusterDefinition

ROOT = Path(__file__).parents[3]
MOUNTS = {"kube-apiserver": ["/", "/etc/kubernetes/admission", "/etc/kubernetes/audit", "/var/log/kubernetes/audit"]}
NODE: dict[str, Any] = {
    "Mounts": [
        {"Destination": "/etc/kubernetes/admission", "RW": True},
        {"Destination": "/etc/kubernetes/audit", "RW": False},
    ],
    "NetworkSettings": {"Ports": {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40000"}]}},
}


@pytest.fixture
def definition() -> ClusterDefinition:
    return read_cluster_definition(ROOT / "kind-config.yaml")


def running(definition: ClusterDefinition) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for process, name, value in arguments_asked_for(definition):
        found.setdefault(process, [process]).append(f"--{name}={value}")
    return found


def test_a_cluster_that_is_as_asked_for_passes(definition: ClusterDefinition) -> None:
    asked = {(process, name) for process, name, _ in arguments_asked_for(definition)}
    assert {("kube-apiserver", "admission-control-config-file"), ("etcd", "unsafe-no-fsync")} <= asked
    prove(definition, processes=running(definition), mounts=MOUNTS, node=NODE)


def test_each_flag_that_was_dropped_is_named(definition: ClusterDefinition) -> None:
    """What a kind cluster looks like whose patch was dropped: kubeadm's own flags."""
    processes = running(definition) | {
        "kube-apiserver": ["kube-apiserver", "--enable-admission-plugins=NodeRestriction"]
    }
    with pytest.raises(LabError) as caught:
        prove(definition, processes=processes, mounts={"kube-apiserver": ["/"]}, node=NODE)
    assert caught.value.code == "patch-dropped"
    told = "\n".join(caught.value.context.values())
    assert "has --enable-admission-plugins=NodeRestriction" in told
    assert "--audit-log-path=/var/log/kubernetes/audit/audit.log, and has no such flag" in told
    assert "the volume audit-policy at /etc/kubernetes/audit" in told
    assert "kubeadm.k8s.io/v1beta4" in caught.value.hint


def test_a_process_that_does_not_run_is_named(definition: ClusterDefinition) -> None:
    processes = running(definition)
    del processes["etcd"]
    with pytest.raises(LabError, match="etcd does not run, and was to have --unsafe-no-fsync=true"):
        prove(definition, processes=processes, mounts=MOUNTS, node=NODE)


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (None, "the node was to have audit at /etc/kubernetes/audit, and has it not"),
        ({"Destination": "/etc/kubernetes/audit", "RW": True}, "/etc/kubernetes/audit read-only, and it is not"),
    ],
)
def test_the_nodes_own_mounts(definition: ClusterDefinition, mount: dict[str, Any] | None, message: str) -> None:
    node = NODE | {"Mounts": [NODE["Mounts"][0], *([mount] if mount else [])]}
    with pytest.raises(LabError, match=message):
        prove(definition, processes=running(definition), mounts=MOUNTS, node=node)


def test_a_port_that_is_not_published() -> None:
    text = (ROOT / "kind-config.yaml").read_text()
    mapped = parse_cluster_definition(
        text.replace("    extraMounts:", "    extraPortMappings:\n      - containerPort: 30080\n    extraMounts:", 1),
        file="kind-config.yaml",
    )
    with pytest.raises(LabError, match="publish port 30080/tcp, and does not"):
        prove(mapped, processes=running(mapped), mounts=MOUNTS, node=NODE)
