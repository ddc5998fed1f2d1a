"""A v1.PodStatus from what is known of a Pod's containers: pure functions, the kubelet's rules.

The supervisor keeps one `ContainerState` per container and asks here for the status to write (`pod_status`) and for the
containers to start next (`containers_to_start`). Rules and wording follow Kubernetes 1.37
(``pkg/kubelet/kubelet_pods.go``: getPhase, convertToAPIContainerStatuses, generateAPIPodStatus;
``pkg/kubelet/status/generate.go``). ``restartPolicyRules`` of a container are not looked at.

The functions serve static pods too: what belongs into a mirror pod's status is computed from the manifest's Pod, with
the node's address as its own (hostNetwork).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

SIGNAL_BASE = 128
"""A process that signal N ended has exit code 128 + N, as container runtimes report it."""

_KUBELET_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a container's process.

    Attributes:
        container_id: ``lab://<hex>``, new for every run.
        started_at: when it started (UTC).
        finished_at: when it ended; None while it runs.
        exit_code: its exit code, 128 + N when signal N ended it; None while it runs.
        message: text for the terminated state (why it could not start, for example).
        reason: reason of the terminated state; empty for Completed or Error by the exit code.
    """

    container_id: str
    started_at: datetime
    finished_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.finished_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why a container does not run, when that is more than "it has not been started yet"."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What is known of one container.

    Attributes:
        image_id: the image with its digest; empty until it is resolved.
        current: the latest run; None before the first.
        previous: the run before.
        restart_count: how often it was started again.
        waiting: set while it waits for something (back-off, image, configuration).
        started: its startup probe has succeeded, or it has none and runs.
        ready: its readiness probe has succeeded, or it has none and runs.
    """

    image_id: str = ""
    current: Run | None = None
    previous: Run | None = None
    restart_count: int = 0
    waiting: Waiting | None = None
    started: bool = False
    ready: bool = False

    @property
    def undisturbed(self) -> bool:
        """Whether no run of it has ended, and it waits for nothing."""
        return self.waiting is None and self.previous is None and (self.current is None or self.current.running)

    @property
    def last_exit_code(self) -> int | None:
        """The exit code of the latest run, when it has ended."""
        return self.current.exit_code if self.current and not self.current.running else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What the status says beyond the containers.

    Attributes:
        now: the present time (UTC), for conditions that change.
        start_time: when the node took the Pod on.
        node_ip: the node's address.
        pod_ip: the Pod's address; empty before its network exists.
        sandbox_ready: its network and directories exist.
        terminating: it is being stopped for good, so that ended containers are not started again.
    """

    now: datetime
    start_time: datetime
    node_ip: str
    pod_ip: str = ""
    sandbox_ready: bool = True
    terminating: bool = False


# --- waiting reasons -----------------------------------------------------------------------------------------------


def crash_loop(*, back_off: str, container: str, namespace: str, pod: str, uid: str) -> Waiting:
    """CrashLoopBackOff, in the kubelet's words; ``back_off`` as Go prints it (``10s``)."""
    message = f"back-off {back_off} restarting failed container={container} pod={pod}_{namespace}({uid})"
    return Waiting(reason="CrashLoopBackOff", message=message)


def image_pull_failed(message: str) -> Waiting:
    """ErrImagePull: an attempt to get the image has failed."""
    return Waiting(reason="ErrImagePull", message=message)


def image_pull_back_off(image: str, message: str) -> Waiting:
    """ImagePullBackOff: the next attempt is not yet due."""
    return Waiting(reason="ImagePullBackOff", message=f'Back-off pulling image "{image}": ErrImagePull: {message}')


def container_config_error(message: str) -> Waiting:
    """CreateContainerConfigError: what the container refers to is missing."""
    return Waiting(reason="CreateContainerConfigError", message=message)


# --- what to start -------------------------------------------------------------------------------------------------


def restart_wanted(spec: Mapping[str, Any], container: Mapping[str, Any], exit_code: int) -> bool:
    """Whether a container that ended is to be started again, by its own restart policy or the Pod's."""
    policy = container.get("restartPolicy") or spec.get("restartPolicy") or "Always"
    if _is_init(spec, container) and not _is_sidecar(container) and exit_code == 0:
        return False
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def containers_to_start(spec: Mapping[str, Any], states: Mapping[str, ContainerState]) -> list[str]:
    """The containers that should be started now, back-off aside.

    Init containers run one after the other; a sidecar (an init container with restartPolicy Always) only has to be
    started; then all containers at once. An init container that failed for good ends the Pod: nothing is started.
    """
    start: list[str] = []
    for container in spec.get("initContainers") or ():
        state = states.get(container["name"], ContainerState())
        due = _due(spec, container, state)
        if _is_sidecar(container):
            if due:
                start.append(container["name"])
            if not state.started:
                return start
        elif state.last_exit_code == 0:
            continue
        else:
            failed_for_good = state.last_exit_code is not None and not due
            if failed_for_good:
                return []
            return [*start, container["name"]] if due else start
    start += [
        container["name"]
        for container in spec["containers"]
        if _due(spec, container, states.get(container["name"], ContainerState()))
    ]
    return start


