"""Labs on kind, for real: what a start state decides, what a wrong definition ends with, and what is left behind.

Run by ``pytest tests/kind``, and among the others by ``make test KIND=main``. The contract that holds for every backend
is run by ``pytest tests/e2e/test_cluster_contract.py --lab-backend kind``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import struct
import threading
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.cluster.kind.backend import KindCluster
from lab.cluster.kind.boot import STATIC_POD
from lab.cluster.kind.layout import cluster_name
from lab.cluster.kind.leftovers import remove_left_over
from lab.cluster.protocol import DEFAULT_STATE
from lab.cluster.start_state import ADMISSION_CONFIG
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.cluster.kind.engine import Engine
    from lab.paths import LabPaths

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("kind_machine"), pytest.mark.xdist_group("kind-backend")]

ROOT = Path(__file__).parents[2]
DEFINITION = (ROOT / "kind-config.yaml").read_text()
_EVERY_PROTOCOL = 0x0003
_DNS_PORT = 53


def _nobody(_text: str) -> None:
    """Progress that nobody watches."""


class Queries(threading.Thread):
    """Hears every packet of this machine that goes to a name server."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.heard: list[bytes] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
        self._socket.settimeout(0.2)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                packet = self._socket.recv(65535)
            except TimeoutError:
                continue
            if packet[0] >> 4 == 4 and packet[9] in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
                header = (packet[0] & 0x0F) * 4
                if struct.unpack_from("!H", packet, header + 2)[0] == _DNS_PORT:
                    self.heard.append(packet)

    def stop(self) -> list[bytes]:
        self._over.set()
        self.join()
        self._socket.close()
        return self.heard


@pytest.fixture(scope="module")
def queries() -> Iterator[Queries]:
    if os.geteuid() != 0:
        pytest.skip("only root hears what the machine sends")
    listener = Queries()
    listener.start()
    yield listener
    if listener.is_alive():
        listener.stop()


@pytest.fixture(scope="module")
def lab(queries: Queries, start_lab: Callable[[], KindCluster]) -> KindCluster:
    del queries  # listens from before the node is there
    return start_lab()


def test_it_enforces_its_policy_and_the_bouncer_decides(lab: KindCluster) -> None:
    status = lab.status()
    assert (status.phase, status.state, status.backend) == ("running", "enforced+bouncer", "kind")
    denied = lab.node_exec(["kubectl", "run", "x", "--image=quay.io/x", "--dry-run=server"])
    assert "image policy webhook backend denied one or more images" in denied.stderr
    allowed = lab.node_exec(["kubectl", "run", "x", "--image=docker.io/library/nginx", "--dry-run=server"])
    assert allowed.exit_code == 0, allowed.stderr


def test_it_was_closed_from_the_start_and_the_bouncer_of_the_boot_is_gone(lab: KindCluster) -> None:
    assert lab.status().api_server.restarts == 0
    assert b"defaultAllow: false" in (lab.read_node_file(ADMISSION_CONFIG) or b"")
    assert lab.read_node_file(STATIC_POD) is None
    node = lab.node_exec(["hostname"]).stdout.strip()
    gone = ["kubectl", "wait", "--for=delete", f"pod/boot-bouncer-{node}", "-n", "kube-system", "--timeout=60s"]
    assert lab.node_exec(gone, timeout_s=70).exit_code == 0
    for program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        shown = lab.node_exec(["kubectl", "get", "pod", f"{program}-{node}", "-n", "kube-system"])
        assert shown.exit_code == 0, shown.stderr


def test_kube_proxy_does_not_wait_before_it_writes_its_rules(lab: KindCluster) -> None:
    shown = lab.node_exec(["kubectl", "get", "configmap", "kube-proxy", "-n", "kube-system", "-o", "yaml"])
    assert "minSyncPeriod: 10ms" in shown.stdout


def test_its_image_was_there_before_the_kubelet_asked_for_it(lab: KindCluster) -> None:
    unit = ["systemctl", "show", "lab-boot-images", "--property=Result,ActiveState"]
    assert sorted(lab.node_exec(unit).stdout.split()) == ["ActiveState=inactive", "Result=success"]
    unpacked = lab.node_exec(["journalctl", "-u", "lab-boot-images", "--no-pager", "-o", "cat"]).stdout
    assert "Image is up to date" in unpacked
    assert "unpacking sha256:" in unpacked


