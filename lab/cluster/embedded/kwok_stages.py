"""How kwok plays the lab's node and the Pods that no process runs for.

kwok manages every Pod of a node that it manages, so its Stages must leave out the Pods that the supervisor runs. The
discriminator is a condition in the Pod's *status*, `PLAYED_CONDITION`: writing the status passes no admission webhook
and changes nothing that a scenario looks at, while a label or annotation would be an UPDATE of the Pod, which the
admission chain under test would have to admit. Who gets which:

- mirror pods of static pods and workload Pods: never the condition, so no Stage matches them; the supervisor writes
  their status and confirms their deletion.
- every other Pod of the node: the supervisor resolves its images with the lab's registry and writes `played_patch`:
  ``True`` with the imageIDs when all were found (kwok makes it run), ``False`` with ErrImagePull or ImagePullBackOff
  otherwise (it stays Pending). kwok confirms its deletion in both cases, so a Pod that is deleted before it was looked
  at needs the condition too.
- ephemeral containers of a played Pod: `ephemeral_patch` adds their statuses; kwok makes them run.

The Stages themselves are data: ``kwok-stages.yaml`` beside this file, with placeholders for what depends on the node.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.kubelet_api import PORT
from lab.cluster.embedded.pod_status import Waiting, condition_status, timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

PLAYED_CONDITION = "lab.supply-chain/Played"
"""Condition type in the status of every Pod that kwok plays."""

_PLACEHOLDER = re.compile(r"<<([A-Z_]+)>>")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the node says of itself.

    Attributes:
        kubelet_version: ``v1.37.0``: the version of the API server's programs.
        architecture: as Go names it: ``amd64``.
        kernel_version: the running kernel's release.
        cpus: number of CPUs.
        memory_bytes: memory of the machine.
        storage_bytes: size of the file system of the lab's directory.
        max_pods: how many Pods the scheduler may put here.
        os_image: what ``kubectl get nodes -o wide`` shows as OS-IMAGE.
        runtime_version: what it shows as CONTAINER-RUNTIME.
        kubelet_port: where the node's server listens.
    """

    kubelet_version: str
    architecture: str
    kernel_version: str
    cpus: int
    memory_bytes: int
    storage_bytes: int
    max_pods: int = 110
    os_image: str = "Kubernetes supply-chain lab"
    runtime_version: str = "lab://1"
    kubelet_port: int = PORT


def kwok_config(facts: NodeFacts) -> str:
    """The text of kwok's configuration file: every Stage, for one node."""
    template = resources.files(__package__).joinpath("kwok-stages.yaml").read_text(encoding="utf-8")
    values = {
        "KUBELET_PORT": str(facts.kubelet_port),
        "CPUS": f'"{facts.cpus}"',
        "MEMORY": f'"{facts.memory_bytes // 1024}Ki"',
        "STORAGE": f'"{facts.storage_bytes // 1024}Ki"',
        "PODS": f'"{facts.max_pods}"',
        "ARCHITECTURE": json.dumps(facts.architecture),
        "RUNTIME_VERSION": json.dumps(facts.runtime_version),
        "KERNEL_VERSION": json.dumps(facts.kernel_version),
        "KUBELET_VERSION": json.dumps(facts.kubelet_version),
        "OS_IMAGE": json.dumps(facts.os_image),
    }
    comments_end = template.index("apiVersion:")  # the comment at the top explains the placeholders by naming some
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template[comments_end:])


def kwok_argv(
    binary: Path | str, *, kubeconfig: Path | str, config: Path | str, node_name: str, node_ip: str, pod_cidr: str
) -> list[str]:
    """The command line of kwok for one node.

    No CRDs (the Stages come from the file), and no server: kwok opens none as long as neither ``--server-address`` nor
    ``--node-port`` is given, because the node's port 10250 is the supervisor's. No lease: each start of kwok has a new
    identity and would stand still until the lease of the one before has run out (40 s), and the lab restarts kwok at
    every reset. The node's status is its heartbeat (Stage ``node-heartbeat``), which the node controller takes as well.

    Args:
        binary: the kwok program.
        kubeconfig: how to reach the API server, which must already answer (else kwok waits a second and more).
        config: file with the text of `kwok_config`.
        node_name: the node to manage; the Node object must be created by someone else.
        node_ip: the node's InternalIP.
        pod_cidr: where played Pods get their addresses, unless the Node has a spec.podCIDR, which goes first. It must
            not overlap the addresses of workload Pods: kwok knows only of the addresses that it gave out.
    """
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--config={config}",
        f"--manage-single-node={node_name}",
        f"--node-name={node_name}",
        f"--node-ip={node_ip}",
        f"--cidr={pod_cidr}",
        "--node-lease-duration-seconds=0",
        "--server-address=",
    ]


