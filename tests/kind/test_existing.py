"""A guest in a kind cluster that the lab did not make: its images come from a registry of the owner's.

The owner has kind make a cluster with nothing but a node image, runs a registry beside it that the node's containerd is
told of, and deploys a web server from it. The guest knows a kubeconfig and the registry.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from lab.cluster.backends import list_labs
from lab.components import Components
from lab.images.endpoint import Endpoint
from lab.images.node import node_image_name
from lab.images.push import push_images
from lab.images.registry import RegistryConfig, serving
from lab.images.workloads import WorkloadImages
from lab.paths import LabPaths
from tests.e2e.conftest import Node
from tests.e2e.test_existing import THEIRS, everything
from tests.sandbox.kind_needs import kind_configuration
from tests.sandbox.machine import look

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.cluster.kind.engine import Engine
    from lab.cluster.protocol import Cluster, ExecResult

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
NGINX = "docker.io/library/nginx:1.29"
NEEDS_IMAGES = ("look-alike-registries", "internal-registry-webhook")
"""Scenarios with Gatekeeper, the bouncer and Python, whose images a cluster has to get from somewhere."""
POLICY_ONLY = ("cel-trusted-registry", "audit-image-tags", "allowed-repos")
PREFIX = "for/the/lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whoever the cluster belongs to: kubectl on its node.

    Attributes:
        engine: reaches the node.
        container: the node's.
        kubeconfig: what the owner has handed out.
        registry: ``HOST:PORT`` of the owner's registry.
        storage: the registry's directory.
    """

    engine: Engine
    container: str
    kubeconfig: Path
    registry: str
    storage: Path

    def node_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Run a command on the node, where kubeadm has left the administrator's kubeconfig."""
        settings = {"KUBECONFIG": "/etc/kubernetes/admin.conf", **(env or {})}
        return self.engine.run(self.container, argv, stdin=stdin, env=settings, timeout_s=timeout_s)

    @property
    def node(self) -> Node:
        """The node, for what the tests of the backend `existing` look at."""
        return Node(cluster=cast("Cluster", self))

    def seen(self) -> dict[Any, Any]:
        """Every object that is not the guest's, its events included, and how often each container was restarted."""
        found: dict[Any, Any] = dict(everything(self.node))
        for event in self.node.get("events", "-A")["items"]:
            metadata = event["metadata"]
            about = event["involvedObject"]["name"]
            if not metadata["namespace"].startswith(("lab-", "gatekeeper-")) and not about.startswith("lab-"):
                found["Event", metadata["namespace"], metadata["name"]] = (metadata["uid"], event.get("count"))
        for pod in self.node.get("pods", "-A")["items"]:
            metadata = pod["metadata"]
            key = ("Pod", metadata["namespace"], metadata["name"])
            if key in found:  # a kubelet writes the status again when it likes, so that the version says nothing
                said = {name: metadata.get(name) for name in ("generation", "labels", "annotations")}
                found[key] = (metadata["uid"], said, pod["spec"])
            restarts = [status["restartCount"] for status in pod["status"].get("containerStatuses", ())]
            found["restarts", metadata["namespace"], metadata["name"]] = restarts
        return found