def test_the_bouncer_was_deployed_as_kubectl_apply_would(lab: KindCluster) -> None:
    manifest = resources.files("lab.cluster.addons").joinpath("bouncer.yaml").read_bytes()
    applied = lab.node_exec(["kubectl", "apply", "-f", "-"], stdin=manifest)
    assert applied.stderr == ""
    assert [line.rpartition(" ")[2] for line in applied.stdout.splitlines()] == ["unchanged", "unchanged"]


def test_the_bouncers_pod_compiles_nothing_at_its_start(lab: KindCluster) -> None:
    started = "import os, sys, lab.bouncer.__main__, lab.bouncer.policy, lab.bouncer.certificates, lab.bouncer.server"
    cached = "{m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)}"
    program = f"{started}; print([path for path in {cached} if not os.path.exists(path)])"
    # Without Debian's sitecustomize, a link of a few lines.
    python = ["/usr/bin/python3", "-SP", "-c", program]
    shown = lab.node_exec(["kubectl", "exec", "deployment/image-bouncer-webhook", "--", *python])
    assert (shown.exit_code, shown.stdout.strip()) == (0, "[]"), shown.stderr


def test_an_image_that_the_definition_names_unchanged_is_pulled_and_runs(lab: KindCluster) -> None:
    lab.load_images(["docker.io/library/httpd:2.4"], progress=_nobody)
    assert lab.node_exec(["kubectl", "run", "web", "--image=httpd:2.4"]).exit_code == 0
    ready = lab.node_exec(["kubectl", "wait", "pod/web", "--for=condition=Ready", "--timeout=90s"], timeout_s=100)
    assert ready.exit_code == 0, ready.stderr


def test_lab_works_in_a_shell_of_the_node(lab: KindCluster) -> None:
    assert lab.node_shell(["sh", "-c", "lab status > /root/status"]) == 0
    assert f"{lab.name}, running" in lab.node_exec(["cat", "/root/status"]).stdout
    outside_a_shell = lab.node_exec(["lab", "status"])
    assert outside_a_shell.exit_code == 2
    assert "lab node shell" in outside_a_shell.stderr


def test_an_image_is_built_on_the_node_and_runs(lab: KindCluster) -> None:
    lab.load_images(["docker.io/library/python:3"], progress=_nobody)
    lab.write_node_file("/root/built/hello.py", b"print('hello from the image')\n")
    lab.write_node_file("/root/built/Dockerfile", b'FROM python:3\nCOPY hello.py /\nCMD ["python", "/hello.py"]\n')
    built = lab.node_exec(["build-image", "-t", "docker.io/built/hello:v1", "-o", "/root/hello.tar", "/root/built"])
    assert built.exit_code == 0, built.stderr
    assert lab.node_exec(["ctr", "--namespace", "k8s.io", "images", "import", "/root/hello.tar"]).exit_code == 0
    run = ["kubectl", "run", "hello", "--image=docker.io/built/hello:v1", "--restart=Never"]
    assert lab.node_exec(run).exit_code == 0
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    assert lab.node_exec(["kubectl", "wait", "pod/hello", ended, "--timeout=60s"], timeout_s=70).exit_code == 0
    assert lab.node_exec(["kubectl", "logs", "hello"]).stdout == "hello from the image\n"


def test_an_unknown_name_is_none_at_once_and_nobody_outside_is_asked(lab: KindCluster, queries: Queries) -> None:
    name = f"unknown-{secrets.token_hex(6)}"
    began_s = time.monotonic()
    assert lab.node_exec(["getent", "hosts", f"{name}.example"]).exit_code == 2
    assert time.monotonic() - began_s < 5
    # The API server asks with its own resolver, from its container's file.
    servers = lab.node_exec(["sh", "-c", "cat /proc/$(pidof kube-apiserver)/root/etc/resolv.conf"]).stdout.split()
    assert servers == ["nameserver", "169.254.169.254"]
    # A Pod asks the cluster's own name server, which asks the node's for what it does not know itself.
    lab.node_exec(["kubectl", "run", "asks", "--image=docker.io/library/busybox:1.36", "--", "sleep", "infinity"])
    ready = lab.node_exec(["kubectl", "wait", "pod/asks", "--for=condition=Ready", "--timeout=90s"], timeout_s=100)
    assert ready.exit_code == 0, ready.stderr
    began_s = time.monotonic()
    asked = lab.node_exec(["kubectl", "exec", "asks", "--", "nslookup", f"pod-{name}.example"])
    assert "NXDOMAIN" in asked.stdout, asked
    assert time.monotonic() - began_s < 10
    inside = lab.node_exec(["kubectl", "exec", "asks", "--", "nslookup", "kubernetes.default.svc.cluster.local"])
    assert "10.96.0.1" in inside.stdout, inside
    heard = queries.stop()
    node = str(lab._engine.inspect(lab._require_node())["NetworkSettings"]["Networks"].popitem()[1]["IPAddress"])
    of_the_node = [packet for packet in heard if packet[12:16] == socket.inet_aton(node)]
    assert of_the_node == []
    assert not any(name.encode() in packet or b"image-bouncer-webhook" in packet for packet in heard)


