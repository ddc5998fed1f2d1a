"""A cluster and an API server made of plain values, with the texts that the real ones print."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.cluster.protocol import Addon, ApiServerStatus, Capability, ClusterStatus, ExecResult, Needs, StartState
from lab.errors import LabError
from lab.scenario.api import Api, Request, Response
from lab.scenario.evidence import AUDIT_LOG, AuditLog, BouncerRecord
from lab.scenario.load import Scenario, load
from lab.scenario.sighting import Context


@dataclass
class Clock:
    """Time that passes only when somebody waits."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def _kinds(*kinds: tuple[str, str, bool]) -> dict[str, Any]:
    return {"resources": [{"kind": kind, "name": name, "namespaced": inside} for kind, name, inside in kinds]}


KINDS = {
    "/api/v1": _kinds(
        ("Pod", "pods", True),
        ("Pod", "pods/ephemeralcontainers", True),
        ("Namespace", "namespaces", False),
        ("Event", "events", True),
        ("ServiceAccount", "serviceaccounts", True),
    ),
    "/apis/apps/v1": _kinds(("Deployment", "deployments", True)),
    "/apis/admissionregistration.k8s.io/v1": _kinds(
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False),
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    ),
}


@dataclass
class FakeApiServer:
    """Answers requests from a store of objects; ``decide`` is its admission."""

    BACKEND_DENIAL: ClassVar[str] = (
        'pods "podx" is forbidden: image policy webhook backend denied one or more images: image "gcr.io/x" comes from '
        "registry gcr.io, which is not in the whitelist docker.io, k8s.gcr.io"
    )
    FAILED_CLOSED: ClassVar[str] = (
        'pods "podx" is forbidden: Post "https://image-bouncer-webhook:30080/image_policy?timeout=30s": dial tcp '
        "127.0.0.1:30080: connect: connection refused"
    )
    FAILED_OPEN: ClassVar[str] = "imagepolicywebhook.image-policy.k8s.io/failed-open"

    decide: Callable[[Request], Response | None] = lambda _request: None
    annotations: dict[str, str] = field(default_factory=dict)
    audited: bool = True
    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    bouncer_log: str = ""
    reviewed: Callable[[Request], str | None] = lambda _request: None
    requests: list[Request] = field(default_factory=list)
    audit_log: str = ""

    @staticmethod
    def status(message: str, *, code: int = 403, reason: str = "Forbidden", **details: Any) -> Response:
        """What the API server answers when it does not do what was asked."""
        body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, **details}
        return Response(status=code, text=json.dumps(body))

    @staticmethod
    def reply(data: object, *, code: int = 200) -> Response:
        return Response(status=code, text=json.dumps(data))

    @staticmethod
    def image_of(request: Request) -> str:
        """The image of the Pod that a probe sends."""
        assert isinstance(request.body, dict)
        image: str = request.body["spec"]["containers"][0]["image"]
        return image

    @classmethod
    def bouncer(cls, request: Request) -> Response | None:
        """An admission that denies what is not from docker.io, as the real one puts it."""
        return None if cls.image_of(request).startswith("docker.io/") else cls.status(cls.BACKEND_DENIAL)

    @classmethod
    def bouncer_down(cls, _request: Request) -> Response:
        """ImagePolicyWebhook with defaultAllow false and no backend."""
        return cls.status(cls.FAILED_CLOSED)

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        path = urlsplit(request.path).path
        if request.method == "GET":
            return self._get(path, request)
        audit_id = dict(request.headers).get("Audit-ID")
        if audit_id is None:
            return self.reply({}, code=201)
        line = self.reviewed(request)
        if line is not None:
            self.bouncer_log += f"2026-11-21T00:00:00.000Z info review {line}\n"
        answer = self.decide(request) or self.reply(request.body, code=201)
        if self.audited:
            event = {"auditID": audit_id, "stage": "ResponseComplete", "annotations": self.annotations}
            self.audit_log += json.dumps(event) + "\n"
        return answer

    def _get(self, path: str, request: Request) -> Response:
        if path in KINDS:
            return self.reply(KINDS[path])
        if path.endswith("/log"):
            return Response(status=200, text=self.bouncer_log)
        if path.endswith("/serviceaccounts/default"):
            return self.reply({"metadata": {"name": "default"}})
        query = parse_qs(urlsplit(request.path).query)
        if path in self.objects:
            return self.reply({"items": self.objects[path]})
        parent, _, name = path.rpartition("/")
        named = [item for item in self.objects.get(parent, []) if item["metadata"]["name"] == name]
        if named and not query:
            return self.reply(named[0])
        is_list = re.search(r"/(pods|deployments|events|\w+configurations)$", path)
        return self.reply({"items": []}) if is_list else self.status("not found", code=404, reason="NotFound")

    def sent_probes(self) -> list[Request]:
        return [request for request in self.requests if dict(request.headers).get("Audit-ID")]


