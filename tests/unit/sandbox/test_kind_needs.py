from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.sandbox.kind_needs import kind_configuration
from tests.sandbox.machine import Machine, look

if TYPE_CHECKING:
    from pathlib import Path


def machine(*missing: str, cgroup_v1: bool = False) -> Machine:
    return Machine(
        missing_capabilities=frozenset(missing), cgroup_v1=cgroup_v1, open_files=20000, processes=-1, core_size=0
    )


def test_an_ordinary_machine_needs_nothing(tmp_path: Path) -> None:
    assert kind_configuration(machine(), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_cgroup_v1_is_told_to_the_kubelet_and_to_containerd(tmp_path: Path) -> None:
    needs = kind_configuration(machine(cgroup_v1=True), tmp_path)

    (patch,) = needs["kubeadmConfigPatches"]
    assert yaml.safe_load(patch) == {
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
    }
    (containerd,) = needs["containerdConfigPatches"]
    assert "SystemdCgroup = false" in containerd
    assert "nodes" not in needs


def test_fixed_limits_are_asked_for_as_they_are(tmp_path: Path) -> None:
    needs = kind_configuration(machine("CAP_SYS_RESOURCE"), tmp_path)

    (patch,) = needs["kubeadmConfigPatches"]
    assert yaml.safe_load(patch)["featureGates"] == {"KubeletInUserNamespace": True}
    (node,) = needs["nodes"]
    assert node["extraMounts"] == [
        {
            "hostPath": str(tmp_path / "limits.conf"),
            "containerPath": "/etc/systemd/system/containerd.service.d/90-test-machine.conf",
            "readOnly": True,
        }
    ]
    assert (tmp_path / "limits.conf").read_text().splitlines() == [
        "[Service]", "LimitNOFILE=20000", "LimitNPROC=infinity", "LimitCORE=0", "OOMScoreAdjust=0",
    ]  # fmt: skip


def test_another_missing_capability_changes_nothing_of_a_node(tmp_path: Path) -> None:
    assert kind_configuration(machine("CAP_SYS_MODULE"), tmp_path) == {}


def test_what_a_machine_lacks_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/sys/kernel/cap_last_cap").write_text("24\n")  # an older kernel knows fewer
    (tmp_path / "proc/self/status").write_text("CapBnd:\t0000000000ffffff\n")
    (tmp_path / "cgroup").mkdir()

    found = look(tmp_path / "proc", tmp_path / "cgroup")

    assert found.missing_capabilities == {"CAP_SYS_RESOURCE"}
    assert found.cgroup_v1
    assert found.limits_are_fixed

    (tmp_path / "cgroup/cgroup.controllers").write_text("cpu memory\n")
    assert not look(tmp_path / "proc", tmp_path / "cgroup").cgroup_v1
