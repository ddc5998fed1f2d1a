"""The first probe of a start state: the request whose verdict shows that the state holds.

A lab is up, or has been reset, when this probe gives its verdict: not when some process says that it is ready.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from lab.cluster.protocol import Addon, ImagePolicy, StartState
from lab.errors import LabError, WaitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Create = Callable[[str, dict[str, Any]], Awaitable[None]]
    """Dry-run creation of an object in a collection; raises `LabError` with a ``status`` when it is refused."""

_POLL_S = 0.02


async def wait_first_verdict(state: StartState, create: Create, *, timeout_s: float) -> None:
    """Wait until a start state's probes give their verdicts.

    Args:
        state: the start state.
        create: creates an object with ``dryRun=All``.
        timeout_s: longest time, in seconds.

    Raises:
        WaitError: a probe did not give its verdict; says what it gave instead.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    for what, probe in _probes(state):
        while (seen := await probe(create)) is not None:
            if asyncio.get_running_loop().time() > deadline:
                raise WaitError(
                    what=what,
                    timeout_s=timeout_s,
                    last_seen=seen,
                    hint="see lab status and lab logs; lab reset puts the start state back",
                )
            await asyncio.sleep(_POLL_S)


def _probes(state: StartState) -> list[tuple[str, Callable[[Create], Awaitable[str | None]]]]:
    probes: list[tuple[str, Callable[[Create], Awaitable[str | None]]]] = []
    if state.image_policy is ImagePolicy.OFF or (
        state.image_policy is ImagePolicy.OPEN and Addon.BOUNCER not in state.addons
    ):
        probes.append(("the first Pod to be admitted", _pod_admitted))
    elif Addon.BOUNCER in state.addons:
        probes.append(("the bouncer's first denial", _bouncer_denies))
    else:
        probes.append(("ImagePolicyWebhook to fail closed", _fails_closed))
    if Addon.GATEKEEPER in state.addons:
        probes.append(("Gatekeeper's first denial", _gatekeeper_denies))
    return probes


async def _pod_admitted(create: Create) -> str | None:
    return await _refusal(create, *_pod("docker.io/library/nginx"))


async def _bouncer_denies(create: Create) -> str | None:
    seen = await _refusal(create, *_pod("denied.example/first-probe"))
    return None if seen and "image policy webhook backend denied one or more images" in seen else seen or "allowed"


async def _fails_closed(create: Create) -> str | None:
    seen = await _refusal(create, *_pod("denied.example/first-probe"))
    return None if seen and 'is forbidden: Post "' in seen else seen or "allowed"


async def _gatekeeper_denies(create: Create) -> str | None:
    """Gatekeeper refuses a template that is not named after its kind, whatever constraints there are."""
    name = f"firstprobe{secrets.token_hex(4)}"
    template: dict[str, Any] = {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {"name": name},
        "spec": {
            "crd": {"spec": {"names": {"kind": "NotThatName"}}},
            "targets": [
                {"target": "admission.k8s.gatekeeper.sh", "rego": 'package probe\nviolation[{"msg": "no"}] { true }'}
            ],
        },
    }
    seen = await _refusal(create, "/apis/templates.gatekeeper.sh/v1/constrainttemplates", template)
    return None if seen and 'admission webhook "validation.gatekeeper.sh" denied' in seen else seen or "allowed"


async def _refusal(create: Create, collection: str, body: dict[str, Any]) -> str | None:
    """Create an object and say how it was refused; None when it was not."""
    try:
        await create(collection, body)
    except LabError as error:
        return error.message
    return None


def _pod(repository: str) -> tuple[str, dict[str, Any]]:
    """A Pod whose image no cache has seen: ImagePolicyWebhook remembers verdicts by image and namespace."""
    name = f"first-probe-{secrets.token_hex(4)}"
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "probe", "image": f"{repository}:{name}"}]},
    }
    return "/api/v1/namespaces/default/pods", pod
