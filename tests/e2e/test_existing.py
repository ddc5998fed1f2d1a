"""A guest in somebody else's cluster: the scenarios it can hold pass there, and nobody else notices.

The cluster is an embedded lab that the guest knows by its kubeconfig alone, with workloads, a webhook and a policy of
its owner in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.cluster.backends import list_labs, open_cluster
from lab.cluster.existing.overlay import OWNER_LABEL
from lab.cluster.protocol import Addon, Guest, ImagePolicy, Needs, StartState
from lab.paths import LabPaths
from lab.scenario.load import load
from lab.scenario.result import Outcome
from lab.scenario.run import plan_for, run_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster.protocol import Cluster
    from tests.e2e.conftest import Eventually, Node

pytestmark = [pytest.mark.thorough, pytest.mark.lab_state("off")]

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "scenarios/cel/cel-trusted-registry"
OFF = StartState(image_policy=ImagePolicy.OFF)
WITH_GATEKEEPER = StartState(image_policy=ImagePolicy.OFF, addons=frozenset({Addon.GATEKEEPER}))

THEIRS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: docker.io/library/nginx:1.29}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: theirs}
webhooks:
  - name: theirs.example.com
    clientConfig: {url: "https://nobody.invalid/"}
    namespaceSelector: {matchLabels: {asked: "yes"}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: trusted-images}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]}
  validations: [{expression: "true"}]
"""
"""A policy of the same name as the scenario's, so that one would be taken for the other if names did not vary."""

KINDS = (
    "namespaces,deployments,replicasets,pods,serviceaccounts,configmaps,secrets,clusterroles,clusterrolebindings,"
    "validatingwebhookconfigurations,mutatingwebhookconfigurations,validatingadmissionpolicies,"
    "validatingadmissionpolicybindings,customresourcedefinitions"
)


def everything(node: Node) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Every object with its uid and resourceVersion, which change with it; not what the node says of its own Pods."""
    found: dict[tuple[str, str, str], tuple[str, str]] = {}
    for thing in node.get(KINDS, "-A")["items"]:
        metadata: dict[str, Any] = thing["metadata"]
        if "kubernetes.io/config.mirror" in metadata.get("annotations", {}):
            continue
        key = (thing["kind"], metadata.get("namespace", ""), metadata["name"])
        found[key] = (metadata["uid"], metadata["resourceVersion"])
    return found


@pytest.fixture
def roomy(node: Node) -> None:
    """Give the API server more memory than a start state without Gatekeeper has for it, as anybody's has."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["spec"]["containers"][0]["env"] = [{"name": "GOMEMLIMIT", "value": "400MiB"}]

    node.change_manifest(change)
    node.cluster.wait_api_server(timeout_s=60)


@pytest.fixture
def theirs(node: Node, eventually: Eventually, tmp_path: Path) -> Path:
    """A kubeconfig of the cluster, once its owner's workloads have come to rest."""
    node.kubectl("apply", "-f", "-", stdin=THEIRS)
    node.kubectl("rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s")
    node.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")
    seen = [everything(node)]

    def at_rest() -> bool:
        seen.append(everything(node))
        return seen[-1] == seen[-2]

    eventually(at_rest)
    copy = tmp_path / "theirs.kubeconfig"
    copy.touch(mode=0o600)
    copy.write_text(node.cluster.kubeconfig().read_text())
    return copy


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    """The guest's own state, and the programs of this machine."""
    return LabPaths(cache=LabPaths.from_environment().cache, state=tmp_path / "state")


@pytest.fixture
def guest(theirs: Path, paths: LabPaths) -> Iterator[Cluster]:
    cluster = open_cluster("guest", paths=paths, backend="existing", kubeconfig=theirs)
    yield cluster
    cluster.down()


@pytest.mark.lab_changes
def test_a_scenario_passes_among_the_workloads_of_others_and_leaves_nothing(guest: Cluster, node: Node) -> None:
    before = everything(node)
    scenario = load(SCENARIO)
    guest.up(scenario.document.start.state, progress=lambda _: None)
    result = run_scenario(scenario, guest, to_run=plan_for(scenario, guest, mistakes=False), fresh=True)
    assert result.outcome is Outcome.PASS, [phase.problem for phase in result.phases]
    during = everything(node)
    assert {key for key in during if key not in before}, "the scenario was replayed somewhere else"
    assert {key: during[key] for key in before} == before
    guest.down()
    assert everything(node) == before


