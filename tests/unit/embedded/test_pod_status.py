from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.cluster.embedded import pod_status as ps
from lab.cluster.embedded.pod_status import ContainerState, PodFacts, Run

T0 = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = PodFacts(now=T0, start_time=T0, node_ip="172.30.0.2", pod_ip="10.244.0.5")

RUNNING = Run(container_id="lab://aa", started_at=T0)


def ended(code: int) -> Run:
    return Run(container_id="lab://bb", started_at=T0, finished_at=T0 + timedelta(seconds=5), exit_code=code)


def up(**more: Any) -> ContainerState:
    return ContainerState(**{"image_id": "nginx@sha256:1", "current": RUNNING, "started": True, "ready": True, **more})


def down(code: int, **more: Any) -> ContainerState:
    return ContainerState(current=ended(code), **more)


def pod(*, policy: str = "Always", init: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "nginx"}, {"name": "b", "image": "httpd"}]
    whole = {"restartPolicy": policy, "containers": containers, **spec}
    if init:
        whole["initContainers"] = init
    return {"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3}, "spec": whole}


INIT = [{"name": "i1", "image": "x"}, {"name": "i2", "image": "x"}]
SIDECAR = [{"name": "side", "image": "x", "restartPolicy": "Always"}, {"name": "i1", "image": "x"}]


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one.get("reason", "")) for one in status["conditions"]}


# --- phase


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", {}, "Pending"),
        ("Always", {"a": up()}, "Pending"),
        ("Always", {"a": up(), "b": up()}, "Running"),
        ("Always", {"a": down(1), "b": down(0)}, "Running"),
        ("OnFailure", {"a": down(0), "b": down(1)}, "Running"),
        ("OnFailure", {"a": down(0), "b": down(0)}, "Succeeded"),
        ("Never", {"a": down(0), "b": up()}, "Running"),
        ("Never", {"a": down(0), "b": down(2)}, "Failed"),
        ("Never", {"a": down(0), "b": down(0)}, "Succeeded"),
    ],
)
def test_phase_by_restart_policy(policy: str, states: dict[str, ContainerState], phase: str) -> None:
    assert ps.pod_phase(pod(policy=policy)["spec"], states) == phase


def test_a_pod_that_is_stopped_for_good_ends_whatever_its_policy() -> None:
    spec = pod()["spec"]
    assert ps.pod_phase(spec, {"a": down(0), "b": down(0)}, terminating=True) == "Succeeded"
    assert ps.pod_phase(spec, {"a": down(0), "b": down(137)}, terminating=True) == "Failed"


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 1, "Failed"), ("OnFailure", 1, "Pending"), ("Always", 1, "Pending")]
)
def test_a_failed_init_container_fails_the_pod_only_without_restarts(policy: str, code: int, phase: str) -> None:
    assert ps.pod_phase(pod(policy=policy, init=INIT)["spec"], {"i1": down(code)}) == phase


def test_a_terminal_phase_is_never_left() -> None:
    finished = pod() | {"status": {"phase": "Failed"}}
    assert ps.pod_status(finished, {"a": up(), "b": up()}, FACTS)["phase"] == "Failed"


# --- what to start


@pytest.mark.parametrize(
    ("states", "names"),
    [
        ({}, ["i1"]),
        ({"i1": up()}, []),
        ({"i1": down(0)}, ["i2"]),
        ({"i1": down(0), "i2": down(1)}, ["i2"]),
        ({"i1": down(0), "i2": down(0)}, ["a", "b"]),
        ({"i1": down(0), "i2": down(0), "a": up(), "b": down(0)}, ["b"]),
    ],
)
def test_init_containers_run_in_order_before_all_others(states: dict[str, ContainerState], names: list[str]) -> None:
    assert ps.containers_to_start(pod(init=INIT)["spec"], states) == names


def test_a_failed_init_container_of_a_pod_without_restarts_starts_nothing_more() -> None:
    assert ps.containers_to_start(pod(policy="Never", init=INIT)["spec"], {"i1": down(1)}) == []


