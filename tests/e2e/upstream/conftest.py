"""An API server whose ImagePolicyWebhook these tests set up at will, and the backend that it asks.

The tests here are live counterparts of the plugin's own unit tests in Kubernetes 1.37
(plugin/pkg/admission/imagepolicy: admission_test.go, config_test.go); each case is named as it is there. What upstream
asks of a Go object is asked of a running API server, and where upstream expects some error, the API server's own text
is expected.

Each change of the plugin's configuration takes a start of the API server, so cases that share one share a test class.
Configurations with which it must not start are tried by further API servers of the same node, all at once.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import strict_yaml
from lab.admission import manifest as static_pod
from lab.admission.certificates import CertificateAuthority
from lab.admission.configuration import ImagePolicyConfig, admission_configuration
from lab.admission.kubeconf import WebhookKubeconfig, webhook_kubeconfig
from lab.cluster.embedded.api_server import last_error
from lab.cluster.protocol import ImagePolicy, StartState
from lab.scenario.start import put_back
from lab.testing.objects import api_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.cluster.protocol import Cluster
    from lab.pytest_plugin import SendProbe
    from lab.scenario.result import ProbeResult

DIRECTORY = "/etc/kubernetes/upstream"
BACKEND = "/root/image-policy-backend"
PORT = 20000
URL = f"https://127.0.0.1:{PORT}/review"
NAMESPACE = "default"
CANDIDATE_PORT = 16443
START_TIMEOUT_S = 60.0
POLL_S = 0.05
AUDIT_PREFIX = "imagepolicywebhook.image-policy.k8s.io/"


@dataclass(slots=True, kw_only=True)
class Backend:
    """The backend on the node, and what it was asked since it was last told what to do."""

    cluster: Cluster
    turn: str = ""

    def behave(
        self,
        policy: str = "by-image",
        *,
        reason: str = "not allowed",
        statuses: tuple[int, ...] = (200,),
        audit_annotations: Mapping[str, str] | None = None,
        tls: str = "mutual",
    ) -> None:
        """Do this from now on.

        Args:
            policy: ``allow`` or ``deny`` everything, or ``by-image``: deny where an image is ``bad``.
            reason: given with a denial; empty for none.
            statuses: HTTP status of the first answer, the second, ...; the last one stays.
            audit_annotations: given with each answer.
            tls: ``mutual`` (a client certificate is required), ``optional`` (asked for), ``distrusts-client``
                (required, from another CA) or ``plain`` (no TLS at all).
        """
        self.turn = uuid.uuid4().hex
        behaviour = {
            "turn": self.turn,
            "namespace": NAMESPACE,
            "policy": policy,
            "reason": reason,
            "statuses": statuses,
            "auditAnnotations": audit_annotations,
            "tls": tls,
        }
        self.cluster.write_node_file(f"{BACKEND}/behaviour.json", json.dumps(behaviour).encode())

    @property
    def reviews(self) -> list[dict[str, Any]]:
        """The reviews since then: ``at`` (seconds), ``client`` (the name in its certificate) and ``spec``."""
        text = self.cluster.read_node_file(f"{BACKEND}/reviews.jsonl") or b""
        return [review for line in text.splitlines() if (review := json.loads(line))["turn"] == self.turn]

    @property
    def images(self) -> list[list[str]]:
        """The images of each of these reviews, in their order."""
        return [[container["image"] for container in review["spec"]["containers"]] for review in self.reviews]


@dataclass(slots=True, kw_only=True)
class Plugin:
    """The API server with its ImagePolicyWebhook.

    Attributes:
        cluster: the lab.
        backend: whom the plugin asks, unless its kubeconfig says otherwise.
        manifest: the API server's manifest without the plugin.
        scratch: a directory of this machine.
    """

    cluster: Cluster
    backend: Backend
    manifest: static_pod.Manifest
    scratch: Path
    _configurations: int = field(default=0)

    @staticmethod
    def kubeconfig(*, authority: bool = True, client: bool = True) -> dict[str, Any]:
        """The webhook's kubeconfig: for the backend, with its CA and with a client certificate that it knows."""
        made = webhook_kubeconfig(
            WebhookKubeconfig(
                server=URL,
                certificate_authority=f"{DIRECTORY}/ca.crt",
                client_certificate=f"{DIRECTORY}/client.crt",
                client_key=f"{DIRECTORY}/client.key",
            )
        )
        if not authority:
            del made["clusters"][0]["cluster"]["certificate-authority"]
        if not client:
            made["users"][0]["user"] = {}
        return made

    def configure(self, *, kubeconfig: dict[str, Any] | None = None, **image_policy: Any) -> None:
        """Have the API server run with a configuration; returns when it does.

        Args:
            kubeconfig: the webhook's; see `kubeconfig`.
            image_policy: the ``imagePolicy`` block; what is not given is switched off.

        Raises:
            LabError: it does not start.
        """
        self._write(static_pod.MANIFEST_FILE, static_pod.render_manifest(self._manifest(kubeconfig, image_policy)))
        self.cluster.wait_api_server(timeout_s=START_TIMEOUT_S)

    def errors_of(self, candidates: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """What API servers end with that are started with these configurations (arguments of `configure`).

        They are static pods of the same node, beside the API server that runs, each with a port of its own.
        """
        directory = str(Path(static_pod.MANIFEST_FILE).parent)
        names = {case: f"candidate-{number}" for number, case in enumerate(candidates)}
        for number, (case, arguments) in enumerate(candidates.items()):
            block = {key: value for key, value in arguments.items() if key != "kubeconfig"}
            manifest = self._manifest(arguments.get("kubeconfig"), block)
            manifest = static_pod.set_flag(manifest, "secure-port", str(CANDIDATE_PORT + number))
            manifest["metadata"] = {"name": names[case], "namespace": "kube-system"}
            self._write(f"{directory}/{names[case]}.yaml", static_pod.render_manifest(manifest))
        try:
            return {case: self._last_error(name) for case, name in names.items()}
        finally:
            self._run("rm", *(f"{directory}/{name}.yaml" for name in names.values()))

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """Apply an object in the namespace that is the backend's business; unlike a new one, it is ready for Pods."""
        api_of(self.cluster).apply(manifest, namespace=NAMESPACE)

    @property
    def log(self) -> str:
        """What the API server that was started last has printed."""
        return self._log_of("kube-apiserver")

    def _manifest(self, kubeconfig: dict[str, Any] | None, image_policy: Mapping[str, Any]) -> static_pod.Manifest:
        """Write a configuration's files; how an API server runs with it."""
        self._configurations += 1
        path = f"{DIRECTORY}/{self._configurations}"
        configuration = admission_configuration(ImagePolicyConfig(kube_config_file=f"{path}.kubeconf"))
        block = configuration["plugins"][0]["configuration"]["imagePolicy"]
        block.update({"allowTTL": -1, "denyTTL": -1, "retryBackoff": -1, **image_policy})
        self._write(f"{path}.yaml", strict_yaml.dump(configuration))
        self._write(f"{path}.kubeconf", strict_yaml.dump(kubeconfig or self.kubeconfig()))
        manifest = static_pod.enable_image_policy_webhook(self.manifest, config_file=f"{path}.yaml", host_dir=DIRECTORY)
        # From this level on, the plugin tells which default it took and what is switched off.
        return static_pod.set_flag(manifest, "vmodule", "config=2")

    def _last_error(self, name: str) -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        while '"command failed"' not in (log := self._log_of(name)):
            assert time.monotonic() < deadline, f"{name} has not failed; it said last: {log[-500:]}"
            time.sleep(POLL_S)
        copy = self.scratch / f"{name}.log"
        copy.write_text(log)
        return last_error(copy)

    def _log_of(self, name: str) -> str:
        logs = f"/var/log/pods/kube-system_{name}-*/*/0.log"
        return self._run(
            "sh", "-c", f'newest=$(ls -t {logs} 2>/dev/null | head -n 1); [ -z "$newest" ] || cat "$newest"'
        )

    def _write(self, path: str, text: str) -> None:
        self.cluster.write_node_file(path, text.encode(), mode=0o600)

    def _run(self, *argv: str) -> str:
        result = self.cluster.node_exec(argv)
        assert result.exit_code == 0, result.stderr
        return result.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Asks the API server to create a Pod named ``asked`` (a dry run), which must get a certain verdict.

    Each method returns the annotations that the plugin added to the audit event, without their prefix.
    """

    send: SendProbe

    @staticmethod
    def pod(
        *images: str, name: str = "asked", init: tuple[str, ...] = (), annotations: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """A Pod with a container for each image."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": dict(annotations or {})},
            "spec": {
                "containers": [{"name": f"container-{n}", "image": image} for n, image in enumerate(images)],
                "initContainers": [{"name": f"init-{n}", "image": image} for n, image in enumerate(init)],
            },
        }

    def allowed(self, *images: str, failed_open: bool = False, **pod: Any) -> dict[str, str]:
        """Somebody decided for it; or, if it ``failed_open``, nobody could be asked."""
        return self._create(images, pod, {"verdict": "allowed", "failedOpen": failed_open})

    def denied(self, *images: str, message: str, **pod: Any) -> dict[str, str]:
        """The backend decided against it; ``message`` is what comes after ``is forbidden``."""
        return self._create(images, pod, _denial("image-policy-backend", f'pods "asked" is forbidden: {message}'))

    def failed(self, *images: str, message: str, **pod: Any) -> dict[str, str]:
        """The backend gave no answer, and the plugin failed closed; ``message`` is the whole of it."""
        return self._create(images, pod, _denial("image-policy-failed-closed", message))

    def _create(self, images: tuple[str, ...], pod: Mapping[str, Any], expect: dict[str, Any]) -> dict[str, str]:
        __tracebackhide__ = True
        event = self.probe({"object": self.pod(*images, **pod)}, expect).evidence["auditEvent"]
        assert isinstance(event, dict), "the request left no audit event"
        annotations: dict[str, str] = event.get("annotations", {})
        return {
            key.removeprefix(AUDIT_PREFIX): value for key, value in annotations.items() if key.startswith(AUDIT_PREFIX)
        }

    def probe(self, request: Mapping[str, Any], expect: Mapping[str, Any], *, dry_run: bool = True) -> ProbeResult:
        """Send any request about the namespace that is the backend's business."""
        __tracebackhide__ = True
        return self.send({**request, "namespace": NAMESPACE, "dryRun": dry_run, "expect": expect})


