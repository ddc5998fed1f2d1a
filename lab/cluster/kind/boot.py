"""Boots a lab closed, and deploys its bouncer while kind is still at work: nothing has to be restarted for it.

The API server reads how ImagePolicyWebhook is set up when it starts. Closed, with nobody to ask, it refuses every Pod,
those of the system and of the bouncer too. So a bouncer of the boot answers first: a static pod that the kubelet runs
beside the control plane, at the port where the API server is going to find the deployed one, and that lets everything
in. When the deployed one starts its Service takes the port, and the boot's ends.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import secrets
import tarfile
import threading
import time
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from lab.admission.configuration import ImagePolicyConfig, admission_configuration_yaml
from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.kind.node_services import BOOT_BOUNCER, CERTIFICATES
from lab.cluster.kind.node_state import NodeFile
from lab.cluster.kind.proof import COMPONENTS, ETCD
from lab.cluster.mirror_pods import is_mirror
from lab.cluster.protocol import Addon, ImagePolicy
from lab.cluster.start_state import ADMISSION_CONFIG
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.kind.engine import Engine
    from lab.cluster.kind.objects import Objects
    from lab.cluster.protocol import Cluster, StartState

STATIC_POD = f"/etc/kubernetes/manifests/{BOOT_BOUNCER}"
"""Where the node has the bouncer of the boot."""
_ADMINISTRATOR = "/etc/kubernetes/super-admin.conf"
"""Of both that kubeadm writes, the one that may do everything before the first role is bound."""
_API_PORT = "6443/tcp"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/default/serviceaccounts",
    "Secret": "/api/v1/namespaces/default/secrets",
    "Service": "/api/v1/namespaces/default/services",
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
}
_REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"
_HASH = "pod-template-hash"
_PODS = "/api/v1/namespaces/default/pods"
_SYSTEM_PODS = "/api/v1/namespaces/kube-system/pods"
_SYSTEM_DEPLOYMENTS = "/apis/apps/v1/namespaces/kube-system/deployments"
_SYSTEM_DAEMON_SETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"
_APP = "image-bouncer-webhook"
_SECRET = f"tls-{_APP}"
_BOUNCER_OBJECTS = tuple(
    f"{_COLLECTIONS[kind]}/{name}" for kind, name in (("Secret", _SECRET), ("Service", _APP), ("Deployment", _APP))
)
_DEPLOYED_S = 420.0
"""As long as kind may take, and the bouncer's start."""
_POLL_S = 0.2
_FETCH_S = 0.5
"""Docker mounts all that the node has for each file that is fetched."""


def is_closed(state: StartState) -> bool:
    """Whether a state can be booted as it is: closed, with the bouncer to ask."""
    return state.image_policy is ImagePolicy.ENFORCED and Addon.BOUNCER in state.addons


def static_pod() -> dict[str, Any]:
    """The bouncer of the boot: the deployed one's image and certificate, without its rules."""
    service, deployment = _manifests()
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "boot-bouncer", "namespace": "kube-system"},
        "spec": {
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "boot-bouncer",
                    "image": container["image"],
                    "imagePullPolicy": "IfNotPresent",
                    # Only root may read the key on the node.
                    "securityContext": {"runAsUser": 0},
                    "args": [
                        f"--cert={CERTIFICATES}/image-bouncer-webhook.crt",
                        f"--key={CERTIFICATES}/image-bouncer-webhook.key",
                        "--address=127.0.0.1",
                        f"--port={service['spec']['ports'][0]['nodePort']}",
                    ],
                    "volumeMounts": [{"name": "certificates", "mountPath": CERTIFICATES, "readOnly": True}],
                }
            ],
            "volumes": [{"name": "certificates", "hostPath": {"path": CERTIFICATES, "type": "Directory"}}],
        },
    }


def without_bouncer(objects: Objects, files: Mapping[str, NodeFile]) -> tuple[Objects, dict[str, NodeFile]]:
    """What the same lab would look like open and without its bouncer: the state from which any other is reached.

    Args:
        objects: the lab's.
        files: those of its node.
    """
    content = admission_configuration_yaml(ImagePolicyConfig(default_allow=True)).encode()
    opened = NodeFile(mode=files[ADMISSION_CONFIG].mode, content=content)
    kept = {path: item for path, item in objects.items() if path not in _BOUNCER_OBJECTS}
    return kept, {**files, ADMISSION_CONFIG: opened}