@pytest.mark.lab_changes
def test_what_it_makes_decides_about_its_own_namespaces_only(guest: Cluster, node: Node) -> None:
    guest.up(OFF, progress=lambda _: None)
    solution = (SCENARIO / "solution.sh").read_text()
    made = guest.node_exec(["bash", "-eu", "-c", solution])
    assert made.exit_code == 0, made.stderr
    denied = guest.node_exec(
        [
            "bash",
            "-c",
            "for i in $(seq 100); do kubectl run x --image=quay.io/x --dry-run=server || break; sleep 0.2; done",
        ]
    )
    assert "ValidatingAdmissionPolicy 'trusted-images' with binding 'trusted-images' denied request" in denied.stderr
    assert "created (server dry run)" in node.kubectl("run", "x", "--image=quay.io/x", "-n", "shop", "--dry-run=server")
    # What kubectl makes itself it sends as protobuf.
    team = guest.node_exec(
        ["bash", "-euc", "kubectl create namespace team; kubectl create deployment a --image=a -n team"]
    )
    assert team.exit_code == 0, team.stderr
    assert node.get("deployments", "-A", "-l", "app=a")["items"][0]["metadata"]["namespace"].endswith("-1-team")
    for command in (
        "kubectl delete node --all",
        "kubectl delete clusterrole cluster-admin",
        "kubectl create clusterrole mine --verb=get --resource=pods",
        "kubectl delete --raw=/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    ):
        refused = guest.node_exec(["bash", "-c", command])
        assert refused.exit_code != 0
        assert "the lab's overlay:" in refused.stderr, command
    seen = guest.node_exec(["bash", "-c", "kubectl get validatingwebhookconfigurations,deployments -A -o name"])
    assert (seen.exit_code, seen.stdout) == (0, "deployment.apps/a\n"), "what is of others is not seen"


@pytest.mark.lab_changes
def test_gatekeeper_of_somebody_else_is_a_reason_to_skip(guest: Cluster, node: Node) -> None:
    assert isinstance(guest, Guest)
    assert guest.refusal(Needs(state=WITH_GATEKEEPER)) == ""
    node.kubectl("create", "namespace", "gatekeeper-system")
    assert guest.refusal(Needs(state=WITH_GATEKEEPER)).startswith("Gatekeeper is in the cluster already")
    assert list_labs(LabPaths.from_environment()), "the owner's lab is still there"


@pytest.mark.lab_changes
def test_pytest_workers_share_one_cluster_at_the_same_time(
    roomy: None, theirs: Path, paths: LabPaths, node: Node, tmp_path: Path
) -> None:
    del roomy
    pytest.importorskip("xdist")
    before = everything(node)
    (tmp_path / "cache").symlink_to(paths.cache)
    arguments = ["-n", "2", "--lab-backend", "existing", "--lab-kubeconfig", str(theirs), "-p", "no:cacheprovider"]
    chosen = "solution and (cel-trusted-registry or allowed-repos)"
    at_once = set()
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "tests/e2e/test_scenarios.py", "-k", chosen, *arguments],
        cwd=ROOT,
        env=os.environ | {"LAB_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as session:
        while session.poll() is None:
            labels = [one["metadata"].get("labels", {}) for one in node.get("namespaces")["items"]]
            at_once.add(len({label[OWNER_LABEL] for label in labels if OWNER_LABEL in label}))
            with contextlib.suppress(subprocess.TimeoutExpired):
                session.wait(0.5)  # each look costs what the two have to share
        output, _ = session.communicate()
    assert session.returncode == 0, output
    assert "2 passed" in output
    assert max(at_once) == 2, "each worker has names of its own, and none waits for the other to end"
    assert list_labs(paths) == ()
    assert everything(node) == before


@pytest.mark.lab_changes
def test_a_killed_run_is_cleaned_up_by_lab_down(
    theirs: Path, paths: LabPaths, node: Node, eventually: Eventually, tmp_path: Path
) -> None:
    before = everything(node)
    environment = os.environ | {"LAB_HOME": str(tmp_path)}
    (tmp_path / "cache").symlink_to(paths.cache)
    arguments = ["run", SCENARIO.name, "--backend", "existing", "--kubeconfig", str(theirs)]
    with subprocess.Popen(
        [sys.executable, "-m", "lab", *arguments], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    ) as run:
        try:
            eventually(lambda: "namespace/lab-" in node.kubectl("get", "namespaces", "-o", "name"), within_s=60.0)
        finally:
            run.send_signal(signal.SIGKILL)
    (left,) = list_labs(paths)
    down = subprocess.run(
        [sys.executable, "-m", "lab", "down", "--all"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (down.returncode, down.stdout) == (0, f"{left} is gone\n"), down.stderr
    assert list_labs(paths) == ()
    assert everything(node) == before
