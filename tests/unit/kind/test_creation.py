"""What is done while kind makes a cluster, and when its node is entered: not while all goes well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from lab.cluster.kind import creation
from lab.cluster.kind.creation import ApiServerWatch, Order
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.cluster.kind.engine import Engine

BOOTING = {1: "systemd", 2: "containerd"}
STARTING = BOOTING | {3: "kubelet"}
RUNNING = STARTING | {4: "kube-apiserver"}


def test_a_creation_that_goes_well_is_left_alone() -> None:
    watch = ApiServerWatch()
    seen = [BOOTING, BOOTING, STARTING, STARTING, RUNNING, RUNNING]

    assert not any(watch.is_suspect(processes, now_s=2.0 * number) for number, processes in enumerate(seen))


def test_an_api_server_that_has_ended_is_suspect_also_when_the_next_one_runs() -> None:
    watch = ApiServerWatch()
    assert not watch.is_suspect(RUNNING, now_s=0)

    assert watch.is_suspect(STARTING, now_s=2)
    assert watch.is_suspect(STARTING | {9: "kube-apiserver"}, now_s=4)


def test_an_api_server_that_does_not_come_is_suspect_after_a_while() -> None:
    watch = ApiServerWatch()
    assert not any(watch.is_suspect(STARTING, now_s=now_s) for now_s in (0, 2, 4, 6, 8))

    assert watch.is_suspect(STARTING, now_s=8.5)


def test_a_node_that_boots_slowly_is_not_suspect() -> None:
    watch = ApiServerWatch()

    assert not any(watch.is_suspect(BOOTING, now_s=now_s) for now_s in (0, 10, 60))


class NoNode:
    """A Docker in which no node is to be seen."""

    def node_id(self, _cluster: str) -> None:
        return None


def order(tmp_path: Path, script: str) -> Order:
    """An order to a kind that does what a script says."""
    program = tmp_path / "kind"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return Order(
        program=program, cluster="one", config=tmp_path / "kind.yaml", kubeconfig=tmp_path / "kubeconfig",
        network="net", image="image", log=tmp_path / "kind.log",
    )  # fmt: skip


def create(order: Order, *, told: list[str]) -> None:
    def kubeadm_ended() -> None:
        told.append("kubeadm has ended")
        order.config.with_name("told").touch()

    creation.create(order, cast("Engine", NoNode()), progress=told.append, kubeadm_ended=kubeadm_ended)


STARTED = "echo ' • Starting control-plane 🕹️  ...'; echo ' ✓ Starting control-plane 🕹️'\n"
UNTIL_TOLD = "while [ ! -e told ]; do sleep 0.05; done\n"


def test_that_kubeadm_has_ended_is_told_while_kind_still_works(tmp_path: Path) -> None:
    told: list[str] = []

    create(order(tmp_path, f"{STARTED}{UNTIL_TOLD}echo ' • Installing StorageClass 💾  ...'; sleep 0.3\n"), told=told)

    assert told == ["kind: Starting control-plane", "kubeadm has ended", "kind: Installing StorageClass"]


def test_it_is_told_also_where_kind_was_quicker(tmp_path: Path) -> None:
    told: list[str] = []

    create(order(tmp_path, STARTED), told=told)

    assert told == ["kind: Starting control-plane", "kubeadm has ended"]


def test_of_a_cluster_that_kind_could_not_make_it_is_not_told(tmp_path: Path) -> None:
    told: list[str] = []

    with pytest.raises(LabError, match="unknown flag") as caught:
        create(order(tmp_path, "echo 'Error: unknown flag: --x'; exit 1\n"), told=told)

    assert caught.value.code == "flag-unknown"
    assert told == []


def test_a_kind_that_fails_after_kubeadm_has_failed(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no more") as caught:
        create(order(tmp_path, f"{STARTED}{UNTIL_TOLD}echo 'ERROR: no more'; exit 1\n"), told=[])

    assert caught.value.code == "kind-failed"


def test_an_interruption_ends_kind(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    script = f"echo $$ > pid\n{STARTED}exec sleep 60\n"
    with pytest.raises(KeyboardInterrupt):
        creation.create(
            order(tmp_path, script), cast("Engine", NoNode()), progress=lambda _: None, kubeadm_ended=interrupt
        )

    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
