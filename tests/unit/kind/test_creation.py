"""When the node of a cluster that is being made is entered: not while all goes well."""

from __future__ import annotations

from lab.cluster.kind.creation import ApiServerWatch

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