def test_a_sidecar_must_have_started_and_is_restarted_beside_the_others() -> None:
    spec = pod(policy="Never", init=SIDECAR)["spec"]
    assert ps.containers_to_start(spec, {}) == ["side"]
    assert ps.containers_to_start(spec, {"side": replace(up(), started=False)}) == []
    assert ps.containers_to_start(spec, {"side": up()}) == ["i1"]
    done = {"side": up(), "i1": down(0), "a": up(), "b": up()}
    assert ps.containers_to_start(spec, done) == []
    assert ps.containers_to_start(spec, done | {"side": down(1, started=True)}) == ["side"]


def test_restart_policies() -> None:
    wanted = {
        policy: [ps.restart_wanted(pod(policy=policy)["spec"], {"name": "a"}, code) for code in (0, 1)]
        for policy in ("Always", "OnFailure", "Never")
    }
    assert wanted == {"Always": [True, True], "OnFailure": [False, True], "Never": [False, False]}
    own = {"name": "a", "restartPolicy": "OnFailure"}
    assert ps.restart_wanted(pod(policy="Never")["spec"], own, 1)


# --- container statuses


def status_of(state: ContainerState, **kwargs: Any) -> dict[str, Any]:
    status = ps.pod_status(pod(**kwargs), {"a": state, "b": up()}, FACTS)
    found: dict[str, Any] = status["containerStatuses"][0]
    return found


def test_a_running_container() -> None:
    assert status_of(up(restart_count=2, previous=ended(1))) == {
        "name": "a",
        "image": "nginx",
        "imageID": "nginx@sha256:1",
        "containerID": "lab://aa",
        "restartCount": 2,
        "ready": True,
        "started": True,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        "lastState": {
            "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "startedAt": "2026-01-01T00:00:00Z",
                "finishedAt": "2026-01-01T00:00:05Z",
                "containerID": "lab://bb",
            }
        },
    }


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (1, "Error"), (137, "Error")])
def test_an_ended_container(code: int, reason: str) -> None:
    state = status_of(down(code))["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (code, reason)


def test_the_reason_of_a_run_wins_over_its_exit_code() -> None:
    run = replace(ended(128), reason="StartError", message="no such file")
    assert status_of(ContainerState(current=run))["state"]["terminated"]["reason"] == "StartError"


def test_a_crash_loop_keeps_the_last_run_visible() -> None:
    waiting = ps.crash_loop(back_off="10s", container="a", namespace="n", pod="p", uid="u")
    status = status_of(down(3, waiting=waiting, restart_count=1))
    assert status["state"] == {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": "back-off 10s restarting failed container=a pod=p_n(u)",
        }
    }
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert not status["ready"]
    assert not status["started"]


