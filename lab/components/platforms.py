"""Which platform the programs are for, in Go's words."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from lab.errors import LabError

_GO_ARCH = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An operating system and an architecture.

    Attributes:
        os: ``linux``.
        arch: ``amd64`` or ``arm64``.
    """

    os: str
    arch: str

    def __str__(self) -> str:
        return f"{self.os}-{self.arch}"

    @classmethod
    def current(cls) -> Platform:
        """The platform that this process runs on.

        Raises:
            LabError: ``component-platform``: the lab has no programs for it.
        """
        arch = _GO_ARCH.get(platform.machine().lower())
        if sys.platform != "linux" or arch is None:
            raise LabError(
                "component-platform",
                f"there are no programs for {sys.platform} on {platform.machine()}",
                hint="use Linux on x86-64 or arm64, for example in a virtual machine",
            )
        return cls(os="linux", arch=arch)