def _denial(decider: str, message: str) -> dict[str, Any]:
    return {"verdict": "denied", "decider": decider, "message": message}


@pytest.fixture
def ask(lab_probe: SendProbe) -> Ask:
    return Ask(send=lab_probe)


@pytest.fixture(scope="module")
def plugin(
    lab_cluster: Cluster, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plugin]:
    if pytestconfig.getoption("--lab-backend") != "embedded":
        pytest.skip("the backend of these tests runs on the node, with the Python of this machine")
    put_back(lab_cluster, StartState(image_policy=ImagePolicy.OFF), progress=lambda _: None)
    manifest = lab_cluster.read_node_file(static_pod.MANIFEST_FILE)
    assert manifest is not None
    backend = Backend(cluster=lab_cluster)
    _write_certificates(lab_cluster)
    backend.behave()
    script = Path(__file__).with_name("backend.py").read_bytes()
    started = lab_cluster.node_exec([sys.executable, "-I", "-", BACKEND, str(PORT)], stdin=script)
    assert started.exit_code == 0, started.stderr
    yield Plugin(
        cluster=lab_cluster,
        backend=backend,
        manifest=static_pod.parse_manifest(manifest.decode()),
        scratch=tmp_path_factory.mktemp("logs"),
    )
    ended = lab_cluster.node_exec(["sh", "-c", f"kill -KILL $(cat {BACKEND}/pid)"])
    assert ended.exit_code == 0, ended.stderr


def _write_certificates(cluster: Cluster) -> None:
    """One CA for both sides, and another one that the backend can be told to go by."""
    authority = CertificateAuthority.create("image-policy-ca")
    server = authority.issue_server(names=["127.0.0.1"])
    client = authority.issue_client(common_name="kube-apiserver-admission")
    other = CertificateAuthority.create("some-other-ca").pair
    files = {
        f"{DIRECTORY}/ca.crt": authority.pair.certificate_pem,
        f"{DIRECTORY}/client.crt": client.certificate_pem,
        f"{DIRECTORY}/client.key": client.key_pem,
        f"{BACKEND}/ca.crt": authority.pair.certificate_pem,
        f"{BACKEND}/other-ca.crt": other.certificate_pem,
        f"{BACKEND}/server.crt": server.certificate_pem,
        f"{BACKEND}/server.key": server.key_pem,
    }
    for path, content in files.items():
        cluster.write_node_file(path, content, mode=0o600)
