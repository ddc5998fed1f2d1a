"""Two labs at once on one machine do not see each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lab.cluster.protocol import DEFAULT_STATE

if TYPE_CHECKING:
    from lab.cluster.protocol import Cluster
    from tests.e2e.conftest import OwnCluster


pytestmark = pytest.mark.thorough


def _run(cluster: Cluster, name: str, image: str) -> str:
    result = cluster.node_exec(["kubectl", "run", name, f"--image={image}"])
    return (result.stdout or result.stderr).strip()


def _verdicts(cluster: Cluster, name: str) -> None:
    assert _run(cluster, f"{name}-allowed", "docker.io/library/nginx") == f"pod/{name}-allowed created"
    denied = _run(cluster, f"{name}-denied", "quay.io/nginx")
    assert "image policy webhook backend denied one or more images" in denied


def test_two_labs_that_start_at_the_same_time_give_their_own_verdicts(own_cluster: OwnCluster) -> None:
    first, second = own_cluster(), own_cluster()
    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(lab.up, DEFAULT_STATE, progress=lambda _: None) for lab in (first, second)]
        for start in starts:
            start.result()
    assert first.status().server != second.status().server
    assert not {p.pid for p in first.status().processes} & {p.pid for p in second.status().processes}
    _verdicts(first, "one")
    _verdicts(second, "two")
    assert "NotFound" in second.node_exec(["kubectl", "get", "pod", "one-allowed"]).stderr
    for path in ("/etc/kubernetes/mine", "/root/mine", "/tmp/mine"):  # noqa: S108 - of the node
        first.node_exec(["touch", path])
        assert first.read_node_file(path) == b""
        assert second.read_node_file(path) is None
    first.down()
    _verdicts(second, "later")
