"""What boots closed, the bouncer that answers meanwhile, and what is deployed in which order."""

from __future__ import annotations

import base64
import io
import itertools
import json
import tarfile
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
import yaml

from lab.cluster.embedded.api_client import ApiClient
from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.kind import boot
from lab.cluster.kind.node_state import NodeFile
from lab.cluster.protocol import DEFAULT_STATE, Addon, ExecResult, ImagePolicy, StartState
from lab.cluster.start_state import ADMISSION_CONFIG
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.cluster.kind.engine import Engine
    from lab.cluster.protocol import Cluster

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/image-bouncer-webhook"
STARTED = ["Secret", "Deployment", "ReplicaSet", "Pod"]
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


@pytest.mark.parametrize(
    ("state", "closed"),
    [
        (DEFAULT_STATE, True),
        (StartState(image_policy=ImagePolicy.ENFORCED, addons=frozenset({Addon.BOUNCER, Addon.GATEKEEPER})), True),
        (StartState(image_policy=ImagePolicy.ENFORCED), False),
        (StartState(image_policy=ImagePolicy.OPEN, addons=frozenset({Addon.BOUNCER})), False),
        (StartState(image_policy=ImagePolicy.OFF), False),
    ],
)
def test_only_a_closed_state_with_somebody_to_ask_boots_closed(state: StartState, *, closed: bool) -> None:
    assert boot.is_closed(state) is closed


def test_the_bouncer_of_the_boot_lets_everything_in_where_the_api_server_looks_for_the_deployed_one() -> None:
    spec = boot.static_pod()["spec"]
    (container,) = spec["containers"]
    assert spec["hostNetwork"] is True
    assert "--port=30080" in container["args"]
    assert not any("whitelist" in argument for argument in container["args"])
    assert container["image"] == "docker.io/kainlite/kube-image-bouncer:latest"


def test_the_state_before_the_bouncer_is_open_and_has_none_of_its_objects() -> None:
    objects = {DEPLOYMENT: {"kind": "Deployment"}, "/api/v1/namespaces/default": {"kind": "Namespace"}}
    files = {ADMISSION_CONFIG: NodeFile(mode=0o644, content=b"closed"), "/etc/hosts": NodeFile(mode=1, content=b"h")}

    kept, opened = boot.without_bouncer(objects, files)

    assert list(kept) == ["/api/v1/namespaces/default"]
    assert opened["/etc/hosts"] == files["/etc/hosts"]
    assert b"defaultAllow: true" in opened[ADMISSION_CONFIG].content


class FakeNode:
    """A node whose kubeconfig is there from the second look on, and that notes what is made and removed."""

    def __init__(self) -> None:
        self.looks = 0
        self.applied: list[str] = []

    def archive(self, _node: str, path: str) -> bytes | None:
        self.looks += 1
        if self.looks == 1:
            return None
        document = yaml.safe_dump({"clusters": [{"cluster": {"server": "https://node:6443"}}]}).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(path.rpartition("/")[2])
            member.size = len(document)
            archive.addfile(member, io.BytesIO(document))
        return buffer.getvalue()

    def inspect(self, _node: str) -> dict[str, Any]:
        return {
            "NetworkSettings": {"Ports": {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "4321"}]}},
            "Config": {"Hostname": "one-control-plane"},
        }

    def node_exec(self, argv: Sequence[str]) -> ExecResult:
        assert argv[0] == "rm"
        self.applied.append(argv[-1])
        return ExecResult(argv=tuple(argv), exit_code=0, stdout="", stderr="")