class BouncerDeployment:
    """Deploys the bouncer as soon as the API server of a cluster that is being made can hold it.

    Args:
        cluster: the lab.
        engine: Docker.
        node: finds the node; None while there is none.
        root: the lab's directory, which has the bouncer's certificate, and an administrator's kubeconfig for as long as
            this takes.
    """

    def __init__(self, cluster: Cluster, engine: Engine, *, node: Callable[[], str | None], root: Path) -> None:
        self._cluster = cluster
        self._engine = engine
        self._node = node
        self._kubeconfig = root / "boot.kubeconfig"
        self._certificate = root / "certificates" / "image-bouncer-webhook"
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Begin, before there is a node."""
        self._thread.start()

    def kubeadm_ended(self) -> None:
        """Take note that kubeadm has ended: nothing comes any more that the bouncer's rules would refuse."""
        self._ended.set()

    def cancel(self) -> None:
        """Give up, because the cluster could not be made."""
        self._cancelled.set()
        self._thread.join()

    def finish(self) -> None:
        """Wait until the bouncer starts, its Service is there, and the bouncer of the boot has been told to end.

        Raises:
            LabError: it is not deployed.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._deploy())
            _end_boot_bouncer(self._cluster)
        except _CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        finally:
            self._kubeconfig.unlink(missing_ok=True)

    async def _deploy(self) -> None:
        from lab.cluster.embedded.api_client import ApiClient  # noqa: PLC0415 - needs aiohttp, and kind has begun

        deadline_s = time.monotonic() + _DEPLOYED_S
        service, deployment = _manifests()
        have_kubeconfig = "the node to have an administrator's kubeconfig"
        await self._until(have_kubeconfig, self._has_kubeconfig, deadline_s, poll_s=_FETCH_S)
        async with ApiClient.from_kubeconfig(self._kubeconfig, user_agent="lab") as api:
            await self._until("the API server to hold the bouncer's account", lambda: _has(api, _ACCOUNT), deadline_s)
            await _has(api, self._secret())
            await self._start(api, deployment)
            await self._until("kubeadm to end", self._kubeadm_has_ended, deadline_s)
            await self._until("the bouncer and the system's Pods to be there", lambda: _is_complete(api), deadline_s)
            # Not before: a Service that nobody stands behind refuses what the bouncer of the boot would answer.
            await _has(api, _as_applied(service))

    async def _start(self, api: ApiClient, deployment: dict[str, Any]) -> None:
        """Make the Deployment and what controllers would make of it, down to a Pod that is bound to the node.

        They and the scheduler would come to it two seconds later, after kubeadm's last step. They find everything done,
        by the same rules, and have it in their charge from then on.
        """
        made = await api.create(_COLLECTIONS["Deployment"], _as_applied(deployment))
        node = self._node()
        if node is None:
            return
        replica_set = await api.create(_REPLICA_SETS, _replica_set(made))
        try:
            await api.create(_PODS, _pod(replica_set, node=str(self._engine.inspect(node)["Config"]["Hostname"])))
        except ApiError as error:
            if error.status != 403:  # noqa: PLR2004 - HTTP's own "Forbidden"
                raise
            # The bouncer of the boot does not listen yet. The ReplicaSet's controller tries again until it does.

    async def _kubeadm_has_ended(self) -> bool:
        return self._ended.is_set()

    def _secret(self) -> dict[str, Any]:
        pair = {"tls.crt": ".crt", "tls.key": ".key"}
        data = {
            name: base64.b64encode(self._certificate.with_suffix(suffix).read_bytes()).decode()
            for name, suffix in pair.items()
        }
        metadata = {"name": _SECRET}
        return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}

    async def _has_kubeconfig(self) -> bool:
        """Fetch what kubeadm has written on the node, and have it lead to the port that Docker publishes."""
        node = self._node()
        archive = None if node is None else self._engine.archive(node, _ADMINISTRATOR)
        if node is None or archive is None:
            return False
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            written = files.extractfile(files.getmembers()[0])
            document = yaml.safe_load(written.read()) if written is not None else None
        if not document:
            return False
        published = self._engine.inspect(node)["NetworkSettings"]["Ports"][_API_PORT][0]
        document["clusters"][0]["cluster"]["server"] = f"https://{published['HostIp']}:{published['HostPort']}"
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(yaml.safe_dump(document))
        return True

    async def _until(
        self, what: str, condition: Callable[[], Awaitable[bool]], deadline_s: float, *, poll_s: float = _POLL_S
    ) -> None:
        last_seen = "not yet"
        while True:
            if self._cancelled.is_set():
                raise _CancelledError
            try:
                if await condition():
                    return
            except LabError as error:
                last_seen = error.message  # the node boots, or the API server starts
            if time.monotonic() > deadline_s:
                raise WaitError(
                    what=what, timeout_s=_DEPLOYED_S, last_seen=last_seen, hint="see the logs that were kept"
                )
            await asyncio.sleep(poll_s)


class _CancelledError(Exception):
    """Nobody waits for it any more."""


_ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
"""Its controller would make it, seconds later, and Pods that are refused until then are tried again later and later."""


async def _has(api: ApiClient, document: dict[str, Any]) -> bool:
    """Have the API server hold an object; one that it has already is as good."""
    try:
        await api.create(_COLLECTIONS[document["kind"]], document)
    except ApiError as error:
        if error.status != 409:  # noqa: PLR2004 - HTTP's own "Conflict": it is there
            raise
    return True


def _as_applied(document: dict[str, Any]) -> dict[str, Any]:
    """An object as ``kubectl apply`` makes it, so that whoever applies it again is compared with what was applied.

    kubectl itself would have to be run on the node, which has other things to do, and to learn what the API server has.
    """
    applied = {**document, "metadata": {"annotations": {}, **document["metadata"]}}
    text = json.dumps(applied, sort_keys=True, separators=(",", ":")) + "\n"
    return {**document, "metadata": {**document["metadata"], "annotations": {_APPLIED: text}}}


def _replica_set(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The ReplicaSet of a Deployment, as its controller makes it (kubernetes, pkg/controller/deployment/sync.go).

    The label that tells its Pods from those of another revision is a hash of our own, which controllers do not compute
    again: they compare the template.
    """
    spec = deployment["spec"]
    digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
    labels = {**spec["template"]["metadata"]["labels"], _HASH: digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{digest}",
            "labels": labels,
            "ownerReferences": [_owner("apps/v1", "Deployment", deployment)],
        },
        "spec": {
            "replicas": spec["replicas"],
            "selector": {"matchLabels": {**spec["selector"]["matchLabels"], _HASH: digest}},
            "template": {**spec["template"], "metadata": {**spec["template"]["metadata"], "labels": labels}},
        },
    }


