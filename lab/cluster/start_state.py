"""Brings a cluster that has just booted into a start state, by the same steps on every backend.

Only what the `Cluster` protocol offers is used: commands and files of the node. The order matters: while the image
policy is open, the bouncer's and Gatekeeper's own Pods can be created; only then it is closed. It is taken away before
they are created, so that what watches the API server sees it restarted as seldom as can be.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from lab.admission import manifest as static_pod
from lab.admission.configuration import ImagePolicyConfig, admission_configuration_yaml
from lab.cluster.protocol import Addon, ImagePolicy
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import Cluster, StartState

API_SERVER_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ADMISSION_CONFIG = "/etc/kubernetes/admission/admission_config.yaml"
_KILL_API_SERVER = """
for process in /proc/[0-9]*; do
  if [ "$(cat "$process/comm" 2>/dev/null)" = kube-apiserver ]; then
    kill -KILL "${process#/proc/}"
    while [ -e "$process" ]; do sleep 0.01; done
  fi
done
"""
"""No pkill: a small node need not have it."""
_KUBECTL_TIMEOUT_S = 240.0
_API_SERVER_TIMEOUT_S = 60.0


def converge(cluster: Cluster, state: StartState, *, gatekeeper_manifest: str, progress: Callable[[str], None]) -> None:
    """Bring a cluster that booted (image policy open, no addons) into a start state.

    Args:
        cluster: the cluster.
        state: the state wanted.
        gatekeeper_manifest: path of Gatekeeper's deploy manifest on this machine.
        progress: called with each step.

    Raises:
        LabError: a step failed; its output is in the context.
    """
    if state.image_policy is ImagePolicy.OFF:
        progress(f"setting the image policy to {state.image_policy.value}")
        set_image_policy(cluster, state.image_policy)
    if Addon.BOUNCER in state.addons:
        progress("deploying the image bouncer")
        _install_bouncer(cluster)
    if Addon.GATEKEEPER in state.addons:
        progress("installing Gatekeeper")
        install_gatekeeper(cluster, Path(gatekeeper_manifest))
    if state.image_policy is ImagePolicy.ENFORCED:
        progress(f"setting the image policy to {state.image_policy.value}")
        set_image_policy(cluster, state.image_policy)


def set_image_policy(cluster: Cluster, policy: ImagePolicy) -> None:
    """Switch ImagePolicyWebhook of a running API server off, open or closed, and wait until it runs like that."""
    if policy is ImagePolicy.OFF:
        text = cluster.read_node_file(API_SERVER_MANIFEST)
        if text is None:
            raise LabError(
                "manifest-missing", f"the node has no {API_SERVER_MANIFEST}", hint="lab reset, or lab down and lab up"
            )
        without = static_pod.disable_image_policy_webhook(static_pod.parse_manifest(text.decode()))
        cluster.write_node_file(API_SERVER_MANIFEST, static_pod.render_manifest(without).encode(), mode=0o600)
    else:
        config = ImagePolicyConfig(default_allow=policy is ImagePolicy.OPEN)
        cluster.write_node_file(ADMISSION_CONFIG, admission_configuration_yaml(config).encode())
        _restart_api_server(cluster)
    cluster.wait_api_server(timeout_s=_API_SERVER_TIMEOUT_S)


def _restart_api_server(cluster: Cluster) -> None:
    """End the API server's process, so that the kubelet starts it again and it reads the admission configuration.

    An edit of its manifest would do that too, but makes another static pod, whose mirror pod would then have to pass
    the policy that is just being closed.
    """
    result = cluster.node_exec(("sh", "-c", _KILL_API_SERVER))
    if result.exit_code != 0:
        raise LabError(
            "start-state-failed",
            "the API server's process could not be ended",
            hint="see lab status; lab reset",
            context={"output": result.stderr.strip()},
        )


def _install_bouncer(cluster: Cluster) -> None:
    pair = "/run/lab/certificates/image-bouncer-webhook"
    name = "tls-image-bouncer-webhook"
    _kubectl(cluster, "create", "secret", "tls", name, f"--cert={pair}.crt", f"--key={pair}.key")
    manifest = resources.files("lab.cluster.addons").joinpath("bouncer.yaml").read_bytes()
    _kubectl(cluster, "apply", "-f", "-", stdin=manifest)
    _kubectl(cluster, "rollout", "status", "deployment/image-bouncer-webhook", "--timeout=120s")


def install_gatekeeper(cluster: Cluster, manifest: Path) -> None:
    """Install Gatekeeper, and wait until its Pods are ready.

    Args:
        cluster: where.
        manifest: Gatekeeper's deploy manifest on this machine.

    Raises:
        LabError: ``start-state-failed``.
    """
    # Server-side, because a client-side apply would keep each CRD a second time in an annotation that is too long.
    _kubectl(cluster, "apply", "--server-side", "-f", "-", stdin=manifest.read_bytes())
    for deployment in ("gatekeeper-controller-manager", "gatekeeper-audit"):
        _kubectl(cluster, "rollout", "status", f"deployment/{deployment}", "-n", "gatekeeper-system", "--timeout=180s")


def _kubectl(cluster: Cluster, *arguments: str, stdin: bytes = b"") -> None:
    result = cluster.node_exec(("kubectl", *arguments), stdin=stdin, timeout_s=_KUBECTL_TIMEOUT_S)
    if result.exit_code != 0:
        raise LabError(
            "start-state-failed",
            f"kubectl {' '.join(arguments)} ended with exit code {result.exit_code}",
            hint="see lab status and lab logs; lab reset starts from the last template",
            context={"output": (result.stderr or result.stdout).strip()},
        )
