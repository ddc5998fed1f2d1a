"""Compiled Python modules for an image: what a program imports when it starts, so that it need not be compiled then.

Debian compiles Python's own modules when its package is installed, which nobody does here, and a container's program
has no place to keep what it compiles. So the image's own Python compiles what the program imports, as files that are
taken as they are (PEP 552, unchecked): an image's sources never change under them.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.images.oci import tar_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMEOUT_S = 120.0
_COMPILE = """\
import importlib, os, py_compile, sys
root, target, *modules = sys.argv[1:]
for name in modules:
    importlib.import_module(name)
for module in list(sys.modules.values()):
    source, compiled = getattr(module, "__file__", None), getattr(module, "__cached__", None)
    if source and compiled and source.endswith(".py") and source.startswith(root + "/"):
        py_compile.compile(
            source, target + compiled[len(root):], source[len(root):], doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
"""


def layer(layers: Sequence[bytes], modules: Sequence[str], *, search: str) -> bytes:
    """What some modules need, compiled, as an archive that lies above others.

    Args:
        layers: archives with a Python of Debian's, for this machine's architecture, and with the modules.
        modules: names of modules; what they import is compiled too.
        search: directory of the image in which modules are looked for, beside Python's own.

    Raises:
        LabError: ``python-unusable``: that Python does not run here, or a module cannot be imported.
    """
    with tempfile.TemporaryDirectory(prefix="lab-compiled-") as scratch:
        root, target = Path(scratch, "root").resolve(), Path(scratch, "target").resolve()
        for archive in layers:
            with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
                opened.extractall(root, filter="tar")
        _run(root, search, (str(root), str(target), *modules))
        return tar_of({f"/{file.relative_to(target)}": file.read_bytes() for file in sorted(target.rglob("*.pyc"))})


def _run(root: Path, search: str, arguments: Sequence[str]) -> None:
    """Run `_COMPILE` by the Python of a directory, with the libraries and the loader of that directory."""
    loaders = [*root.glob("lib/*-linux-gnu*/ld-linux-*.so.*"), *root.glob("usr/lib/*-linux-gnu*/ld-linux-*.so.*")]
    libraries = [*root.glob("lib/*-linux-gnu*"), *root.glob("usr/lib/*-linux-gnu*")]
    if not loaders:
        raise _unusable("it has no loader")
    done = subprocess.run(
        (
            str(loaders[0]), "--library-path", ":".join(map(str, libraries)),
            str(root / "usr/bin/python3"), "-sSP", "-c", _COMPILE, *arguments,
        ),
        env={"PYTHONHOME": str(root / "usr"), "PYTHONPATH": f"{root}{search}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise _unusable(done.stderr.strip()[-2000:])


def _unusable(why: str) -> LabError:
    return LabError(
        "python-unusable",
        "the Python of an image cannot compile its modules",
        hint="see that this machine runs programs of its own architecture; 'lab images build' tries again",
        context={"output": why},
    )