@pytest.fixture(scope="module")
def owner(paths: LabPaths, docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    directory = tmp_path_factory.mktemp("owner")
    cluster = f"theirs-{secrets.token_hex(3)}"
    configuration = kind_configuration(look(), directory)
    configuration |= {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
    configuration["networking"] = {"disableDefaultCNI": True}  # the lab's node image has a bridge of its own
    (directory / "kind.yaml").write_text(yaml.safe_dump(configuration))
    kubeconfig = directory / "kubeconfig"
    with contextlib.ExitStack() as stack:
        stack.callback(docker_engine.remove, cluster)
        network = docker_engine.make_network(cluster)
        kind = Components(paths).ensure("kind")["kind"]
        made = subprocess.run(
            [kind, "create", "cluster", "--name", cluster, "--config", directory / "kind.yaml", "--wait", "120s",
             "--image", node_image_name(), "--kubeconfig", kubeconfig],
            env=os.environ | {"KIND_EXPERIMENTAL_DOCKER_NETWORK": network},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        container = docker_engine.node_id(cluster)
        assert container is not None
        gateway = docker_engine.inspect(container)["NetworkSettings"]["Networks"][network]["Gateway"]
        registry = f"{gateway}:5000"
        stack.enter_context(_running(Endpoint(address=registry), directory, paths))
        theirs = Owner(
            engine=docker_engine,
            container=container,
            kubeconfig=kubeconfig,
            registry=registry,
            storage=directory / "storage",
        )
        _tell_containerd(theirs)
        _deploy(theirs, paths)
        yield theirs


@contextlib.contextmanager
def _running(endpoint: Endpoint, directory: Path, paths: LabPaths) -> Iterator[None]:
    """The owner's registry, on the machine's own address in the cluster's network."""
    program = Components(paths).ensure("registry")["registry"]
    up, over = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    async def serve() -> None:
        config = RegistryConfig(endpoint=endpoint, root=directory / "storage")
        async with serving(program, config, directory=directory):
            up.set()
            await asyncio.to_thread(over.wait)

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - told by the fixture
            problems.append(error)
            up.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert up.wait(60.0)
        assert not problems, problems
        yield
    finally:
        over.set()
        thread.join()


def _tell_containerd(owner: Owner) -> None:
    """A registry without TLS has to be named to containerd; it reads these files for every pull."""
    directory = f"/etc/containerd/certs.d/{owner.registry}"
    text = (
        f'server = "http://{owner.registry}"\n[host."http://{owner.registry}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    owner.node.run("mkdir", "-p", directory)
    owner.node.run("sh", "-c", f"cat >{directory}/hosts.toml", stdin=text)


def _deploy(owner: Owner, paths: LabPaths) -> None:
    """The owner's own workloads, from the owner's registry."""
    images = WorkloadImages(paths, progress=lambda _: None).built([NGINX])
    asyncio.run(push_images(Endpoint(address=owner.registry, prefix="theirs/"), images))
    owner.node.kubectl("apply", "-f", "-", stdin=THEIRS.replace(NGINX, f"{owner.registry}/theirs/{NGINX}"))
    for deployment in ("shop/web", "kube-system/coredns"):
        namespace, _, name = deployment.partition("/")
        command = ("kubectl", "rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=120s")
        owner.node.run(*command, timeout_s=130.0)


@pytest.fixture
def at_rest(owner: Owner) -> dict[Any, Any]:
    """What is in the cluster, once nothing of it changes any more."""
    deadline = time.monotonic() + 120.0
    seen = owner.seen()
    while True:
        time.sleep(3.0)  # nothing tells that nothing will happen
        before, seen = seen, owner.seen()
        if seen == before:
            return seen
        assert time.monotonic() < deadline, "the owner's cluster does not come to rest"


@pytest.fixture
def home(paths: LabPaths, tmp_path: Path) -> Path:
    """A home of the guest's own, with the programs and images of this machine."""
    (tmp_path / "cache").symlink_to(paths.cache)
    return tmp_path


def run(home: Path, owner: Owner, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Replay as a guest: the exit code, the report, and what was said."""
    report = home / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "lab", "run", "--backend", "existing", "--kubeconfig", str(owner.kubeconfig), "--json",
         str(report), *arguments],
        cwd=ROOT,
        env=os.environ | {"LAB_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    said = f"{done.stderr}\n{done.stdout}"
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}, said


def test_without_a_registry_what_needs_images_is_skipped_and_the_option_named(home: Path, owner: Owner) -> None:
    code, report, said = run(home, owner, *NEEDS_IMAGES)
    assert code == 0, said
    assert [scenario["outcome"] for scenario in report["scenarios"]] == ["skip", "skip"]
    for scenario in report["scenarios"]:
        assert scenario["skipped"].startswith("without --image-registry the cluster gets no images of the lab's own")


def test_with_one_it_passes_and_nobody_else_in_the_cluster_notices(
    home: Path, owner: Owner, at_rest: dict[Any, Any]
) -> None:
    registry = f"http://{owner.registry}/{PREFIX}"
    arguments = (*NEEDS_IMAGES, "--no-mistakes", "--workers", "1", "--image-registry", registry)
    code, report, said = run(home, owner, *arguments)
    assert code == 0, said
    assert [scenario["outcome"] for scenario in report["scenarios"]] == ["pass", "pass"], said
    pushed = owner.storage / "docker/registry/v2/repositories" / PREFIX
    assert {path.name for path in pushed.glob("docker.io/*/*")} == {
        "gatekeeper",
        "kube-image-bouncer",
        "python",
    }
    assert owner.seen() == at_rest
    assert list_labs(LabPaths(cache=home / "cache", state=home / "state")) == ()


def test_several_workers_replay_in_one_cluster_side_by_side(home: Path, owner: Owner, at_rest: dict[Any, Any]) -> None:
    registry = f"http://{owner.registry}/{PREFIX}"
    arguments = (*POLICY_ONLY, "--no-mistakes", "--workers", "2", "--image-registry", registry)
    code, report, said = run(home, owner, *arguments)
    assert code == 0, said
    assert {scenario["outcome"] for scenario in report["scenarios"]} == {"pass"}, said
    assert owner.seen() == at_rest
