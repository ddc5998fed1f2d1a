"""Where the lab keeps what outlives a command: the component store, templates, and one directory per lab.

Everything lies under the XDG directories, or under ``LAB_HOME`` when that is set. Nothing is created by asking.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP = "k8s-supply-chain-lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPaths:
    """The lab's directories.

    Attributes:
        cache: what can be made again: the component store, templates, image layers.
        state: what runs: one directory per lab, bundles of failed runs.
    """

    cache: Path
    state: Path

    @classmethod
    def from_environment(cls) -> LabPaths:
        """The directories that ``LAB_HOME`` or the XDG variables name."""
        home = os.environ.get("LAB_HOME")
        if home:
            root = Path(home).expanduser().absolute()
            return cls(cache=root / "cache", state=root / "state")
        return cls(
            cache=Path(platformdirs.user_cache_dir(APP, appauthor=False)),
            state=Path(platformdirs.user_state_dir(APP, appauthor=False)),
        )

    @property
    def store(self) -> Path:
        """The component store."""
        return self.cache / "components"

    @property
    def templates(self) -> Path:
        """Finished clusters to copy."""
        return self.cache / "templates"

    @property
    def labs(self) -> Path:
        """One directory per lab."""
        return self.state / "labs"
