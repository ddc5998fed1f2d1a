"""The commands of busybox: one program under many names, which Debian's package leaves to whoever installs it."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from lab.errors import LabError
from lab.images.oci import links_of

PACKAGE = "busybox-static"
_TIMEOUT_S = 30.0


def commands(layer: bytes) -> bytes:
    """A layer of links, one for each command that the busybox in another layer has.

    Args:
        layer: an archive with the program in it, for this machine's architecture.

    Raises:
        LabError: ``busybox-missing``: there is none in it, or it does not say what it can do.
    """
    program, content = _program(layer)
    with tempfile.TemporaryDirectory(prefix="lab-busybox-") as scratch:
        copy = Path(scratch, "busybox")
        copy.write_bytes(content)
        copy.chmod(0o755)
        asked = subprocess.run((copy, "--list"), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if asked.returncode != 0:
        raise _missing(asked.stderr.strip())
    names = set(asked.stdout.split()) - {program.name}
    return links_of({f"/{program.parent / name}": program.name for name in names})


def _program(layer: bytes) -> tuple[PurePosixPath, bytes]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            stream = archive.extractfile(member) if member.isfile() else None
            if path.name == "busybox" and path.parent.name == "bin" and stream is not None:
                return path, stream.read()
    raise _missing(f"{PACKAGE} ships no bin/busybox")


def _missing(why: str) -> LabError:
    return LabError(
        "busybox-missing",
        f"the image of busybox cannot be made: {why}",
        hint=f"see what 'apt-get download {PACKAGE}' brings",
    )
