"""A lab on kind whose API server is started again and again, as a candidate does who looks for the right flag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.cluster.protocol import DEFAULT_STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.kind.backend import KindCluster

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("kind_machine")]


def test_the_node_hears_of_pods_at_once_after_one_restart_of_the_api_server_upon_another(
    start_lab: Callable[[], KindCluster],
) -> None:
    lab = start_lab()
    manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
    for run in range(3):
        text = lab.read_node_file(manifest)
        assert text is not None
        lab.write_node_file(
            manifest, text.replace(b"  annotations:\n", f"  annotations:\n    run-{run}: x\n".encode()), mode=0o600
        )
        lab.wait_api_server(timeout_s=120)
    assert lab.node_exec(["kubectl", "create", "deployment", "late", "--image=httpd:2.4"]).exit_code == 0
    rollout = ["kubectl", "rollout", "status", "deployment/late", "--timeout=40s"]
    assert lab.node_exec(rollout, timeout_s=60).exit_code == 0
    lab.reset(DEFAULT_STATE, progress=print)
