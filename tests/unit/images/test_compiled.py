"""What an image's Python compiles, and what is said where it cannot."""

from __future__ import annotations

import io
import sys
import tarfile

import pytest

from lab.errors import LabError
from lab.images import compiled
from lab.images.oci import tar_of

# In place of Python's loader: is told what the loader would be told, and has this very Python compile.
LOADER = f"""\
#!/bin/sh
root=${{PYTHONHOME%/usr}}
[ "$1 $2 $3" = "--library-path $root/lib/x86_64-linux-gnu $root/usr/bin/python3" ] || exit 9
shift 3
unset PYTHONHOME
exec {sys.executable} "$@"
"""


def image() -> list[bytes]:
    python = tar_of({"/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": LOADER.encode()}, mode=0o755)
    sources = {"/opt/app/one.py": b"import two\n", "/opt/app/two.py": b"X = 2\n", "/opt/app/three.py": b"!"}
    return [python, tar_of(sources)]


def test_what_a_module_imports_is_compiled_for_where_the_image_has_it() -> None:
    archive = compiled.layer(image(), ("one",), search="/opt/app")

    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = {member.name: opened.extractfile(member) for member in opened}
        content = {name.split(".")[0]: stream.read() for name, stream in files.items() if stream is not None}
    assert set(content) == {"opt/app/__pycache__/one", "opt/app/__pycache__/two"}
    two = content["opt/app/__pycache__/two"]
    assert two[4:8] == b"\1\0\0\0"  # by hash, and unchecked
    assert b"/opt/app/two.py" in two


def test_a_module_that_cannot_be_imported_is_told() -> None:
    with pytest.raises(LabError, match="cannot compile") as caught:
        compiled.layer(image(), ("three",), search="/opt/app")
    assert "SyntaxError" in str(caught.value.context["output"])


def test_layers_without_a_python_are_told() -> None:
    with pytest.raises(LabError) as caught:
        compiled.layer([tar_of({"/README": b"x"})], ("one",), search="/opt/app")
    assert caught.value.code == "python-unusable"