def _due(spec: Mapping[str, Any], container: Mapping[str, Any], state: ContainerState) -> bool:
    if state.current is None:
        return True
    if state.current.running:
        return False
    return restart_wanted(spec, container, state.current.exit_code or 0)


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def _is_init(spec: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    return any(one["name"] == container["name"] for one in spec.get("initContainers") or ())


# --- the status ----------------------------------------------------------------------------------------------------


def pod_status(pod: Mapping[str, Any], states: Mapping[str, ContainerState], facts: PodFacts) -> dict[str, Any]:
    """The whole status of a Pod.

    Args:
        pod: the v1.Pod with its present status: conditions that are not the node's stay, and times of conditions that
            do not change stay.
        states: what is known of its containers, by name.
        facts: the rest.
    """
    spec, old = pod["spec"], pod.get("status") or {}
    init = [_container_status(spec, one, states.get(one["name"])) for one in spec.get("initContainers") or ()]
    regular = [_container_status(spec, one, states.get(one["name"])) for one in spec["containers"]]
    phase = pod_phase(spec, states, terminating=facts.terminating)
    if old.get("phase") in {"Succeeded", "Failed"}:
        phase = old["phase"]  # a Pod never leaves a terminal phase
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": _conditions(pod, states, phase, facts),
        "hostIP": facts.node_ip,
        "hostIPs": [{"ip": facts.node_ip}],
        "startTime": old.get("startTime") or timestamp(facts.start_time),
        "containerStatuses": regular,
        "qosClass": old.get("qosClass") or qos_class(spec),
    }
    if init:
        status["initContainerStatuses"] = init
    address = facts.pod_ip or (facts.node_ip if spec.get("hostNetwork") else "")
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    if generation := pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    return status


def condition_status(pod: Mapping[str, Any], kind: str) -> str | None:
    """``True``, ``False`` or ``Unknown`` for a condition that a Pod object has; None for one that it has not."""
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one["type"] == kind:
            return str(one["status"])
    return None