class FakeApi:
    """An API server that starts: refuses, has an account, has no bouncer that runs, lacks a mirror pod, has all,
    then a Pod of what kubeadm deploys, and another."""

    def __init__(self, kubeconfig: Path, node: FakeNode) -> None:
        self.server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        self._node = node
        conflict = ApiError(request="POST", status=409, reason="AlreadyExists", message="is there", body={})
        self._accounts = iter([LabError("api-unavailable", "starts", hint="wait"), conflict])
        self._addresses = itertools.chain([""], itertools.repeat("10.244.0.4"))
        self._mirrored = itertools.chain([CONTROL_PLANE[1:]], itertools.repeat(CONTROL_PLANE))
        self._replicas = itertools.chain([1], itertools.repeat(2))
        self._daemons = itertools.chain([{}, {"currentNumberScheduled": 0}], itertools.repeat({}))
        self.held: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["kind"] != "ServiceAccount":
            self._node.applied.append(body["kind"])
            self.held[f"{path}/{body['metadata']['name']}"] = body
            return {**body, "metadata": {**body["metadata"], "uid": f"uid of the {body['kind']}"}}
        assert path == "/api/v1/namespaces/default/serviceaccounts"
        assert body["metadata"]["name"] == "default"
        assert self._node.applied == []
        raise next(self._accounts)

    async def get(self, path: str) -> dict[str, Any]:
        assert self._node.applied == STARTED  # the Service comes when the bouncer runs
        if path == "/api/v1/namespaces/default/pods":
            labels = {"app": "image-bouncer-webhook"}
            return {"items": [{"metadata": {"labels": labels}, "status": {"podIP": next(self._addresses)}}]}
        if path == "/apis/apps/v1/namespaces/kube-system/deployments":
            return {"items": [{"spec": {"replicas": 2}, "status": {"replicas": next(self._replicas)}}]}
        if path == "/apis/apps/v1/namespaces/kube-system/daemonsets":
            status = {"observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1}
            return {"items": [{"status": status | next(self._daemons)}]}
        assert path == "/api/v1/namespaces/kube-system/pods"
        annotations = {"kubernetes.io/config.mirror": "x"}
        names = next(self._mirrored)
        return {"items": [{"metadata": {"name": f"{name}-node", "annotations": annotations}} for name in names]}


class RefusingApi(FakeApi):
    """One that has an account, and takes nothing else."""

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["kind"] == "ServiceAccount":
            return body
        raise ApiError(request=f"POST {path}", status=403, reason="Forbidden", message="not yours", body={})


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_pause(_: float) -> None:
        return None

    monkeypatch.setattr("lab.cluster.kind.boot.asyncio.sleep", no_pause)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    for suffix in ("crt", "key"):
        (certificates / f"image-bouncer-webhook.{suffix}").write_text(suffix)
    return tmp_path


def deployment(node: FakeNode, root: Path, *, has_node: bool = True) -> boot.BouncerDeployment:
    return boot.BouncerDeployment(
        cast("Cluster", node), cast("Engine", node), node=lambda: "node" if has_node else None, root=root
    )


def deploy(root: Path, node: FakeNode, monkeypatch: pytest.MonkeyPatch, api: type[FakeApi] = FakeApi) -> FakeApi:
    """Deploy the bouncer to a cluster whose kubeadm has ended; what its API server holds then."""
    opened: list[FakeApi] = []

    def open_api(kubeconfig: Path, *, user_agent: str) -> FakeApi:
        del user_agent
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        opened.append(api(kubeconfig, node))
        return opened[0]

    monkeypatch.setattr(ApiClient, "from_kubeconfig", open_api)
    bouncer = deployment(node, root)
    bouncer.begin()
    bouncer.kubeadm_ended()
    bouncer.finish()
    return opened[0]


def test_the_service_comes_last_then_the_boots_bouncer_ends_and_the_kubeconfig_does_not_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = FakeNode()

    api = deploy(root, node, monkeypatch)

    assert node.applied == [*STARTED, "Service", boot.STATIC_POD]
    assert api.server == "https://127.0.0.1:4321"
    assert [file.name for file in root.iterdir()] == ["certificates"]
    secret = api.held["/api/v1/namespaces/default/secrets/tls-image-bouncer-webhook"]
    assert base64.b64decode(secret["data"]["tls.crt"]) == b"crt"
    assert base64.b64decode(secret["data"]["tls.key"]) == b"key"


def test_until_kubeadm_has_ended_the_boots_bouncer_answers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode()
    monkeypatch.setattr(ApiClient, "from_kubeconfig", lambda path, **_: FakeApi(path, node))
    monkeypatch.setattr(boot, "_DEPLOYED_S", 0.3)
    bouncer = deployment(node, root)

    bouncer.begin()
    with pytest.raises(LabError, match="kubeadm to end"):
        bouncer.finish()

    assert node.applied == STARTED


def test_the_controllers_find_their_work_done(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {body["kind"]: body for body in deploy(root, FakeNode(), monkeypatch).held.values()}
    replica_set, pod, wanted = held["ReplicaSet"], held["Pod"], held["Deployment"]["spec"]["template"]
    assert [owner["uid"] for owner in replica_set["metadata"]["ownerReferences"]] == ["uid of the Deployment"]
    assert [owner["uid"] for owner in pod["metadata"]["ownerReferences"]] == ["uid of the ReplicaSet"]
    labels = replica_set["spec"]["selector"]["matchLabels"]
    assert labels == replica_set["spec"]["template"]["metadata"]["labels"] == pod["metadata"]["labels"]
    assert {key: value for key, value in labels.items() if key != "pod-template-hash"} == wanted["metadata"]["labels"]
    assert replica_set["spec"]["template"]["spec"] == wanted["spec"]
    assert pod["spec"] == wanted["spec"] | {"nodeName": "one-control-plane"}


def test_a_pod_that_is_refused_because_nobody_listens_yet_is_left_to_its_controller(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClosedApi(FakeApi):
        async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            made = await super().create(path, body)
            if body["kind"] == "Pod":
                raise ApiError(request=f"POST {path}", status=403, reason="Forbidden", message="no answer", body={})
            return made

    node = FakeNode()
    deploy(root, node, monkeypatch, ClosedApi)

    assert node.applied == [*STARTED, "Service", boot.STATIC_POD]


def test_the_bouncer_can_be_applied_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = deploy(root, FakeNode(), monkeypatch).held[DEPLOYMENT]

    text = made["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    applied = json.loads(text)
    assert applied["metadata"].pop("annotations") == {}
    assert made == {
        **applied,
        "metadata": {**applied["metadata"], "annotations": made["metadata"]["annotations"]},
    }


def test_nobody_waits_for_a_bouncer_whose_cluster_could_not_be_made(root: Path) -> None:
    node = FakeNode()
    bouncer = deployment(node, root, has_node=False)

    bouncer.begin()
    bouncer.cancel()

    assert node.applied == []


def test_what_goes_wrong_is_told_where_the_bouncer_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiClient, "from_kubeconfig", lambda path, **_: RefusingApi(path, FakeNode()))
    bouncer = deployment(FakeNode(), root)

    bouncer.begin()
    with pytest.raises(LabError, match="not yours"):
        bouncer.finish()


def test_an_api_server_that_never_comes_is_not_waited_for_for_good(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_DEPLOYED_S", 0.01)
    bouncer = deployment(FakeNode(), root, has_node=False)

    bouncer.begin()
    with pytest.raises(LabError, match="kubeconfig"):
        bouncer.finish()
