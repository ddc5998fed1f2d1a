"""A Python on a kind node, and the commands that the lab has there by it: ``lab`` and ``build-image``.

A node image need not have a Python, nor the libc that a machine's own was built for. So Debian's is mounted with its
libraries, and started by its own loader; this package is mounted beside it.
"""

from __future__ import annotations

from pathlib import Path

import lab

PYTHON = "/run/lab/python"
PACKAGE = "/run/lab/lib/lab"
RUN = Path("/run/lab/run")
RUN_DIRECTORY = "run"
"""`RUN` below the lab's directory."""
COMMANDS = {
    "lab": f"{PACKAGE}/cluster/embedded/lab_on_node.py",
    "build-image": "-m lab.images.builder",
}
"""Name of a command to what Python is told to run."""

_COMMAND = f"""\
#!/bin/sh
root={PYTHON}
for loader in "$root"/lib/*-linux-gnu*/ld-linux-*.so.* "$root"/usr/lib/*-linux-gnu*/ld-linux-*.so.*; do
  [ ! -e "$loader" ] || break
done
libraries=$(ls -d "$root"/lib/*-linux-gnu* "$root"/usr/lib/*-linux-gnu* 2>/dev/null | tr '\\n' :)
export PYTHONHOME="$root/usr" PYTHONPATH={Path(PACKAGE).parent} PYTHONDONTWRITEBYTECODE=1
exec "$loader" --library-path "$libraries" "$root/usr/bin/python3" -sP %s "$@"
"""


def write_files(root: Path) -> None:
    """Write the commands below a lab's directory."""
    (root / RUN_DIRECTORY).mkdir(exist_ok=True)
    for name, told in COMMANDS.items():
        file = root / "node" / name
        file.write_text(_COMMAND % told)
        file.chmod(0o755)


def package() -> Path:
    """This package, as it is installed here."""
    return Path(lab.__file__).resolve().parent
