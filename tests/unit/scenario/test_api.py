"""Requests to the API server over a kubeconfig."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lab.scenario.api import KubeconfigTransport

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_kubeconfigs_of_several_labs_are_loaded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's temporary files of certificates are kept by content, and noted before they are written."""
    inside, most, loading, waited = 0, 0, threading.Lock(), threading.Event()

    def load(**_options: object) -> Any:
        nonlocal inside, most
        with loading:
            inside += 1
            most = max(most, inside)
        waited.wait(0.05)  # long enough for the others to come in, if nothing stops them
        with loading:
            inside -= 1
        return SimpleNamespace()

    monkeypatch.setattr("kubernetes.config.new_client_from_config", load)
    threads = [threading.Thread(target=KubeconfigTransport, args=(tmp_path / "config",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