@pytest.mark.parametrize(
    ("waiting", "reason", "message"),
    [
        (ps.image_pull_failed("not there"), "ErrImagePull", "not there"),
        (ps.image_pull_back_off("x", "gone"), "ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: gone'),
        (ps.container_config_error('secret "s" not found'), "CreateContainerConfigError", 'secret "s" not found'),
    ],
)
def test_waiting_reasons(waiting: ps.Waiting, reason: str, message: str) -> None:
    assert status_of(ContainerState(waiting=waiting))["state"] == {"waiting": {"reason": reason, "message": message}}


def test_a_container_that_was_never_started() -> None:
    assert status_of(ContainerState())["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert status_of(ContainerState(), init=INIT)["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert "containerID" not in status_of(ContainerState())


def test_readiness_needs_a_started_running_container() -> None:
    assert not status_of(up(ready=False))["ready"]
    assert not status_of(up(started=False))["ready"]
    assert not status_of(down(0, started=True, ready=True))["ready"]


def test_an_init_container_is_ready_when_it_has_succeeded() -> None:
    states = {"i1": down(0), "i2": up()}
    init = ps.pod_status(pod(init=INIT), states, FACTS)["initContainerStatuses"]
    assert [one["ready"] for one in init] == [True, False]


# --- conditions


def test_conditions_of_a_pod_that_runs() -> None:
    status = ps.pod_status(pod(), {"a": up(), "b": up()}, FACTS)
    assert conditions(status) == {
        "PodReadyToStartContainers": ("True", ""),
        "Initialized": ("True", ""),
        "Ready": ("True", ""),
        "ContainersReady": ("True", ""),
        "PodScheduled": ("True", ""),
    }
    assert all(one["observedGeneration"] == 3 for one in status["conditions"])


def test_unready_containers_are_named_as_go_prints_them() -> None:
    status = ps.pod_status(pod(), {"a": up(ready=False)}, FACTS)
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [a b]")


def test_incomplete_init_containers_are_named() -> None:
    status = ps.pod_status(pod(init=INIT), {"i1": down(0)}, FACTS)
    initialized = next(one for one in status["conditions"] if one["type"] == "Initialized")
    assert initialized["message"] == "containers with incomplete status: [i2]"
    assert initialized["status"] == "False"


def test_a_finished_pod_is_not_ready_because_it_has_completed() -> None:
    status = ps.pod_status(pod(policy="Never"), {"a": down(0), "b": down(0)}, FACTS)
    found = conditions(status)
    assert found["Ready"] == ("False", "PodCompleted")
    assert found["Initialized"] == ("True", "PodCompleted")
    failed = ps.pod_status(pod(policy="Never"), {"a": down(1), "b": down(0)}, FACTS)
    assert conditions(failed)["ContainersReady"] == ("False", "PodFailed")


def test_readiness_gates_count() -> None:
    gated = pod(readinessGates=[{"conditionType": "example.com/ok"}])
    states = {"a": up(), "b": up()}
    assert conditions(ps.pod_status(gated, states, FACTS))["Ready"] == ("False", "ReadinessGatesNotReady")
    gated["status"] = {"conditions": [{"type": "example.com/ok", "status": "True"}]}
    assert conditions(ps.pod_status(gated, states, FACTS))["Ready"] == ("True", "")


def test_transition_times_move_only_when_the_status_does_and_foreign_conditions_stay() -> None:
    first = ps.pod_status(pod(), {"a": up(), "b": up(ready=False)}, FACTS)
    foreign = {"type": "example.com/mine", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    known = pod() | {"status": {**first, "conditions": [*first["conditions"], foreign]}}
    later = replace(FACTS, now=T0 + timedelta(minutes=1), start_time=T0 + timedelta(minutes=1))
    second = ps.pod_status(known, {"a": up(), "b": up()}, later)
    times = {one["type"]: one["lastTransitionTime"] for one in second["conditions"]}
    assert times["Initialized"] == "2026-01-01T00:00:00Z"
    assert times["Ready"] == "2026-01-01T00:01:00Z"
    assert foreign in second["conditions"]
    assert second["startTime"] == "2026-01-01T00:00:00Z"


# --- addresses, generation, quality of service


def test_addresses() -> None:
    status = ps.pod_status(pod(), {}, FACTS)
    assert (status["podIP"], status["podIPs"]) == ("10.244.0.5", [{"ip": "10.244.0.5"}])
    assert (status["hostIP"], status["hostIPs"]) == ("172.30.0.2", [{"ip": "172.30.0.2"}])
    assert "podIP" not in ps.pod_status(pod(), {}, replace(FACTS, pod_ip=""))


def test_a_mirror_pod_has_the_nodes_address_and_no_generation_when_it_has_none() -> None:
    mirror = pod(hostNetwork=True)
    del mirror["metadata"]["generation"]
    status = ps.pod_status(mirror, {"a": up(), "b": up()}, replace(FACTS, pod_ip=""))
    assert status["podIP"] == "172.30.0.2"
    assert "observedGeneration" not in status


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}, {}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}, {}], "Burstable"),
        ([{"limits": BOTH}, {"limits": BOTH, "requests": BOTH}], "Guaranteed"),
        ([{"limits": BOTH}, {}], "Burstable"),
        ([{"limits": BOTH, "requests": {"cpu": "500m"}}, {"limits": BOTH}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[dict[str, Any]], expected: str) -> None:
    containers = [{"name": str(index), "resources": one} for index, one in enumerate(resources)]
    assert ps.qos_class({"containers": containers}) == expected