def _pod(replica_set: Mapping[str, Any], *, node: str) -> dict[str, Any]:
    """The Pod of a ReplicaSet, bound to a node."""
    template, name = replica_set["spec"]["template"], replica_set["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{secrets.token_hex(3)[:5]}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [_owner("apps/v1", "ReplicaSet", replica_set)],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def _owner(version: str, kind: str, owner: Mapping[str, Any]) -> dict[str, Any]:
    metadata = owner["metadata"]
    return {
        "apiVersion": version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


async def _is_complete(api: ApiClient) -> bool:
    """Whether the bouncer's container runs, and what its rules would refuse is there.

    That is what kubeadm deploys, and the object that shows each static pod of the control plane: the kubelet makes
    these mirror pods when it can, and once the boot's bouncer has ended they would be refused.
    """
    pods = (await api.get(_PODS))["items"]
    if not any(pod["status"].get("podIP") for pod in pods if pod["metadata"].get("labels", {}).get("app") == _APP):
        return False
    pods = (await api.get(_SYSTEM_PODS))["items"]
    shown = {pod["metadata"]["name"] for pod in pods if is_mirror(pod)}
    if not all(any(name.startswith(f"{program}-") for name in shown) for program in (*COMPONENTS.values(), ETCD)):
        return False
    deployments = (await api.get(_SYSTEM_DEPLOYMENTS))["items"]
    daemon_sets = (await api.get(_SYSTEM_DAEMON_SETS))["items"]
    return all(one["status"].get("replicas", 0) >= one["spec"]["replicas"] for one in deployments) and all(
        one["status"].get("observedGeneration")
        and one["status"]["currentNumberScheduled"] >= one["status"]["desiredNumberScheduled"]
        for one in daemon_sets
    )


def _end_boot_bouncer(cluster: Cluster) -> None:
    """Have the kubelet end the bouncer of the boot; from then on only the deployed one answers."""
    result = cluster.node_exec(("rm", "-f", STATIC_POD))
    if result.exit_code != 0:
        raise LabError(
            "node-file", f"the bouncer of the boot cannot be ended: {result.stderr.strip()}", hint="lab down, lab up"
        )


def _manifests() -> tuple[dict[str, Any], dict[str, Any]]:
    """The bouncer's Service and Deployment."""
    text = resources.files("lab.cluster.addons").joinpath("bouncer.yaml").read_text(encoding="utf-8")
    by_kind = {document["kind"]: document for document in yaml.safe_load_all(text)}
    return by_kind["Service"], by_kind["Deployment"]