def timestamp(moment: datetime) -> str:
    """A time as the API writes it: UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_phase(spec: Mapping[str, Any], states: Mapping[str, ContainerState], *, terminating: bool = False) -> str:
    """The phase of a Pod by the states of its containers."""
    init = _init_phase(spec, states)
    if init:
        return init
    present = [(one, states.get(one["name"], ContainerState())) for one in spec["containers"]]
    if any(state.current is None for _, state in present):
        return "Pending"
    sidecars_run = any(
        _is_sidecar(one) and (state := states.get(one["name"])) and state.current and state.current.running
        for one in spec.get("initContainers") or ()
    )
    if sidecars_run or any(state.current and state.current.running for _, state in present):
        return "Running"
    codes = [(one, state.last_exit_code or 0) for one, state in present]
    if not terminating and any(restart_wanted(spec, one, code) for one, code in codes):
        return "Running"
    return "Succeeded" if all(code == 0 for _, code in codes) else "Failed"


def _init_phase(spec: Mapping[str, Any], states: Mapping[str, ContainerState]) -> str:
    """The phase that the init containers decide; empty when they are through."""
    begun = any((state := states.get(one["name"])) and state.current for one in spec["containers"])
    pending = False
    for one in spec.get("initContainers") or ():
        state = states.get(one["name"], ContainerState())
        if _is_sidecar(one):
            pending = pending or (not state.started and not begun)
            continue
        code = state.last_exit_code
        if code is not None and code != 0 and not restart_wanted(spec, one, code):
            return "Failed"
        pending = pending or code != 0
    return "Pending" if pending else ""


def _container_status(
    spec: Mapping[str, Any], container: Mapping[str, Any], state: ContainerState | None
) -> dict[str, Any]:
    state = state or ContainerState()
    current, previous = state.current, state.previous
    status: dict[str, Any] = {
        "name": container["name"],
        "image": container["image"],
        "imageID": state.image_id,
        "restartCount": state.restart_count,
        "ready": _container_ready(spec, container, state),
        "started": bool(current and current.running and state.started),
    }
    if state.waiting:
        status["state"] = {"waiting": _waiting(state.waiting)}
        last = current if current and not current.running else previous
    elif current is None:
        reason = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        status["state"], last = {"waiting": {"reason": reason}}, previous
    elif current.running:
        status["state"], last = {"running": {"startedAt": timestamp(current.started_at)}}, previous
    else:
        status["state"], last = {"terminated": _terminated(current)}, previous
    if current:
        status["containerID"] = current.container_id
    status["lastState"] = {"terminated": _terminated(last)} if last and not last.running else {}
    return status


def _container_ready(spec: Mapping[str, Any], container: Mapping[str, Any], state: ContainerState) -> bool:
    if _is_init(spec, container) and not _is_sidecar(container):
        return state.last_exit_code == 0
    return bool(state.current and state.current.running and state.started and state.ready and not state.waiting)


def _waiting(waiting: Waiting) -> dict[str, str]:
    return {"reason": waiting.reason} | ({"message": waiting.message} if waiting.message else {})


def _terminated(run: Run) -> dict[str, Any]:
    code = run.exit_code or 0
    result: dict[str, Any] = {
        "exitCode": code,
        "reason": run.reason or ("Completed" if code == 0 else "Error"),
        "startedAt": timestamp(run.started_at),
        "containerID": run.container_id,
    }
    if run.finished_at is not None:
        result["finishedAt"] = timestamp(run.finished_at)
    if run.message:
        result["message"] = run.message
    return result


# --- conditions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: bool
    reason: str = ""
    message: str = ""


def _conditions(
    pod: Mapping[str, Any], states: Mapping[str, ContainerState], phase: str, facts: PodFacts
) -> list[dict[str, Any]]:
    spec = pod["spec"]
    old = {one["type"]: one for one in (pod.get("status") or {}).get("conditions") or ()}
    containers_ready = _containers_ready(spec, states, phase)
    sandbox = _Verdict(status=facts.sandbox_ready and phase not in {"Succeeded", "Failed"})
    verdicts = {
        "PodReadyToStartContainers": sandbox,
        "Initialized": _initialized(spec, states, phase),
        "Ready": _ready(spec, containers_ready, old),
        "ContainersReady": containers_ready,
        "PodScheduled": _Verdict(status=True),
    }
    generation = pod["metadata"].get("generation")
    foreign = [one for kind, one in old.items() if kind not in _KUBELET_CONDITIONS]
    own = [_condition(kind, verdicts[kind], old.get(kind), generation, facts.now) for kind in _KUBELET_CONDITIONS]
    return [*foreign, *own]


def _condition(
    kind: str, verdict: _Verdict, old: Mapping[str, Any] | None, generation: int | None, now: datetime
) -> dict[str, Any]:
    status = "True" if verdict.status else "False"
    unchanged = old is not None and old.get("status") == status
    changed_at = old.get("lastTransitionTime") if old is not None and unchanged else None
    condition: dict[str, Any] = {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": changed_at or timestamp(now),
    }
    if verdict.reason:
        condition["reason"] = verdict.reason
    if verdict.message:
        condition["message"] = verdict.message
    if generation:
        condition["observedGeneration"] = generation
    return condition


def _initialized(spec: Mapping[str, Any], states: Mapping[str, ContainerState], phase: str) -> _Verdict:
    if phase == "Succeeded":
        return _Verdict(status=True, reason="PodCompleted")
    if any((state := states.get(one["name"])) and state.current for one in spec["containers"]):
        return _Verdict(status=True)
    incomplete = [
        one["name"]
        for one in spec.get("initContainers") or ()
        if not _init_done(one, states.get(one["name"], ContainerState()))
    ]
    if incomplete:
        message = f"containers with incomplete status: {_go_list(incomplete)}"
        return _Verdict(status=False, reason="ContainersNotInitialized", message=message)
    return _Verdict(status=True)


def _init_done(container: Mapping[str, Any], state: ContainerState) -> bool:
    return state.started if _is_sidecar(container) else state.last_exit_code == 0


def _containers_ready(spec: Mapping[str, Any], states: Mapping[str, ContainerState], phase: str) -> _Verdict:
    if phase == "Succeeded":
        return _Verdict(status=False, reason="PodCompleted")
    if phase == "Failed":
        return _Verdict(status=False, reason="PodFailed")
    watched = [one for one in spec.get("initContainers") or () if _is_sidecar(one)] + list(spec["containers"])
    unready = [
        one["name"] for one in watched if not _container_ready(spec, one, states.get(one["name"], ContainerState()))
    ]
    if unready:
        message = f"containers with unready status: {_go_list(unready)}"
        return _Verdict(status=False, reason="ContainersNotReady", message=message)
    return _Verdict(status=True)


def _ready(
    spec: Mapping[str, Any], containers_ready: _Verdict, conditions: Mapping[str, Mapping[str, Any]]
) -> _Verdict:
    if not containers_ready.status:
        return containers_ready
    messages: list[str] = []
    for gate in spec.get("readinessGates") or ():
        kind = gate["conditionType"]
        found = conditions.get(kind)
        if found is None:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found["status"] != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {found["status"]}')
    if messages:
        return _Verdict(status=False, reason="ReadinessGatesNotReady", message=", ".join(messages))
    return _Verdict(status=True)


def _go_list(names: Sequence[str]) -> str:
    """Names as Go prints a slice: ``[a b]``."""
    return f"[{' '.join(names)}]"


# --- quality of service --------------------------------------------------------------------------------------------


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, by the containers' cpu and memory requests and limits."""
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    settings = list(_resource_settings(containers))
    if not any(request or limit for request, limit in settings):
        return "BestEffort"
    if all(limit and (request or limit) == limit for request, limit in settings):
        return "Guaranteed"
    return "Burstable"


def _resource_settings(containers: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            yield str(requests.get(name, "")), str(limits.get(name, ""))