def _without(beginning: str, end: str) -> tuple[str, str]:
    """Lines of the definition to be taken away: from one text to just before another."""
    start = DEFINITION.index(beginning)
    return DEFINITION[start : DEFINITION.index(end, start)], ""


@pytest.mark.parametrize(
    ("code", "change", "words"),
    [
        # What the reader refuses, before anything is made.
        pytest.param(
            "invalid-file",
            (
                _without("        # The flag replaces", "      extraVolumes")[0],
                "        enable-admission-plugins: NodeRestriction,ImagePolicyWebhook\n",
            ),
            "it is a map beside apiVersion kubeadm.k8s.io/v1beta4",
            id="map-style-arguments",
        ),
        pytest.param(
            "invalid-file",
            ("kubeadm.k8s.io/v1beta4", "kubeadm.k8s.io/v1beta3"),
            "a patch for kubeadm.k8s.io/v1beta3 to nothing",
            id="another-version-of-kubeadm",
        ),
        pytest.param(
            "invalid-file",
            _without("        - name: admission\n          hostPath", "        - name: audit-policy\n"),
            "is not mounted into the container",
            id="not-mounted-into-the-container",
        ),
        pytest.param(
            "invalid-file",
            _without("      - hostPath: admission\n", "      - hostPath: audit\n"),
            "nothing puts that file there",
            id="not-mounted-into-the-node",
        ),
        pytest.param(
            "invalid-file",
            ("      extraVolumes:", "     extraVolumes:"),
            "check the indentation",
            id="wrong-indentation",
        ),
        pytest.param(
            "invalid-file",
            ("hostPath: admission\n", "hostPath: admision\n"),
            "admision is not there",
            id="missing-directory",
        ),
        pytest.param(
            "invalid-file",
            ("NodeRestriction,ImagePolicyWebhook", "NodeRestriction,ImagePolicyWebHook"),
            "no admission plugin 'ImagePolicyWebHook'",
            id="unknown-plugin",
        ),
        # What only the API server can tell.
        pytest.param(
            "file-not-mounted",
            ("admission/admission_config.yaml", "admission/none.yaml"),
            "/etc/kubernetes/admission/none.yaml",
            id="missing-file",
        ),
        pytest.param(
            "flag-unknown",
            (
                "        - name: audit-log-path",
                '        - name: enable-swagger-ui\n          value: "true"\n        - name: audit-log-path',
            ),
            "--enable-swagger-ui",
            id="unknown-flag",
        ),
    ],
)
def test_a_wrong_definition_ends_with_cause_and_remedy_and_leaves_nothing(
    paths: LabPaths, docker_engine: Engine, tmp_path: Path, *, code: str, change: tuple[str, str], words: str
) -> None:
    old, new = change
    assert old in DEFINITION
    (tmp_path / "kind-config.yaml").write_text(DEFINITION.replace(old, new, 1))
    name = f"broken-{secrets.token_hex(3)}"
    cluster = KindCluster(name, paths=paths, definition=tmp_path / "kind-config.yaml")
    with pytest.raises(LabError) as caught:
        cluster.up(DEFAULT_STATE, progress=_nobody)
    assert (caught.value.code, words in str(caught.value)) == (code, True), caught.value
    assert not isinstance(caught.value, WaitError)
    assert caught.value.hint
    assert cluster_name(name, paths.labs) not in docker_engine.clusters()
    assert not (paths.labs / name).exists()


def test_what_a_killed_run_left_is_found_without_its_directory(paths: LabPaths, docker_engine: Engine) -> None:
    name = f"killed-{secrets.token_hex(3)}"
    mine = cluster_name(name, paths.labs)
    docker_engine.make_network(mine)
    shutil.rmtree(paths.labs / name, ignore_errors=True)
    assert mine in remove_left_over(paths)
    assert mine not in docker_engine.clusters()
