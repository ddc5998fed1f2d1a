"""How a lab in somebody else's cluster is opened, found again, and what it refuses without asking the cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.cluster.backends import open_cluster
from lab.cluster.existing.backend import ExistingCluster
from lab.cluster.existing.locks import Lock
from lab.cluster.existing.settings import GuestSettings
from lab.cluster.protocol import Addon, Cluster, Guest, ImagePolicy, Needs, Snapshots, StartState
from lab.errors import InputError, LabError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")


def _guest(paths: LabPaths, name: str = "guest") -> ExistingCluster:
    return ExistingCluster(name, paths=paths, kubeconfig=paths.state / "theirs")


def test_it_is_a_cluster_that_resets_and_a_guest(paths: LabPaths) -> None:
    guest = _guest(paths)
    assert isinstance(guest, Cluster)
    assert isinstance(guest, Snapshots)
    assert isinstance(guest, Guest)
    assert guest.status().phase == "stopped"


def test_it_needs_a_kubeconfig(paths: LabPaths) -> None:
    with pytest.raises(InputError) as raised:
        open_cluster("guest", paths=paths, backend="existing")
    assert raised.value.code == "kubeconfig-missing"


def test_a_backend_with_a_cluster_of_its_own_takes_no_kubeconfig(paths: LabPaths, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        open_cluster("lab", paths=paths, kubeconfig=tmp_path / "theirs")
    assert raised.value.code == "kubeconfig-unused"


def test_a_lab_that_was_left_is_found_on_its_backend_and_in_its_cluster(paths: LabPaths, tmp_path: Path) -> None:
    left = GuestSettings.new("guest", kubeconfig=tmp_path / "theirs", context="staging")
    left.save(paths.labs / "guest" / "lab.json")
    found = open_cluster("guest", paths=paths)
    assert isinstance(found, ExistingCluster)
    (note,) = found.status().notes
    assert str(tmp_path / "theirs") in note
    assert GuestSettings.load(paths.labs / "guest" / "lab.json") == left
    with pytest.raises(InputError) as raised:
        open_cluster("guest", paths=paths, backend="existing", kubeconfig=tmp_path / "others")
    assert raised.value.code == "lab-elsewhere"


def test_a_lab_on_another_backend_is_not_taken_over(paths: LabPaths) -> None:
    file = paths.labs / "guest" / "lab.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"name": "guest"}))
    with pytest.raises(InputError) as raised:
        _guest(paths)
    assert raised.value.code == "lab-exists"


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        (Needs(state=StartState(image_policy=ImagePolicy.OPEN)), "image policy"),
        (Needs(state=StartState(addons=frozenset({Addon.BOUNCER}))), "the image bouncer's certificates"),
        (Needs(state=StartState(), images=("docker.io/library/python:3",)), "docker.io/library/python:3"),
    ],
)
def test_what_no_such_cluster_can_hold_is_refused_without_asking_it(paths: LabPaths, needs: Needs, why: str) -> None:
    assert why in _guest(paths).refusal(needs)


def test_a_registry_lets_a_cluster_have_the_images_that_the_lab_can_make(paths: LabPaths) -> None:
    bouncer = Needs(state=StartState(), images=("docker.io/kainlite/kube-image-bouncer:latest",))
    nobodys = Needs(state=StartState(), images=("docker.io/library/nobody-has-this:1",))
    kubeconfig = paths.state / "theirs"
    supplied = ExistingCluster("guest", paths=paths, kubeconfig=kubeconfig, image_registry="registry.example/lab")

    assert _guest(paths).refusal(bouncer).startswith("without --image-registry the cluster gets no images")
    assert supplied.refusal(bouncer) == ""
    assert supplied.refusal(nobodys) == "the lab cannot make an image that runs for docker.io/library/nobody-has-this:1"


def test_a_state_that_it_cannot_make_is_an_error(paths: LabPaths) -> None:
    with pytest.raises(LabError) as raised:
        _guest(paths).up(StartState(image_policy=ImagePolicy.ENFORCED), progress=print)
    assert raised.value.code == "state-not-here"
    assert not paths.labs.exists()


def test_nothing_can_be_run_while_it_is_not_up(paths: LabPaths) -> None:
    guest = _guest(paths)
    for use in (guest.kubeconfig, lambda: guest.node_exec(["true"]), lambda: guest.read_node_file("/root/a")):
        with pytest.raises(LabError) as raised:
            use()
        assert raised.value.code == "lab-not-running"


def test_to_take_down_what_is_not_there_is_no_error(paths: LabPaths) -> None:
    _guest(paths).down()


def test_a_lab_that_another_process_works_in_is_not_taken_from_it(paths: LabPaths, tmp_path: Path) -> None:
    GuestSettings.new("guest", kubeconfig=tmp_path / "theirs", context=None).save(paths.labs / "guest" / "lab.json")
    lock = Lock.taken(paths.state / "existing/lab-guest.lock")
    assert lock is not None
    with pytest.raises(LabError) as raised:
        open_cluster("guest", paths=paths).down()
    assert raised.value.code == "lab-in-use"
    assert (paths.labs / "guest" / "lab.json").exists()
    lock.release()


def test_a_lock_is_held_once_and_goes_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "locks/one.lock"
    lock = Lock.taken(path)
    assert lock is not None
    assert Lock.taken(path) is None
    lock.release()
    assert not path.exists()
    again = Lock.taken(path)
    assert again is not None
    again.release()
