"""The Stages as data. That kwok itself plays them is tested where a cluster runs (tests/e2e)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.cluster.embedded.kwok_stages import (
    PLAYED_CONDITION,
    NodeFacts,
    ephemeral_patch,
    images_of,
    is_played,
    kwok_argv,
    kwok_config,
    kwok_environment,
    played_patch,
)
from lab.cluster.embedded.pod_status import image_pull_back_off

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODE = NodeFacts(
    kubelet_version="v1.37.0",
    architecture="amd64",
    kernel_version="6.1.0",
    cpus=2,
    memory_bytes=8 * 1024**3,
    storage_bytes=10 * 1024**3,
)
STAGES: dict[str, dict[str, Any]] = {
    one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(kwok_config(NODE))
}


def conditions_of(pod: dict[str, Any], kind: str) -> list[str]:
    return [one["status"] for one in pod.get("status", {}).get("conditions", ()) if one["type"] == kind]


def waiting_with_image(pod: dict[str, Any]) -> list[str]:
    return [
        one["name"]
        for one in pod.get("status", {}).get("ephemeralContainerStatuses", ())
        if one["state"].get("waiting", {}).get("reason") == "ContainerCreating" and one["imageID"] != ""
    ]


def present(value: str | None) -> list[str]:
    return [] if value is None else [value]


# What each jq expression of the selectors picks. An expression that is not listed here fails the tests.
SELECTED: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    ".metadata.deletionTimestamp": lambda pod: present(pod["metadata"].get("deletionTimestamp")),
    f'.status.conditions.[] | select( .type == "{PLAYED_CONDITION}" ) | .status': (
        lambda pod: conditions_of(pod, PLAYED_CONDITION)
    ),
    ".status.phase": lambda pod: present(pod.get("status", {}).get("phase")),
    ".metadata.ownerReferences.[].kind": lambda pod: [
        one["kind"] for one in pod["metadata"].get("ownerReferences", ())
    ],
    ".spec.restartPolicy": lambda pod: present(pod["spec"].get("restartPolicy")),
    '.status.ephemeralContainerStatuses.[] | select( .state.waiting.reason == "ContainerCreating" and .imageID != "" )'
    " | .name": waiting_with_image,
}


def stages_for(pod: dict[str, Any]) -> set[str]:
    """The Pod Stages whose selector matches."""

    def matches(expression: dict[str, Any]) -> bool:
        found, values = SELECTED[expression["key"]](pod), expression.get("values", [])
        return {
            "In": any(one in values for one in found),
            "NotIn": not any(one in values for one in found),
            "Exists": bool(found),
            "DoesNotExist": not found,
        }[expression["operator"]]

    return {
        name
        for name, spec in STAGES.items()
        if spec["resourceRef"]["kind"] == "Pod"
        and all(matches(one["jq"]) for one in spec["selector"]["matchExpressions"])
    }


def pod(*, phase: str = "Pending", played: str | None = None, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "True"}]
    if played:
        conditions.append({"type": PLAYED_CONDITION, "status": played})
    return {
        "metadata": {"name": "p", "namespace": "n", **metadata},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "nginx"}]},
        "status": {"phase": phase, "conditions": conditions},
    }


DELETED: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
MIRROR: dict[str, Any] = {"annotations": {"kubernetes.io/config.mirror": "x"}}
OWNED: dict[str, Any] = {"ownerReferences": [{"kind": "Job"}]}


def job(played: str) -> dict[str, Any]:
    found = pod(phase="Running", played=played, **OWNED)
    found["spec"]["restartPolicy"] = "Never"
    return found


# --- who is played


@pytest.mark.parametrize(
    ("candidate", "stages"),
    [
        (pod(), set()),
        (pod(**DELETED), set()),
        (pod(**MIRROR), set()),
        (pod(phase="Running", **MIRROR), set()),
        (pod(played="False"), set()),
        (pod(played="True"), {"pod-ready"}),
        (pod(played="True", phase="Running"), set()),
        (pod(played="True", **DELETED), {"pod-delete"}),
        (pod(played="False", **DELETED), {"pod-delete"}),
        (job("True"), {"pod-complete"}),
        (pod(phase="Running", played="True", **OWNED), set()),
        (pod(phase="Succeeded", played="True", **OWNED), set()),
    ],
)
def test_only_pods_that_the_agent_handed_over_are_played(candidate: dict[str, Any], stages: set[str]) -> None:
    assert stages_for(candidate) == stages


@pytest.mark.parametrize(
    ("waiting", "image_id", "stages"),
    [
        ("ContainerCreating", "busybox@sha256:1", {"pod-ephemeral-containers"}),
        ("ContainerCreating", "", set()),
        ("ErrImagePull", "", set()),
    ],
)
def test_an_ephemeral_container_runs_once_its_image_is_known(waiting: str, image_id: str, stages: set[str]) -> None:
    candidate = pod(phase="Running", played="True")
    entry = {"name": "debug", "imageID": image_id, "state": {"waiting": {"reason": waiting}}}
    candidate["status"]["ephemeralContainerStatuses"] = [entry]
    assert stages_for(candidate) == stages


def test_where_two_stages_match_one_has_all_the_weight() -> None:
    candidate = job("True")
    entry = {"name": "debug", "imageID": "x@sha256:1", "state": {"waiting": {"reason": "ContainerCreating"}}}
    candidate["status"]["ephemeralContainerStatuses"] = [entry]
    matching = stages_for(candidate)
    assert matching == {"pod-complete", "pod-ephemeral-containers"}
    assert [name for name in matching if STAGES[name].get("weight")] == ["pod-ephemeral-containers"]


# --- the file


def test_every_stage_is_there_and_writes_only_the_status() -> None:
    assert set(STAGES) == {
        "node-initialize",
        "node-heartbeat",
        "pod-ready",
        "pod-ephemeral-containers",
        "pod-complete",
        "pod-delete",
    }
    for spec in STAGES.values():
        for step in spec["steps"]:
            if patch := step.get("patch"):
                assert (patch["subresource"], patch["root"]) == ("status", "status")
            else:
                assert step == {"delete": True}


def test_no_placeholder_is_left_and_the_node_says_what_it_was_told() -> None:
    text = kwok_config(NODE)
    assert "<<" not in text
    template = STAGES["node-initialize"]["steps"][0]["patch"]["template"]
    for line in ('kubeletVersion: "v1.37.0"', 'cpu: "2"', 'memory: "8388608Ki"', "Port: 10250", 'pods: "110"'):
        assert line in template


def test_blocks_of_the_templates_are_closed() -> None:
    for name, spec in STAGES.items():
        for step in spec["steps"]:
            template = step.get("patch", {}).get("template", "")
            actions = re.findall(r"\{\{-?\s*(\w+)", template)
            opened = sum(one in {"range", "if", "with"} for one in actions)
            assert opened == actions.count("end"), name


def test_the_heartbeat_keeps_within_the_node_controllers_patience() -> None:
    assert STAGES["node-heartbeat"]["delay"]["durationMilliseconds"] <= 50_000 / 4


# --- the command


def test_the_command_manages_one_node_opens_no_server_and_takes_no_lease() -> None:
    argv = kwok_argv(
        "/bin/kwok", kubeconfig="k", config="c", node_name="lab", node_ip="172.30.0.2", pod_cidr="10.1.0.0/24"
    )
    assert argv[0] == "/bin/kwok"
    assert {"--manage-single-node=lab", "--node-ip=172.30.0.2", "--cidr=10.1.0.0/24"} < set(argv)
    assert "--node-lease-duration-seconds=0" in argv
    assert not any(one.startswith(("--node-port", "--enable-crds", "--manage-all-nodes")) for one in argv)


def test_kwok_is_kept_from_the_users_own_configuration() -> None:
    assert kwok_environment("/run/x") == {"KWOK_WORKDIR": "/run/x", "HOME": "/run/x"}


# --- the patches that hand a Pod over


def test_a_pod_whose_images_were_found_is_handed_over() -> None:
    candidate = pod()
    candidate["spec"]["initContainers"] = [{"name": "i", "image": "busybox"}]
    patch = played_patch(candidate, {"nginx": "nginx@sha256:1", "busybox": "busybox@sha256:2"}, now=NOW)
    waiting = {
        "ready": False,
        "restartCount": 0,
        "started": False,
        "state": {"waiting": {"reason": "PodInitializing"}},
        "lastState": {},
    }
    assert patch == {
        "status": {
            "conditions": [
                {
                    "type": PLAYED_CONDITION,
                    "status": "True",
                    "reason": "ImagesResolved",
                    "message": "no process runs in this pod: kwok plays it",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
            "containerStatuses": [{"name": "c", "image": "nginx", "imageID": "nginx@sha256:1", **waiting}],
            "initContainerStatuses": [{"name": "i", "image": "busybox", "imageID": "busybox@sha256:2", **waiting}],
        }
    }


def test_a_pod_with_a_missing_image_is_kwoks_but_does_not_run() -> None:
    candidate = pod()
    waiting = image_pull_back_off("nginx", "not found")
    status = played_patch(candidate, {"nginx": waiting}, now=NOW)["status"]
    assert status["conditions"][0]["status"] == "False"
    assert status["containerStatuses"][0]["imageID"] == ""
    assert status["containerStatuses"][0]["state"] == {
        "waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nginx": ErrImagePull: not found'}
    }
    candidate["status"]["conditions"] += status["conditions"]
    assert stages_for(candidate) == set()
    assert not is_played(candidate)


def test_the_transition_time_stays_while_the_condition_does() -> None:
    again = played_patch(pod(played="False"), {"nginx": image_pull_back_off("nginx", "x")}, now=NOW)
    assert "lastTransitionTime" not in again["status"]["conditions"][0]
    turned = played_patch(pod(played="False"), {"nginx": "nginx@sha256:1"}, now=NOW)
    assert turned["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert is_played(pod(played="True"))


def test_ephemeral_containers_are_added_and_those_that_run_stay() -> None:
    candidate = pod(phase="Running", played="True")
    running = {"name": "d1", "imageID": "busybox@sha256:1", "state": {"running": {}}}
    candidate["spec"]["ephemeralContainers"] = [{"name": "d1", "image": "busybox"}, {"name": "d2", "image": "curl"}]
    candidate["status"]["ephemeralContainerStatuses"] = [running]
    patch = ephemeral_patch(candidate, {"curl": "curl@sha256:2"})
    assert patch is not None
    first, second = patch["status"]["ephemeralContainerStatuses"]
    assert first == running
    assert (second["name"], second["imageID"]) == ("d2", "curl@sha256:2")
    assert second["state"] == {"waiting": {"reason": "ContainerCreating"}}
    candidate["status"]["ephemeralContainerStatuses"] = [first, second]
    assert ephemeral_patch(candidate, {"curl": "curl@sha256:2"}) is None


def test_images_are_named_once() -> None:
    assert images_of([{"image": "a"}, {"image": "b"}, {"image": "a"}]) == ["a", "b"]
