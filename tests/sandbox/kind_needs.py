"""What a kind cluster needs in its configuration to run on this machine; on an ordinary one, nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.machine import Machine

_CRI = 'plugins."io.containerd.grpc.v1.cri"'


def kind_configuration(machine: Machine, directory: Path) -> dict[str, Any]:
    """The keys to add to a kind configuration: ``kubeadmConfigPatches``, ``containerdConfigPatches``, ``nodes``.

    Args:
        machine: what the machine lacks.
        directory: an existing directory for the file that the node mounts.
    """
    kubelet: list[str] = []
    containerd: list[str] = []
    gates: list[str] = []
    mounts: list[dict[str, Any]] = []
    if machine.cgroup_v1:
        kubelet += ["failCgroupV1: false", "cgroupDriver: cgroupfs"]
        containerd.append(f"[{_CRI}.containerd.runtimes.runc.options]\n  SystemdCgroup = false\n")
    if machine.limits_are_fixed:
        # The kubelet then takes a refused OOM score for a warning.
        gates.append("KubeletInUserNamespace: true")
        containerd.append(f"[{_CRI}]\n  restrict_oom_score_adj = true\n")
        # kind's unit asks for no limits at all; the limits of this machine cannot be raised.
        file = directory / "limits.conf"
        file.write_text(_limits(machine), encoding="utf-8")
        mounts = [
            {
                "hostPath": str(file),
                "containerPath": "/etc/systemd/system/containerd.service.d/90-test-machine.conf",
                "readOnly": True,
            }
        ]
    if gates:
        kubelet += ["featureGates:", *(f"  {gate}" for gate in gates)]
    configuration: dict[str, Any] = {}
    if kubelet:
        # Without an apiVersion, as kind applies it whatever version it generates.
        configuration["kubeadmConfigPatches"] = ["\n".join(["kind: KubeletConfiguration", *kubelet, ""])]
    if containerd:
        configuration["containerdConfigPatches"] = containerd
    if mounts:
        configuration["nodes"] = [{"role": "control-plane", "extraMounts": mounts}]
    return configuration


def _limits(machine: Machine) -> str:
    return "\n".join(
        [
            "[Service]",
            f"LimitNOFILE={_limit(machine.open_files)}",
            f"LimitNPROC={_limit(machine.processes)}",
            f"LimitCORE={_limit(machine.core_size)}",
            "OOMScoreAdjust=0",
            "",
        ]
    )


def _limit(value: int) -> str:
    return "infinity" if value < 0 else str(value)
