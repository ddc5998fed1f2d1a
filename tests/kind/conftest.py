"""What the tests of kind share: Docker with a node image, and what this machine needs of a kind cluster."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest
import yaml

from lab.cluster.kind.backend import KindCluster
from lab.cluster.kind.definition import OVERLAY_VARIABLE
from lab.cluster.kind.engine import Engine
from lab.cluster.protocol import DEFAULT_STATE
from lab.components import Components
from lab.errors import LabError
from lab.images.node import node_image_name
from lab.paths import LabPaths
from tests.sandbox.kind_needs import kind_configuration
from tests.sandbox.machine import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def paths() -> LabPaths:
    return LabPaths.from_environment()


@pytest.fixture(scope="session")
def docker_engine(paths: LabPaths) -> Engine:
    try:
        engine = Engine.connect()
    except LabError:
        pytest.skip("Docker does not answer; on a test machine: python -m tests.sandbox up")
    if engine.image_id(node_image_name()) is None:
        pytest.skip(f"Docker has no {node_image_name()}: run 'lab node-image build'")
    for program in ("kind", "coredns"):
        if Components(paths).path(program) is None:
            pytest.skip(f"{program} is not in the component store: run 'lab components fetch {program}'")
    return engine


@pytest.fixture(scope="session")
def kind_machine(tmp_path_factory: pytest.TempPathFactory, docker_engine: Engine) -> Iterator[None]:
    """What this machine needs of a kind cluster, in the environment."""
    del docker_engine
    directory = tmp_path_factory.mktemp("machine")
    (directory / "overlay.yaml").write_text(yaml.safe_dump(kind_configuration(look(), directory)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(OVERLAY_VARIABLE, str(directory / "overlay.yaml"))
        yield


@pytest.fixture(scope="module")
def start_lab(paths: LabPaths, kind_machine: None) -> Iterator[Callable[[], KindCluster]]:
    """Starts a lab of the module's own, in the default state; it is taken down after the module's last test."""
    del kind_machine
    with contextlib.ExitStack() as stack:

        def start() -> KindCluster:
            cluster = KindCluster(f"kind-{secrets.token_hex(3)}", paths=paths)
            stack.callback(cluster.down)
            cluster.up(DEFAULT_STATE, progress=print)
            return cluster

        yield start
