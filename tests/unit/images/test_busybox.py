"""The links of the busybox image, made of a program that says what it can do."""

from __future__ import annotations

import io
import tarfile

import pytest

from lab.errors import LabError
from lab.images import busybox
from lab.images.oci import tar_of

SCRIPT = b"#!/bin/sh\n[ \"$1\" = --list ] && printf '%s\\n' sleep busybox sh\n"


def test_each_command_is_a_link_beside_the_program() -> None:
    layer = tar_of({"/usr/bin/busybox": SCRIPT, "/usr/share/busybox": b"no program"}, mode=0o755)
    with tarfile.open(fileobj=io.BytesIO(busybox.commands(layer))) as archive:
        links = {member.name: member.linkname for member in archive if member.issym()}
    assert links == {"usr/bin/sh": "busybox", "usr/bin/sleep": "busybox"}


def test_the_same_program_gives_the_same_layer() -> None:
    layer = tar_of({"/bin/busybox": SCRIPT}, mode=0o755)
    assert busybox.commands(layer) == busybox.commands(layer)


@pytest.mark.parametrize("files", [{"/bin/sh": SCRIPT}, {"/bin/busybox": b"#!/bin/sh\nexit 3\n"}])
def test_a_package_that_is_no_busybox_is_told(files: dict[str, bytes]) -> None:
    with pytest.raises(LabError) as caught:
        busybox.commands(tar_of(files, mode=0o755))
    assert caught.value.code == "busybox-missing"
