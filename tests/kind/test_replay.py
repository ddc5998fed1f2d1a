"""What ``lab run`` replays on kind; ``--lab-backend kind`` has the end-to-end tests do so with every scenario."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("kind_machine")]

ROOT = Path(__file__).parents[2]


@pytest.mark.in_turns
@pytest.mark.parametrize("scenario", ["gatekeeper-trusted-images", "imagepolicy-enable", "containerize-webhook"])
def test_a_scenario_passes_in_a_cluster_of_its_own(scenario: str, tmp_path: Path) -> None:
    """One of Gatekeeper, one of the API server's files, and the one that only kind can hold."""
    report = tmp_path / "report.json"
    argv = [sys.executable, "-m", "lab", "run", "--backend", "kind", "--no-mistakes", "--json", str(report), scenario]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    (replayed,) = json.loads(report.read_text())["scenarios"]
    assert [(phase["kind"], phase["outcome"]) for phase in replayed["phases"]] == [
        ("untouched", "pass"),
        ("solution", "pass"),
    ]
