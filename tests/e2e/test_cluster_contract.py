"""The contract of lab.cluster.protocol, for any backend: run it with ``--lab-backend``."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from lab.cluster.protocol import Capability, Cluster, ImagePolicy, Snapshots, StartState
from lab.errors import LabError

if TYPE_CHECKING:
    from tests.e2e.conftest import Eventually, Node, OwnCluster

API_SERVER_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
FLAG = "--default-not-ready-toleration-seconds=123"
OFF = StartState(image_policy=ImagePolicy.OFF)


def _nobody(_text: str) -> None:
    """Progress that nobody watches."""


def _needs(cluster: Cluster, capability: Capability) -> None:
    if capability not in cluster.capabilities:
        pytest.skip(f"the backend {cluster.backend} lacks {capability.value}")


class TestStatus:
    def test_it_is_a_cluster(self, lab_cluster: Cluster) -> None:
        assert isinstance(lab_cluster, Cluster)

    def test_it_tells_what_runs(self, lab_cluster: Cluster) -> None:
        status = lab_cluster.status()
        assert (status.name, status.backend, status.phase) == (lab_cluster.name, lab_cluster.backend, "running")
        assert status.state == "enforced+bouncer"
        assert urlsplit(status.server).scheme == "https"
        assert status.api_server.state == "running"
        assert status.api_server.error == ""
        assert "--enable-admission-plugins=NodeRestriction,ImagePolicyWebhook" in status.api_server.flags

    def test_it_measures_every_process(self, lab_cluster: Cluster, eventually: Eventually) -> None:
        def measured() -> None:
            processes = {process.name: process for process in lab_cluster.status().processes}
            assert {"kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"} <= processes.keys()
            for process in processes.values():
                assert Path(f"/proc/{process.pid}").is_dir(), process
            assert (processes["kube-apiserver"].pss_bytes or 0) > 50_000_000
            assert lab_cluster.status().pss_bytes >= sum(process.pss_bytes or 0 for process in processes.values()) * 0.8

        # A lab that has just come up starts and ends some processes still.
        eventually(measured)


class TestKubeconfig:
    def test_it_works_from_outside_with_all_rights(self, lab_cluster: Cluster) -> None:
        from kubernetes import client, config  # noqa: PLC0415 - half a second, for this test alone

        api = config.new_client_from_config(  # type: ignore[no-untyped-call]  # the library has no types
            config_file=str(lab_cluster.kubeconfig()), persist_config=False
        )
        everything = client.V1ResourceAttributes(verb="*", group="*", resource="*")
        spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=everything)
        question = client.V1SelfSubjectAccessReview(spec=spec)
        try:
            namespaces = [found.to_dict() for found in client.CoreV1Api(api).list_namespace().items]
            review = client.AuthorizationV1Api(api).create_self_subject_access_review(question).to_dict()
        finally:
            api.rest_client.pool_manager.clear()
        assert {"default", "kube-system"} <= {found["metadata"]["name"] for found in namespaces}
        assert review["status"]["allowed"] is True

    def test_it_is_not_the_users_own(self, lab_cluster: Cluster) -> None:
        assert Path("~/.kube/config").expanduser() != lab_cluster.kubeconfig()

    def test_the_server_that_it_names_is_the_one_of_the_status(self, lab_cluster: Cluster) -> None:
        url = urlsplit(lab_cluster.status().server)
        assert url.hostname == "127.0.0.1"
        assert "BEGIN CERTIFICATE" in ssl.get_server_certificate((url.hostname, url.port or 0))


class TestNodeExec:
    def test_exit_code_and_both_streams(self, lab_cluster: Cluster) -> None:
        result = lab_cluster.node_exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
        assert result.argv == ("sh", "-c", "echo out; echo err >&2; exit 3")

    def test_a_signal_shows_in_the_exit_code(self, lab_cluster: Cluster) -> None:
        assert lab_cluster.node_exec(["sh", "-c", "kill -TERM $$"]).exit_code == 128 + 15

    def test_it_is_root_of_the_node_in_its_home(self, node: Node) -> None:
        assert node.run("id", "-u") == "0\n"
        assert node.run("pwd") == "/root\n"
        assert node.run("hostname") != Path("/proc/sys/kernel/hostname").read_text()

    def test_standard_input(self, lab_cluster: Cluster) -> None:
        data = bytes(range(128)) * 10_000
        result = lab_cluster.node_exec(["cksum"], stdin=data)
        assert result.stdout.split()[1] == str(len(data))
        assert lab_cluster.node_exec(["cat"]).stdout == ""

    def test_environment(self, lab_cluster: Cluster) -> None:
        result = lab_cluster.node_exec(["sh", "-c", 'echo "$WORD"'], env={"WORD": "please = thanks"})
        assert result.stdout == "please = thanks\n"

    def test_large_and_broken_output(self, lab_cluster: Cluster) -> None:
        assert len(lab_cluster.node_exec(["sh", "-c", "yes | head -c 3000000"]).stdout) == 3_000_000
        assert lab_cluster.node_exec(["printf", r"a\377b"]).stdout == "a\ufffdb"

    def test_a_command_that_takes_too_long_is_killed(self, node: Node, eventually: Eventually) -> None:
        began = time.monotonic()
        with pytest.raises(LabError, match=r"0\.5 s"):
            node.run("sh", "-c", "echo $$ > /tmp/slow.pid; exec sleep 300", timeout_s=0.5)
        assert time.monotonic() - began < 30
        gone = 'kill -0 "$(cat /tmp/slow.pid)" 2>/dev/null && exit 1; exit 0'
        eventually(lambda: node.attempt("sh", "-c", gone).exit_code == 0)

    def test_arguments_are_not_a_shells(self, node: Node) -> None:
        assert node.run("echo", "$HOME; *") == "$HOME; *\n"


class TestNodeFiles:
    @pytest.fixture(autouse=True)
    def _backend_can(self, lab_cluster: Cluster) -> None:
        _needs(lab_cluster, Capability.NODE_FILES)

    def test_a_file_that_is_not_there(self, lab_cluster: Cluster) -> None:
        assert lab_cluster.read_node_file("/root/none") is None

    @pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 1000], ids=["empty", "text", "binary"])
    def test_what_is_written_is_read(self, lab_cluster: Cluster, node: Node, content: bytes) -> None:
        path = "/root/made/by a test/file"
        lab_cluster.write_node_file(path, content, mode=0o640)
        assert lab_cluster.read_node_file(path) == content
        assert node.run("stat", "-c", "%a", path) == "640\n"

    def test_a_file_is_replaced_in_one_step(self, lab_cluster: Cluster, node: Node) -> None:
        lab_cluster.write_node_file("/root/replaced/file", b"old")
        before = node.run("stat", "-c", "%i", "/root/replaced/file")
        lab_cluster.write_node_file("/root/replaced/file", b"new")
        assert node.run("stat", "-c", "%i", "/root/replaced/file") != before
        assert node.run("ls", "-A", "/root/replaced") == "file\n"


@pytest.mark.lab_changes
class TestApiServer:
    @pytest.fixture(autouse=True)
    def _backend_can(self, lab_cluster: Cluster) -> None:
        _needs(lab_cluster, Capability.NODE_FILES)

    def test_waiting_returns_when_the_edited_manifest_runs(self, lab_cluster: Cluster, node: Node) -> None:
        assert FLAG not in lab_cluster.status().api_server.flags
        node.edit(rf"s/^\( *\)- kube-apiserver$/&\n\1- {FLAG}/")
        status = lab_cluster.wait_api_server(timeout_s=120)
        assert status.state == "running"
        assert FLAG in status.flags
        assert node.kubectl("get", "--raw", "/version")

    def test_waiting_ends_with_the_api_servers_own_error(self, lab_cluster: Cluster, node: Node) -> None:
        before = node.run("cat", API_SERVER_MANIFEST)
        node.edit(r"s/^\( *\)- kube-apiserver$/&\n\1- --enable-swagger-ui/")
        with pytest.raises(LabError) as caught:
            lab_cluster.wait_api_server(timeout_s=120)
        assert caught.value.code == "apiserver-failed"
        assert "unknown flag: --enable-swagger-ui" in str(caught.value)
        lab_cluster.write_node_file(API_SERVER_MANIFEST, before.encode(), mode=0o600)
        assert lab_cluster.wait_api_server(timeout_s=120).state == "running"


class TestLogs:
    def test_they_are_collected(self, lab_cluster: Cluster, tmp_path: Path) -> None:
        lab_cluster.collect_logs(tmp_path / "logs")
        files = [file for file in (tmp_path / "logs").rglob("*") if file.is_file()]
        for component in ("kube-apiserver", "etcd", "image-bouncer-webhook"):
            texts = [file.read_text(errors="replace") for file in files if component in str(file)]
            assert any(texts), f"{component} has no log among {files}"
        if Capability.AUDIT_LOG in lab_cluster.capabilities:
            assert any('"kind":"Event"' in file.read_text() for file in files if "audit" in file.name)


@pytest.mark.lab_changes
def test_a_reset_puts_files_objects_and_flags_back(lab_cluster: Cluster, node: Node) -> None:
    if not isinstance(lab_cluster, Snapshots):
        pytest.skip(f"the backend {lab_cluster.backend} cannot put a start state back")
    state = StartState.from_key(lab_cluster.status().state)
    manifest = lab_cluster.read_node_file(API_SERVER_MANIFEST)
    flags = lab_cluster.status().api_server.flags
    node.kubectl("create", "configmap", "left-over")
    node.run("touch", "/etc/kubernetes/left-over", f"{API_SERVER_MANIFEST}.bak")
    node.edit(rf"s/^\( *\)- kube-apiserver$/&\n\1- {FLAG}/")
    lab_cluster.reset(state, progress=_nobody)
    assert lab_cluster.read_node_file(API_SERVER_MANIFEST) == manifest
    assert lab_cluster.read_node_file("/etc/kubernetes/left-over") is None
    assert lab_cluster.read_node_file(f"{API_SERVER_MANIFEST}.bak") is None
    assert lab_cluster.status().api_server.flags == flags
    assert "NotFound" in node.attempt("kubectl", "get", "configmap", "left-over").stderr
    denied = node.attempt("kubectl", "run", "after", "--image=quay.io/after", "--dry-run=server")
    assert "image policy webhook backend denied one or more images" in denied.stderr


def test_up_and_down_may_be_repeated_and_leave_nothing(own_cluster: OwnCluster) -> None:
    cluster = own_cluster()
    assert cluster.status().phase == "stopped"
    with pytest.raises(LabError):
        cluster.kubeconfig()
    cluster.up(OFF, progress=_nobody)
    first = cluster.status()
    assert (first.phase, first.state) == ("running", "off")
    assert not any("ImagePolicyWebhook" in flag for flag in first.api_server.flags)
    cluster.up(OFF, progress=_nobody)
    assert (cluster.status().phase, cluster.status().server) == ("running", first.server)
    cluster.down()
    cluster.down()
    last = cluster.status()
    assert (last.phase, last.server, last.processes) == ("stopped", "", ())
    with pytest.raises(LabError):
        cluster.node_exec(["true"])