def kwok_environment(work_dir: Path | str) -> dict[str, str]:
    """Variables for kwok, which would otherwise read ``kwok.yaml`` of the user's own ``~/.kwok``."""
    return {"KWOK_WORKDIR": str(work_dir), "HOME": str(work_dir)}


# --- the status that makes a Pod played ----------------------------------------------------------------------------

ImageOutcome = str | Waiting
"""An imageID (``docker.io/library/nginx@sha256:...``), or why there is none."""


def played_patch(pod: Mapping[str, Any], images: Mapping[str, ImageOutcome], *, now: datetime) -> dict[str, Any]:
    """A strategic merge patch of ``/status`` that hands a Pod to kwok, or says which image is missing.

    Args:
        pod: a Pod that is bound to the node and that no process runs for.
        images: for every image of its containers and init containers what became of it.
        now: the present time (UTC).
    """
    spec = pod["spec"]
    containers, init = spec["containers"], spec.get("initContainers") or []
    found = all(isinstance(images[one["image"]], str) for one in [*containers, *init])
    reason = "PodInitializing" if init else "ContainerCreating"
    status: dict[str, Any] = {
        "conditions": [_played_condition(pod, now, found=found)],
        "containerStatuses": [_pending(one, images[one["image"]], reason) for one in containers],
    }
    if init:
        status["initContainerStatuses"] = [_pending(one, images[one["image"]], reason) for one in init]
    return {"status": status}


def ephemeral_patch(pod: Mapping[str, Any], images: Mapping[str, ImageOutcome]) -> dict[str, Any] | None:
    """A strategic merge patch of ``/status`` with an entry for every ephemeral container; None when nothing changes.

    Args:
        pod: a played Pod.
        images: what became of the images of those ephemeral containers that do not run yet.
    """
    present = {one["name"]: one for one in (pod.get("status") or {}).get("ephemeralContainerStatuses") or ()}
    statuses: list[Mapping[str, Any]] = []
    for one in pod["spec"].get("ephemeralContainers") or ():
        status = present.get(one["name"])
        if status is None or (not status.get("imageID") and one["image"] in images):
            status = _pending(one, images[one["image"]], "ContainerCreating")
        statuses.append(status)
    if statuses == list(present.values()):
        return None
    return {"status": {"ephemeralContainerStatuses": statuses}}


def images_of(containers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images that containers name, each once, in order."""
    return list(dict.fromkeys(str(one["image"]) for one in containers))


def is_played(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod has been handed to kwok and runs or will run (its images were found)."""
    return condition_status(pod, PLAYED_CONDITION) == "True"


def _played_condition(pod: Mapping[str, Any], now: datetime, *, found: bool) -> dict[str, Any]:
    status = "True" if found else "False"
    condition: dict[str, Any] = {
        "type": PLAYED_CONDITION,
        "status": status,
        "reason": "ImagesResolved" if found else "ImageMissing",
        "message": "no process runs in this pod: kwok plays it" if found else "an image could not be pulled",
    }
    if condition_status(pod, PLAYED_CONDITION) != status:
        condition["lastTransitionTime"] = timestamp(now)
    return condition


def _pending(container: Mapping[str, Any], outcome: ImageOutcome, reason: str) -> dict[str, Any]:
    waiting = {"reason": reason}
    if isinstance(outcome, Waiting):
        waiting = {"reason": outcome.reason, "message": outcome.message}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": outcome if isinstance(outcome, str) else "",
        "ready": False,
        "restartCount": 0,
        "started": False,
        "state": {"waiting": waiting},
        "lastState": {},
    }
