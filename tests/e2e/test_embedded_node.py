"""The embedded backend's node behaves as a real one: static pods, workloads, played Pods, Services, names."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lab.cluster.protocol import Cluster, ClusterStatus
    from tests.e2e.conftest import Eventually, Node

pytestmark = pytest.mark.about_embedded("its node plays what a kubelet does")

API_SERVER_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
FLAG = "--default-not-ready-toleration-seconds=77"
DIGEST = r"@sha256:[0-9a-f]{64}"


def _add_flag(node: Node, flag: str) -> None:
    node.edit(rf"s|^\( *\)- kube-apiserver$|&\n\1- {flag}|")


def _api_server_log(node: Node) -> str:
    return node.run("sh", "-c", "cat /var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/*.log")


def _failed(node: Node, *, error: str) -> ClusterStatus:
    """The status of a node whose API server has failed with this error; for `eventually`."""
    status = node.cluster.status()
    assert status.api_server.state == "failed"
    assert error in status.api_server.error
    return status


def test_lab_on_the_node_means_the_lab_that_one_is_in(lab_cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    assert lab_cluster.node_shell(("lab", "status", "--json")) == 0
    status = json.loads(capfd.readouterr().out)
    assert (status["name"], status["phase"]) == (lab_cluster.name, "running")
    assert lab_cluster.node_shell(("lab", "no-such-command")) == 2
    assert "no-such-command" in capfd.readouterr().err


@pytest.mark.lab_changes
class TestApiServerManifest:
    def test_an_edit_with_sed_is_taken_up(self, node: Node, eventually: Eventually) -> None:
        _add_flag(node, FLAG)
        eventually(lambda: FLAG in node.cluster.status().api_server.flags)
        eventually(lambda: node.attempt("kubectl", "get", "namespaces").exit_code == 0)
        assert node.cluster.wait_api_server(timeout_s=60).state == "running"

    def test_a_broken_flag_is_told_by_the_api_server_itself_and_mending_it_heals(
        self, node: Node, eventually: Eventually
    ) -> None:
        _add_flag(node, "--no-such-flag=1")
        failed = eventually(lambda: _failed(node, error="unknown flag"))
        assert failed.api_server.error == "Error: unknown flag: --no-such-flag"
        assert failed.phase == "broken"
        assert "Error: unknown flag: --no-such-flag" in _api_server_log(node)
        node.edit("/no-such-flag/d")
        assert node.cluster.wait_api_server(timeout_s=60).state == "running"
        assert node.cluster.status().phase == "running"

    @pytest.mark.thorough
    def test_a_file_that_is_not_mounted_is_missing_although_the_node_has_it(
        self, node: Node, eventually: Eventually
    ) -> None:
        path = "/etc/kubernetes/elsewhere/admission_config.yaml"
        node.run("mkdir", "-p", "/etc/kubernetes/elsewhere")
        node.run("cp", "/etc/kubernetes/admission/admission_config.yaml", path)
        node.edit(rf"s|\(--admission-control-config-file=\).*|\1{path}|")
        error = f'unable to read admission control configuration from "{path}" [open {path}: no such file or directory]'
        failed = eventually(lambda: _failed(node, error=error))
        assert failed.api_server.error.endswith(error)

    @pytest.mark.thorough
    def test_a_stray_backup_takes_over_when_an_edit_ends_the_first(self, node: Node, eventually: Eventually) -> None:
        first = node.pid_of("kube-apiserver")
        node.run("cp", API_SERVER_MANIFEST, f"{API_SERVER_MANIFEST}.bak")
        eventually(lambda: any("kube-apiserver.yaml.bak" in note for note in node.cluster.status().notes))
        _add_flag(node, FLAG)
        eventually(lambda: node.pid_of("kube-apiserver") not in (None, first))
        eventually(lambda: node.attempt("kubectl", "get", "--raw", "/livez").exit_code == 0)
        assert FLAG not in node.cluster.status().api_server.flags
        assert FLAG in node.run("cat", API_SERVER_MANIFEST)
        node.run("rm", f"{API_SERVER_MANIFEST}.bak")
        assert FLAG in node.cluster.wait_api_server(timeout_s=60).flags

    @pytest.mark.thorough
    def test_a_missing_directory_is_made_only_where_the_volume_says_so(
        self, node: Node, eventually: Eventually
    ) -> None:
        def with_volume(path: str, kind: str) -> None:
            def change(manifest: dict[str, Any]) -> None:
                volumes, mounts = manifest["spec"]["volumes"], manifest["spec"]["containers"][0]["volumeMounts"]
                volumes[:] = [volume for volume in volumes if volume["name"] != "extra"]
                volumes.append({"name": "extra", "hostPath": {"path": path, "type": kind}})
                mounts[:] = [mount for mount in mounts if mount["name"] != "extra"]
                mounts.append({"name": "extra", "mountPath": path, "readOnly": True})

            node.change_manifest(change)

        with_volume("/etc/kubernetes/made", "DirectoryOrCreate")
        assert node.cluster.wait_api_server(timeout_s=60).state == "running"
        assert node.run("stat", "-c", "%F", "/etc/kubernetes/made") == "directory\n"
        with_volume("/etc/kubernetes/not-made", "Directory")
        error = "hostPath type check failed, /etc/kubernetes/not-made is not a directory"
        eventually(lambda: _failed(node, error=error))
        assert node.cluster.read_node_file("/etc/kubernetes/not-made") is None
        with_volume("/etc/kubernetes/made", "DirectoryOrCreate")
        assert node.cluster.wait_api_server(timeout_s=60).state == "running"

    @pytest.mark.thorough
    def test_no_manifest_means_no_api_server(self, node: Node, eventually: Eventually) -> None:
        node.run("mv", API_SERVER_MANIFEST, "/root/kube-apiserver.yaml")
        eventually(lambda: node.cluster.status().api_server.state == "absent")
        assert node.pid_of("kube-apiserver") is None
        node.run("mv", "/root/kube-apiserver.yaml", API_SERVER_MANIFEST)
        assert node.cluster.wait_api_server(timeout_s=60).state == "running"


class TestWorkloads:
    def test_their_logs_are_read_with_kubectl(self, node: Node, lab_namespace: str, eventually: Eventually) -> None:
        node.kubectl("run", "asked", "--image=docker.io/library/nginx", "-n", lab_namespace, "--dry-run=server")
        wanted = f'namespace="{lab_namespace}"'
        eventually(lambda: wanted in node.kubectl("logs", "deployment/image-bouncer-webhook"))

    @pytest.mark.lab_state("off+gatekeeper")
    def test_those_of_a_start_state_do_not_cease_to_be_ready_when_it_is_put_back(
        self, node: Node, eventually: Eventually
    ) -> None:
        def look() -> None:
            for pod in node.get("pods", "-n", "gatekeeper-system")["items"]:
                ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")
                assert ready["status"] == "True"
                run = pod["status"]["containerStatuses"][0]
                # RFC 3339 in UTC, to the second: it was ready before this run of its container began.
                assert ready["lastTransitionTime"] <= run["state"]["running"]["startedAt"]

        eventually(look)

    @pytest.mark.lab_changes
    def test_a_secret_reaches_a_workload_while_it_runs(self, node: Node, eventually: Eventually) -> None:
        def served() -> str:
            """The certificate that the bouncer shows to the node."""
            shown = node.run("sh", "-c", "openssl s_client -connect 127.0.0.1:30080 </dev/null 2>/dev/null")
            return node.run("openssl", "x509", "-noout", "-subject", stdin=shown).strip()

        pods = node.kubectl("get", "pods", "-l", "app=image-bouncer-webhook", "-o", "name")
        assert "renewed" not in served()
        node.run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "/root/renewed.key", "-out", "/root/renewed.crt", "-days", "2", "-subj", "/CN=renewed",
        )  # fmt: skip
        secret = node.kubectl(
            "create", "secret", "tls", "tls-image-bouncer-webhook", "--cert=/root/renewed.crt",
            "--key=/root/renewed.key", "--dry-run=client", "-o", "yaml",
        )  # fmt: skip
        node.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=secret)
        eventually(lambda: "renewed" in served(), within_s=90)
        assert node.kubectl("get", "pods", "-l", "app=image-bouncer-webhook", "-o", "name") == pods


class TestPlayedPods:
    def _run(self, node: Node, namespace: str, name: str, image: str) -> None:
        node.kubectl("run", name, f"--image={image}", "-n", namespace)

    def _status(self, node: Node, namespace: str, name: str) -> dict[str, Any]:
        status: dict[str, Any] = node.get("pod", name, "-n", namespace)["status"]
        return status

    def test_they_run_the_digest_that_the_registry_serves(
        self, node: Node, lab_namespace: str, eventually: Eventually
    ) -> None:
        images = {
            "tagged": "docker.io/library/nginx:1.29.4",
            "latest": "docker.io/library/nginx",
            "older": "docker.io/library/nginx:1.27.5",
        }
        for name, image in images.items():
            self._run(node, lab_namespace, name, image)

        def image_id(name: str) -> str:
            status = self._status(node, lab_namespace, name)
            assert status["phase"] == "Running"
            return str(status["containerStatuses"][0]["imageID"])

        ids = {name: eventually(lambda name=name: image_id(name)) for name in images}  # type: ignore[misc]
        assert all(re.fullmatch(rf"docker\.io/library/nginx{DIGEST}", found) for found in ids.values())
        assert ids["tagged"] == ids["latest"] != ids["older"]

    def test_an_image_that_the_registry_lacks_is_not_pulled(
        self, node: Node, lab_namespace: str, eventually: Eventually
    ) -> None:
        self._run(node, lab_namespace, "typo", "docker.io/library/ngnix")

        def waiting() -> dict[str, Any]:
            (container,) = self._status(node, lab_namespace, "typo").get("containerStatuses", [{"state": {}}])
            assert "waiting" in container["state"]
            found: dict[str, Any] = container["state"]["waiting"]
            assert found["reason"] in ("ErrImagePull", "ImagePullBackOff")
            return found

        found = eventually(waiting)
        assert "ngnix" in found["message"]
        assert self._status(node, lab_namespace, "typo")["phase"] == "Pending"

    @pytest.mark.parametrize("verb", [("exec", "played", "--", "ls"), ("attach", "played")], ids=["exec", "attach"])
    def test_they_cannot_be_entered_and_say_why_at_once(
        self, node: Node, lab_namespace: str, eventually: Eventually, verb: tuple[str, ...]
    ) -> None:
        self._run(node, lab_namespace, "played", "docker.io/library/busybox")
        eventually(lambda: self._status(node, lab_namespace, "played")["phase"] == "Running")
        began = time.monotonic()
        result = node.attempt("kubectl", *verb[:1], "-n", lab_namespace, *verb[1:], timeout_s=30)
        assert time.monotonic() - began < 20
        assert result.exit_code != 0
        assert re.search(r"unable to upgrade connection: .*embedded", result.stderr), result.stderr


class TestServices:
    def _connect(self, node: Node, address: str, port: int) -> str:
        """What comes of a TCP connection from the node: ``connected``, or why not."""
        script = 'exec 3<>"/dev/tcp/$1/$2" && echo connected'
        result = node.attempt("timeout", "5", "bash", "-c", script, "bash", address, str(port))
        return result.stdout.strip() or result.stderr

    def test_one_without_endpoints_refuses(self, node: Node, lab_namespace: str, eventually: Eventually) -> None:
        node.kubectl("create", "service", "nodeport", "empty", "--tcp=80:80", "-n", lab_namespace)
        spec = node.get("service", "empty", "-n", lab_namespace)["spec"]
        node_port = spec["ports"][0]["nodePort"]
        for address, port in ((spec["clusterIP"], 80), ("127.0.0.1", node_port)):
            eventually(lambda a=address, p=port: "Connection refused" in self._connect(node, a, p))  # type: ignore[misc]

    def test_one_with_endpoints_answers_on_both_addresses(self, node: Node, eventually: Eventually) -> None:
        spec = node.get("service", "image-bouncer-webhook")["spec"]
        for address, port in ((spec["clusterIP"], 443), ("127.0.0.1", 30080)):
            eventually(lambda a=address, p=port: self._connect(node, a, p) == "connected")  # type: ignore[misc]

    @pytest.mark.lab_changes
    def test_it_refuses_when_its_last_pod_has_gone(self, node: Node, eventually: Eventually) -> None:
        node.kubectl("scale", "deployment", "image-bouncer-webhook", "--replicas=0")
        eventually(lambda: "Connection refused" in self._connect(node, "127.0.0.1", 30080), within_s=60)


class TestNames:
    def test_an_unknown_name_is_unknown_at_once(self, node: Node) -> None:
        began = time.monotonic()
        result = node.attempt("getent", "hosts", "external-service", timeout_s=30)
        assert result.exit_code == 2
        assert time.monotonic() - began < 9, "a resolver that does not answer takes 10 s at least"

    def test_the_nodes_own_hosts_file_comes_first(self, node: Node) -> None:
        assert node.run("getent", "hosts", "image-bouncer-webhook").split()[0] == "127.0.0.1"


class TestStaticPods:
    def test_each_has_a_mirror_pod_that_runs(self, node: Node, eventually: Eventually) -> None:
        components = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")

        def mirrored() -> None:
            pods = node.get("pods", "-n", "kube-system", "-l", "tier=control-plane")["items"]
            assert sorted(pod["metadata"]["labels"]["component"] for pod in pods) == list(components)
            for pod in pods:
                assert pod["metadata"]["annotations"]["kubernetes.io/config.mirror"]
                assert pod["metadata"]["ownerReferences"][0]["kind"] == "Node"
                assert pod["status"]["phase"] == "Running"
                (container,) = pod["status"]["containerStatuses"]
                assert container["ready"]
                assert re.fullmatch(rf"registry\.k8s\.io/[-a-z]+{DIGEST}", container["imageID"])

        # A kubelet takes its time: startup probes begin after 10 s and come every 10 s.
        # So this stands behind the tests that had the lab meanwhile.
        eventually(mirrored, within_s=90)

    def test_their_logs_are_read_with_kubectl(self, node: Node) -> None:
        name = node.run("hostname").strip()
        log = node.kubectl("logs", "-n", "kube-system", f"etcd-{name}", "--tail=5")
        assert len(log.splitlines()) == 5
        assert all(json.loads(line)["level"] for line in log.splitlines())


def test_nothing_of_the_machine_can_be_reached(lab_cluster: Cluster, node: Node) -> None:
    """The API server's relay listens on the machine's loopback, which is not the node's."""
    port = lab_cluster.status().server.rpartition(":")[2]
    result = node.attempt("timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")
    assert "Connection refused" in result.stderr