@dataclass
class FakeCluster:
    """A cluster whose node is a dict of files and a function of commands."""

    api: FakeApiServer
    name: str = "fake"
    backend: str = "embedded"
    capabilities: frozenset[Capability] = frozenset(Capability)
    files: dict[str, bytes] = field(default_factory=dict)
    flags: tuple[str, ...] = ("--enable-admission-plugins=NodeRestriction,ImagePolicyWebhook",)
    state: str = "running"
    error: str = ""
    key: str = "off"
    on_exec: Callable[[Sequence[str]], ExecResult | None] = lambda _argv: None
    actions: list[str] = field(default_factory=list)
    home: Path = Path("/nowhere")

    def up(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        progress("up")
        self.actions.append(f"up {state.key}")

    def down(self) -> None:
        self.actions.append("down")

    def status(self) -> ClusterStatus:
        api_server = ApiServerStatus(state=self.state, flags=self.flags, error=self.error)
        return ClusterStatus(
            name=self.name, backend=self.backend, phase="running", state=self.key, server="", api_server=api_server
        )

    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    def node_exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        assert not stdin
        assert not env
        assert timeout_s > 0
        done = self.on_exec(argv) or self._audit(argv)
        if done is not None:
            return done
        self.actions.append(f"exec {argv[-1].strip()}")
        return ExecResult(argv=tuple(argv), exit_code=0, stdout="", stderr="")

    def node_shell(self, argv: Sequence[str] = ()) -> int:
        self.actions.append(f"shell {' '.join(argv)}")
        return 0

    def _audit(self, argv: Sequence[str]) -> ExecResult | None:
        if argv[0] == "stat" and argv[-1] == AUDIT_LOG:
            return ExecResult(argv=tuple(argv), exit_code=0, stdout=f"{len(self.api.audit_log)}\n", stderr="")
        if AUDIT_LOG in argv:
            offset = int(argv[-1])
            text = f"{offset}\n{self.api.audit_log[offset:]}"
            return ExecResult(argv=tuple(argv), exit_code=0, stdout=text, stderr="")
        return None

    def read_node_file(self, path: str) -> bytes | None:
        return self.files.get(path)

    def write_node_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        self.actions.append(f"write {path} {mode:o}")
        self.files[path] = content

    def wait_api_server(self, *, timeout_s: float) -> ApiServerStatus:
        if self.state == "failed":
            raise LabError("apiserver-failed", self.error, hint="mend the manifest", context={"s": str(timeout_s)})
        return self.status().api_server

    def collect_logs(self, destination: Path) -> None:
        destination.mkdir(parents=True)
        (destination / "kube-apiserver.log").write_text("log\n")


class FakeSnapshotCluster(FakeCluster):
    """One that can put a start state back."""

    def reset(self, state: StartState, *, progress: Callable[[str], None]) -> None:
        progress("reset")
        self.actions.append(f"reset {state.key}")


class FakeGuestCluster(FakeSnapshotCluster):
    """One in somebody else's cluster, which has Gatekeeper of its own."""

    def refusal(self, needs: Needs) -> str:
        return "Gatekeeper is there" if Addon.GATEKEEPER in needs.state.addons | needs.installs else ""

    def claim(self, needs: Needs) -> None:
        self.actions.append(f"claim for {needs.state.key}")


class FakeLoadingCluster(FakeSnapshotCluster):
    """One on which images have to be made ready."""

    def load_images(self, images: Sequence[str], *, progress: Callable[[str], None]) -> None:
        progress("loading")
        self.actions.append(f"load {' '.join(images)}")


SCENARIO = """\
apiVersion: lab.supply-chain/v1alpha1
kind: Scenario
metadata:
  name: demo
  topic: topic
  title: A demonstration
  seeds: ["000"]
  difficulty: easy
  weight: 5
  timeMinutes: 5
requires: [node-files]
start:
  imagePolicy: enforced
  addons: [bouncer]
hints: [Look.]
checks:
  - id: other-registry-denied
    title: gcr.io/x is denied by the bouncer
    points: 3
    probe:
      run: {name: podx, image: gcr.io/x}
      expect:
        verdict: denied
        decider: image-policy-backend
        message: >-
          pods "podx" is forbidden: image policy webhook backend denied one or more images: image "gcr.io/x" comes from
          registry gcr.io, which is not in the whitelist docker.io, k8s.gcr.io
    feedback:
      - id: let-in
        when: {verdict: allowed}
        say: It was let in.
      - id: not-asked
        when: {decider: failed-closed}
        say: The bouncer did not answer.
      - id: other
        say: Something else happened.
  - id: docker-hub-allowed
    title: docker.io/nginx is let in
    points: 1
    untouched: passes
    probe:
      run: {name: podx, image: docker.io/nginx}
      bracket: other-registry-denied
      expect: {verdict: allowed}
    feedback:
      - id: other
        say: It must be let in.
mistakes:
  - id: bouncer-down
    title: The bouncer is down
    script: mistakes/bouncer-down.sh
    fails: other-registry-denied
    feedback: not-asked
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A scenario's directory with all that `SCENARIO` names, but for the scenario.yaml."""
    here = tmp_path / "scenarios" / "topic" / "demo"
    (here / "mistakes").mkdir(parents=True)
    (here / "task.md").write_text("Do it.\n")
    (here / "solution.sh").write_text("solve\n")
    (here / "mistakes" / "bouncer-down.sh").write_text("stop the bouncer\n")
    return here


Write = Callable[..., Path]


@pytest.fixture
def write(directory: Path) -> Write:
    """Writes a scenario.yaml: `SCENARIO` with some of its text replaced."""

    def write_scenario(*changes: tuple[str, str], text: str = SCENARIO) -> Path:
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (directory / "scenario.yaml").write_text(text)
        return directory

    return write_scenario


@pytest.fixture
def api() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def cluster(api: FakeApiServer, tmp_path: Path) -> FakeSnapshotCluster:
    return FakeSnapshotCluster(api=api, home=tmp_path)


@pytest.fixture
def plain(api: FakeApiServer, tmp_path: Path) -> FakeCluster:
    """One that cannot."""
    return FakeCluster(api=api, home=tmp_path, backend="kind")


@pytest.fixture
def scenario(write: Write) -> Scenario:
    return load(write())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def context(scenario: Scenario, cluster: FakeSnapshotCluster, clock: Clock) -> Context:
    reachable = Api(cluster.api)
    return Context(
        scenario=scenario,
        cluster=cluster,
        api=reachable,
        audit=AuditLog(cluster, clock=clock, pause=clock.pause),
        record=BouncerRecord(reachable),
        captures={"digest-before": "sha256:" + "a" * 64},
        clock=clock,
        pause=clock.pause,
    )
