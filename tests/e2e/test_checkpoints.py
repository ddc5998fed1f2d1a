"""A rewind leads back to what was, without a restart, or says that it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.cluster.protocol import Checkpoints, Cluster, Snapshots, StartState

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[str], str]

pytestmark = [
    pytest.mark.about_embedded("its checkpoints are written back into etcd"),
    pytest.mark.thorough,
    pytest.mark.lab_changes,
    pytest.mark.lab_state("off+bouncer"),
]

LISTED = "deployments,replicasets,pods,services,configmaps,secrets,serviceaccounts,roles,crds,namespaces"
EVERYTHING = f"kubectl get {LISTED} -A -o custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name"
FILES = "find /etc/kubernetes /etc/hosts -type f -exec sha256sum {} + | sort -k2"
API_SERVER = "pgrep -x kube-apiserver"


@pytest.fixture
def run(lab_cluster: Cluster) -> Run:
    def on_node(script: str) -> str:
        result = lab_cluster.node_exec(("bash", "-euc", script), timeout_s=120)
        assert result.exit_code == 0, f"{script}\n{result.stdout}{result.stderr}"
        return result.stdout

    return on_node


@pytest.fixture
def rewind(lab_cluster: Cluster) -> Callable[[], object]:
    """Takes a checkpoint; goes back to it."""
    assert isinstance(lab_cluster, Checkpoints)
    cluster = lab_cluster
    cluster.checkpoint("test", {"captured": "before"})
    return lambda: cluster.rewind("test")


def test_objects_and_files_come_back_and_go_without_a_restart(run: Run, rewind: Callable[[], object]) -> None:
    before, files, process = run(EVERYTHING), run(FILES), run(API_SERVER)
    run("kubectl create deployment web --image=docker.io/library/nginx --replicas=2")
    run("kubectl create namespace shop && kubectl -n shop create configmap prices --from-literal=tea=3")
    run("kubectl delete service image-bouncer-webhook && kubectl -n kube-system scale deployment coredns --replicas=0")
    run("echo x > /etc/kubernetes/admission/new && rm /etc/kubernetes/admission/kubeconf")
    run("echo 10.0.0.1 a >> /etc/hosts")
    assert run(EVERYTHING) != before
    assert rewind() == {"captured": "before"}
    assert run(EVERYTHING) == before
    assert run(FILES) == files
    assert run(API_SERVER) == process


def test_a_workload_runs_as_it_did(run: Run, rewind: Callable[[], object]) -> None:
    certificate = "openssl s_client -connect 127.0.0.1:30080 < /dev/null 2>/dev/null | openssl x509 -noout -fingerprint"
    before = run(certificate)
    run("kubectl get secret -o name | xargs kubectl delete")
    run("kubectl delete deployment image-bouncer-webhook")
    run("kubectl wait --for=delete pods -l app=image-bouncer-webhook --timeout=30s")
    assert rewind() is not None
    assert run(certificate) == before
    assert run("kubectl rollout status deployment image-bouncer-webhook --timeout=60s")


def test_what_came_back_goes_again_with_its_owner(run: Run, rewind: Callable[[], object]) -> None:
    """The garbage collector may be at work on what is put back, and remembers who was no more."""
    before = run(EVERYTHING)
    for pause in ("0", "0.05", "0.3", "1"):
        run(f"kubectl delete deployment image-bouncer-webhook && sleep {pause}")
        assert rewind() is not None
        assert run(EVERYTHING) == before
    run("kubectl delete deployment image-bouncer-webhook")
    run("kubectl wait --for=delete pods -l app=image-bouncer-webhook --timeout=30s")


def test_a_webhook_that_was_taken_away_denies_no_more(run: Run, rewind: Callable[[], object]) -> None:
    run(
        "kubectl apply -f - <<'YAML'\n"
        "apiVersion: admissionregistration.k8s.io/v1\n"
        "kind: ValidatingWebhookConfiguration\n"
        "metadata: {name: nobody}\n"
        "webhooks:\n"
        "  - name: nobody.example.com\n"
        '    clientConfig: {url: "https://127.0.0.1:9/"}\n'
        '    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]\n'
        "    sideEffects: None\n"
        "    admissionReviewVersions: [v1]\n"
        "YAML\n"
        "until ! kubectl run web --image=nginx --dry-run=server; do sleep 0.1; done"
    )
    assert rewind() is not None
    assert run("kubectl run web --image=nginx --dry-run=server")


def test_a_policy_that_was_taken_away_denies_no_more(run: Run, rewind: Callable[[], object]) -> None:
    run(
        "kubectl apply -f - <<'YAML'\n"
        "apiVersion: admissionregistration.k8s.io/v1\n"
        "kind: ValidatingAdmissionPolicy\n"
        "metadata: {name: nobody}\n"
        "spec:\n"
        "  matchConstraints:\n"
        '    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]\n'
        '  validations: [{expression: "false"}]\n'
        "---\n"
        "apiVersion: admissionregistration.k8s.io/v1\n"
        "kind: ValidatingAdmissionPolicyBinding\n"
        "metadata: {name: nobody}\n"
        "spec: {policyName: nobody, validationActions: [Deny]}\n"
        "YAML\n"
        "until ! kubectl run web --image=nginx --dry-run=server; do sleep 0.1; done"
    )
    assert rewind() is not None
    assert run("kubectl run web --image=nginx --dry-run=server")


@pytest.mark.lab_state("enforced+bouncer")
def test_new_objects_go_while_the_image_policy_is_on(run: Run, rewind: Callable[[], object]) -> None:
    run("kubectl run web --image=docker.io/library/nginx")
    assert rewind() is not None
    assert run("kubectl get pods -o name").count("pod/") == 1


@pytest.mark.lab_state("enforced+bouncer")
def test_verdicts_that_another_webhook_gave_are_no_way_back(run: Run, rewind: Callable[[], object]) -> None:
    """The API server remembers verdicts; those of a bouncer that is no more would outlast it."""
    run("kubectl scale deployment image-bouncer-webhook --replicas=2")
    assert rewind() is None


def test_an_api_server_that_was_started_again_is_no_way_back(run: Run, rewind: Callable[[], object]) -> None:
    process = run(API_SERVER)
    run("kill -9 $(pgrep -x kube-apiserver)")
    run(f"until [ \"$(pgrep -x kube-apiserver)\" != '{process.strip()}' ]; do sleep 0.1; done")
    assert rewind() is None


def test_an_edited_manifest_is_no_way_back(run: Run, rewind: Callable[[], object]) -> None:
    run("sed -i 's/--secure-port=6443/--secure-port=x/' /etc/kubernetes/manifests/kube-apiserver.yaml")
    assert rewind() is None


def test_a_service_account_that_was_deleted_is_no_way_back(run: Run, rewind: Callable[[], object]) -> None:
    """It would have another uid, and programs have tokens of the old one."""
    run("kubectl delete serviceaccount default")
    assert rewind() is None


def test_what_was_never_taken_is_told(lab_cluster: Cluster) -> None:
    assert isinstance(lab_cluster, Checkpoints)
    assert lab_cluster.rewind("never taken") is None


def test_a_reset_finds_another_way_and_forgets(run: Run, rewind: Callable[[], object], lab_cluster: Cluster) -> None:
    run("sed -i 's/--secure-port=6443/--secure-port=x/' /etc/kubernetes/manifests/kube-apiserver.yaml")
    assert isinstance(lab_cluster, Snapshots)
    lab_cluster.reset(StartState.from_key("off+bouncer"), progress=print)
    assert lab_cluster.status().api_server.state == "running"
    assert rewind() is None
