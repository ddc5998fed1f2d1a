"""How the agent hands a Pod over, with its pull secrets and only as it was last seen, and how it starts workloads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.embedded import pod_agent
from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.embedded.memory import Memory
from lab.cluster.embedded.pod_agent import PodAgent
from lab.images.resolve import ImagePullDenied, ResolvedImage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.pod_publisher import PodPublisher
    from lab.images.resolve import ImageResolver

IMAGE = "private-registry.example/team/app:1.0"
IMAGE_ID = f"private-registry.example/team/app@sha256:{'a' * 64}"
SECRET = {"metadata": {"name": "login"}}


class Cluster:
    """An API server with one Pod and its Secrets, a registry that wants ``login``, and what was reported."""

    def __init__(self, *, secrets: Mapping[str, dict[str, Any]], version: str = "7") -> None:
        self._secrets, self.version = secrets, version
        self.patches: list[dict[str, Any]] = []
        self.events: list[str] = []

    async def get(self, path: str) -> dict[str, Any]:
        name = path.removeprefix("/api/v1/namespaces/default/secrets/")
        if name not in self._secrets:
            raise refusal(404)
        return self._secrets[name]

    async def patch(self, path: str, body: dict[str, Any], *, content_type: str) -> dict[str, Any]:
        assert (path, content_type) == ("/api/v1/namespaces/default/pods/app/status", pod_agent._STRATEGIC)
        if body["metadata"] != {"uid": "u", "resourceVersion": self.version}:
            raise refusal(409)
        self.patches.append(body["status"])
        return pod(version="8") | {"status": body["status"]}

    async def pull(self, image: str, secrets: Sequence[Mapping[str, Any]]) -> ResolvedImage:
        if SECRET not in secrets:
            raise ImagePullDenied("image-pull-denied", "no basic auth credentials", hint="-")
        return ResolvedImage(written=image, name=image, image_id=IMAGE_ID, digest=IMAGE_ID.partition("@")[2])

    def event(self, _pod: Mapping[str, Any], *, kind: str, reason: str, message: str) -> None:
        self.events.append(f"{kind} {reason} {message}")


def refusal(status: int) -> ApiError:
    return ApiError(request="-", status=status, reason="", message="", body={})


def pod(*, version: str = "7") -> dict[str, Any]:
    return {
        "metadata": {"name": "app", "namespace": "default", "uid": "u", "resourceVersion": version},
        "spec": {"containers": [{"name": "app", "image": IMAGE}], "imagePullSecrets": [{"name": "login"}]},
    }


async def no_runner(_pod: Mapping[str, Any]) -> Any:
    pytest.fail("this Pod is played")


def agent_of(cluster: Cluster, make_runner: Callable[[Mapping[str, Any]], Awaitable[Any]] = no_runner) -> PodAgent:
    """An agent that plays every Pod, or runs every Pod when it is told how."""
    return PodAgent(
        cast("ApiClient", cluster),
        node_name="node",
        images=cast("ImageResolver", cluster),
        is_workload=lambda _pod: make_runner is not no_runner,
        make_runner=make_runner,
        publisher=cast("PodPublisher", cluster),
        memory=Memory(),
    )


def test_an_image_is_pulled_with_the_secrets_that_its_pod_names() -> None:
    cluster = Cluster(secrets={"login": SECRET})

    assert asyncio.run(agent_of(cluster)._hand_over(pod())) == []
    assert cluster.patches[0]["containerStatuses"][0]["imageID"] == IMAGE_ID
    assert cluster.events == []


def test_a_secret_that_is_not_there_is_told_in_the_kubelets_words_and_done_without() -> None:
    cluster = Cluster(secrets={})

    assert asyncio.run(agent_of(cluster)._hand_over(pod())) == [IMAGE]
    assert cluster.patches[0]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull"
    (event,) = cluster.events
    assert event == (
        "Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (login); "
        "attempting to pull the image may not succeed."
    )


def test_a_pod_that_has_changed_is_looked_at_again_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pod_agent, "_RETRY_S", 0)
    cluster = Cluster(secrets={"login": SECRET}, version="8")
    agent = agent_of(cluster)
    views = iter([pod(version="7"), pod(version="8")])
    monkeypatch.setattr(agent.informer, "get", lambda _namespace, _name: next(views))

    asyncio.run(agent._play(pod(version="7")))

    assert len(cluster.patches) == 1
    assert next(views, None) is None


# --- workloads -----------------------------------------------------------------------------------------------------


class Runner:
    """A runner that only remembers what was asked of it."""

    pod_ip = "10.244.0.4"
    ready = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self) -> None:
        self.asked.append("start")

    def update(self, pod: Mapping[str, Any]) -> None:
        self.asked.append(f"update {pod['metadata']['resourceVersion']}")

    async def stop(self, *, grace_s: float) -> None:
        self.asked.append(f"stop within {grace_s:g} s")
        if grace_s:
            await asyncio.sleep(grace_s)
        self.asked.append("stopped")


def workload_agent(made: list[Runner], world: asyncio.Event) -> PodAgent:
    """An agent of workloads whose worlds are made once ``world`` is set."""

    async def make_runner(_pod: Mapping[str, Any]) -> Any:
        await world.wait()
        made.append(Runner())
        return made[-1]

    return agent_of(Cluster(secrets={}), make_runner)


def see(agent: PodAgent, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """What an informer does with a change."""
    agent.informer.objects = {} if new is None else {("default", "app"): new}
    agent._on_change(old, new)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_workload_that_changes_while_it_starts_is_started_once_and_as_it_is_by_then() -> None:
    async def test() -> None:
        made: list[Runner] = []
        world = asyncio.Event()
        agent = workload_agent(made, world)
        see(agent, None, pod())
        await settle()
        see(agent, pod(), pod(version="8"))
        world.set()
        await settle()
        assert [runner.asked for runner in made] == [["update 8", "start"]]
        assert list(agent.runners) == ["u"]

    asyncio.run(test())


def test_a_workload_that_goes_while_it_starts_does_not_run() -> None:
    async def test() -> None:
        made: list[Runner] = []
        world = asyncio.Event()
        agent = workload_agent(made, world)
        see(agent, None, pod())
        await settle()
        see(agent, pod(), None)
        world.set()
        await settle()
        assert [runner.asked for runner in made] == [["stop within 0 s", "stopped"]]
        assert not agent.runners

    asyncio.run(test())


def test_a_workload_is_begun_anew_with_a_runner_of_its_own() -> None:
    async def test() -> None:
        made: list[Runner] = []
        world = asyncio.Event()
        world.set()
        agent = workload_agent(made, world)
        see(agent, None, pod())
        await settle()
        made[0].pod = pod()  # type: ignore[attr-defined]  # what a real one keeps
        await agent.begin_anew("u")
        assert [runner.asked for runner in made] == [
            ["update 7", "start", "stop within 0 s", "stopped"],
            ["update 7", "start"],
        ]

    asyncio.run(test())


def test_a_workload_whose_end_is_cut_short_is_stopped_with_the_others() -> None:
    async def test() -> None:
        made: list[Runner] = []
        world = asyncio.Event()
        world.set()
        agent = workload_agent(made, world)
        see(agent, None, pod())
        await settle()
        leaving = pod(version="8")
        leaving["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 600}
        see(agent, pod(), leaving)
        await settle()
        await agent.stop(grace_s=0)
        assert made[0].asked[-3:] == ["stop within 600 s", "stop within 0 s", "stopped"]

    asyncio.run(test())


def test_an_address_is_served_by_the_pod_that_is_meant_and_once_it_is_ready() -> None:
    async def test() -> None:
        made: list[Runner] = []
        world = asyncio.Event()
        world.set()
        agent = workload_agent(made, world)
        see(agent, None, pod())
        await settle()
        served = [agent.serves("10.244.0.4", uid=uid) for uid in ("u", None, "another")]
        assert served == [True, True, False]
        assert not agent.serves("10.244.0.5", uid="u")
        made[0].ready = False
        assert not agent.serves("10.244.0.4", uid="u")

    asyncio.run(test())
