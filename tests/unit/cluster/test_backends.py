from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.cluster.backends import backend_of, list_labs, open_cluster
from lab.cluster.embedded.backend import EmbeddedCluster
from lab.cluster.kind.backend import KindCluster
from lab.errors import InputError
from lab.paths import LabPaths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")


def remember(paths: LabPaths, name: str, **document: str) -> None:
    (paths.labs / name).mkdir(parents=True)
    (paths.labs / name / "lab.json").write_text(json.dumps(document))


def test_a_new_lab_is_embedded_unless_told_otherwise(paths: LabPaths) -> None:
    assert isinstance(open_cluster("new", paths=paths), EmbeddedCluster)
    assert isinstance(open_cluster("new", paths=paths, backend="kind"), KindCluster)
    assert not paths.state.exists()


def test_a_lab_keeps_the_backend_that_it_was_made_on(paths: LabPaths) -> None:
    remember(paths, "old", state="off")
    remember(paths, "boxed", backend="kind")
    assert isinstance(open_cluster("old", paths=paths), EmbeddedCluster)
    assert isinstance(open_cluster("boxed", paths=paths), KindCluster)
    assert isinstance(open_cluster("boxed", paths=paths, backend="kind"), KindCluster)
    assert list_labs(paths) == ("boxed", "old")


def test_asking_for_another_backend_than_a_labs_own_is_refused(paths: LabPaths) -> None:
    remember(paths, "boxed", backend="kind")
    with pytest.raises(InputError, match="boxed was made on kind, not on embedded") as caught:
        open_cluster("boxed", paths=paths, backend="embedded")
    assert caught.value.code == "backend-differs"


def test_a_backend_that_there_is_not(paths: LabPaths) -> None:
    with pytest.raises(InputError, match="no backend 'kindd'") as caught:
        open_cluster("new", paths=paths, backend="kindd")
    assert "embedded, kind" in caught.value.hint


def test_a_damaged_lab_has_no_backend_that_could_be_told(paths: LabPaths) -> None:
    remember(paths, "torn")
    (paths.labs / "torn" / "lab.json").write_text("{")
    assert backend_of("torn", paths) is None
