"""A kind cluster on the node image that the lab makes: everything that a control plane needs is in it.

Run by ``pytest tests/kind``, apart from the tests that need no Docker.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
import yaml

from lab.admission.boot import write_boot_files
from lab.components import KUBERNETES_VERSION, Components
from lab.errors import LabError
from lab.images.node import node_image_name
from lab.images.node.debian import Debian
from lab.images.node.system_images import wanted_names
from lab.paths import LabPaths
from tests.sandbox import engine
from tests.sandbox.kind_needs import kind_configuration
from tests.sandbox.machine import look

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PODS = {"coredns", "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"}
CREATE_S = 300.0
READY_S = 180.0


def configuration(directory: Path) -> dict[str, Any]:
    """The cluster definition on our node image, with what this machine needs beside it."""
    cluster: dict[str, Any] = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    needs = kind_configuration(look(), directory)
    (node,) = cluster["nodes"]
    node["image"] = node_image_name()
    for extra in needs.get("nodes", []):
        node["extraMounts"] += extra["extraMounts"]
    cluster["networking"] = {"disableDefaultCNI": True}
    cluster["kubeadmConfigPatches"] += needs.get("kubeadmConfigPatches", [])
    cluster["containerdConfigPatches"] = needs.get("containerdConfigPatches", [])
    return cluster


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    components = Components(LabPaths.from_environment())
    found = {name: path for name in ("kind", "kubectl", "kubeadm") if (path := components.path(name)) is not None}
    if "kind" not in found:
        pytest.skip("kind is not in the component store: run 'lab components fetch kind'")
    return found


def phase(status: dict[str, Any]) -> str:
    """A Pod's phase; ``Ready`` when all of its containers are."""
    containers = status.get("containerStatuses") or [{"ready": False}]
    return "Ready" if all(container["ready"] for container in containers) else str(status["phase"])


def kind_of(pod: str) -> str:
    """The program that a Pod of the system runs."""
    return next((name for name in PODS if pod.startswith(f"{name}-")), pod)


class Cluster:
    """A cluster that kind made."""

    def __init__(self, name: str, kubectl: Path, kubeconfig: Path) -> None:
        self.node = f"{name}-control-plane"
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def system_pods(self) -> dict[str, str]:
        """Every Pod of the system with its phase."""
        argv = [*self._kubectl, "--namespace", "kube-system", "get", "pods", "--output", "json"]
        pods = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)["items"]
        return {pod["metadata"]["name"]: phase(pod["status"]) for pod in pods}

    def on_node(self, *command: str) -> str:
        """What a command prints on the node."""
        argv = ["docker", "exec", self.node, *command]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def cluster(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if engine.server_version() is None:
        pytest.skip("Docker does not answer; on a test machine: python -m tests.sandbox up")
    client = docker.from_env()
    loaded = client.images.list(name=node_image_name())
    client.close()
    if not loaded:
        pytest.skip(f"Docker has no {node_image_name()}: run 'lab node-image build'")
    directory = tmp_path_factory.mktemp("cluster")
    write_boot_files(directory)
    (directory / "kind.yaml").write_text(yaml.safe_dump(configuration(directory)))
    name, kubeconfig = f"test-{secrets.token_hex(4)}", directory / "kubeconfig"
    kind = [str(programs["kind"])]
    common = ["--name", name, "--kubeconfig", str(kubeconfig)]
    try:
        made = subprocess.run(
            [*kind, "create", "cluster", *common, "--config", "kind.yaml"],
            cwd=directory, capture_output=True, text=True, timeout=CREATE_S, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        yield Cluster(name, programs["kubectl"], kubeconfig)
    finally:
        subprocess.run([*kind, "delete", "cluster", *common], capture_output=True, check=True)


def test_nothing_of_the_machine_that_made_it_is_in_the_image() -> None:
    layers = list((LabPaths.from_environment().cache / "node-image").glob("packages-*/layer.tar"))
    if not layers:
        pytest.skip("no node image was made here: run 'lab node-image build'")
    for layer in layers:
        with Debian(layer) as debian:
            for path in ("/etc/hostname", "/etc/resolv.conf", "/etc/machine-id", "/etc/apt/sources.list"):
                with pytest.raises(LabError) as caught:
                    debian.read(path)
                assert caught.value.code == "node-image-file"


def test_every_pod_of_the_system_runs_and_is_ready(cluster: Cluster) -> None:
    deadline_s = time.monotonic() + READY_S
    # coredns is ready when it has seen the API server through its Service: Pod network and kube-proxy work then.
    while set((pods := cluster.system_pods()).values()) != {"Ready"} or not {kind_of(name) for name in pods} >= PODS:
        assert time.monotonic() < deadline_s, pods
        time.sleep(1)


def test_the_node_has_every_image_that_kubeadm_asks_for(cluster: Cluster, programs: dict[str, Path]) -> None:
    there = cluster.on_node("ctr", "--namespace", "k8s.io", "images", "list", "--quiet").split()

    assert set(wanted_names(programs["kubeadm"], KUBERNETES_VERSION)) <= set(there)
    assert cluster.on_node("cat", "/kind/version") == f"v{KUBERNETES_VERSION}"


def test_a_person_on_the_node_sees_its_containers(cluster: Cluster) -> None:
    running = cluster.on_node("crictl", "ps", "--output", "json")

    assert {"kube-apiserver", "etcd"} <= {item["metadata"]["name"] for item in json.loads(running)["containers"]}


def test_no_unit_of_the_node_has_failed(cluster: Cluster) -> None:
    assert cluster.on_node("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
    assert cluster.on_node("systemctl", "is-system-running").strip() == "running"


def test_the_node_stops_at_the_signal_that_its_image_names(cluster: Cluster) -> None:
    client = docker.from_env()
    node = client.containers.get(cluster.node)
    assert node.attrs["Config"]["StopSignal"] == "SIGRTMIN+3"

    node.stop(timeout=60)  # afterwards Docker would kill it

    node.reload()
    assert node.attrs["State"]["ExitCode"] != 137
    client.close()
