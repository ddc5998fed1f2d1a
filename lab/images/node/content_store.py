"""The third layer: the system images in containerd's store, put there by containerd itself.

A containerd runs for that on this machine for a few seconds, in directories of its own, with nothing but its content
and its metadata: no container is run, so it needs no rights. What it leaves is what the node's containerd finds on its
disk. Images are not unpacked: the node does that when it starts them, in the file system that it has.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lab.errors import LabError, WaitError
from lab.images.node.tarballs import Layer, stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NAMESPACE = "k8s.io"
"""Where the kubelet's images are."""
ROOT = "/var/lib/containerd"

_KEPT = ("io.containerd.content.v1.content", "io.containerd.metadata.v1.bolt")
_SNAPSHOTTERS = ("blockfile", "btrfs", "devmapper", "erofs", "overlayfs", "zfs")
_DISABLED = (
    "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
    "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    *(f"io.containerd.snapshotter.v1.{name}" for name in _SNAPSHOTTERS),
)  # fmt: skip
_PINNED = ("--label=io.cri-containerd.pinned=pinned",)
"""The kubelet must never collect these images: they could not be had again."""
_START_S = 30.0
_POLL_S = 0.1
_STOP_S = 10.0


def make_layer(
    target: Path, archive: Iterable[tuple[str, bytes | Path]], *, containerd: Path, ctr: Path, root: Path, work: Path
) -> None:
    """Write the layer.

    Args:
        target: the file to write.
        archive: members of an OCI archive.
        containerd: the program.
        ctr: its client.
        root: where containerd may keep the images; it is made.
        work: an existing directory with a short path, because a socket is made in it.

    Raises:
        LabError: ``node-image-import``.
        WaitError: containerd does not answer.
    """
    with _running(containerd, ctr, work, root) as client:
        argv = [*client, "images", "import", "--local", "--all-platforms", "--no-unpack", *_PINNED, "-"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
            assert child.stdin is not None  # noqa: S101 - opened with PIPE
            try:
                for chunk in stream(archive):
                    child.stdin.write(chunk)
                child.stdin.close()
            except BrokenPipeError:  # it has ended, and says why
                with suppress(BrokenPipeError):  # what could not be written is tried once more
                    child.stdin.close()
            said = child.stdout.read().decode(errors="replace") if child.stdout else ""
        if child.returncode != 0:
            raise LabError(
                "node-image-import",
                "containerd refuses the control plane's images",
                hint="read its own words above; 'lab components list --verify' tells whether the programs are whole",
                context={"ctr": said.strip(), "containerd": _tail(work)},
            )
    with Layer(target) as layer:
        layer.directory(ROOT, mode=0o710)
        for kept in _KEPT:
            for file in sorted((root / kept).rglob("*")):
                if file.is_file():
                    layer.file(f"{ROOT}/{file.relative_to(root)}", file)


@contextmanager
def _running(containerd: Path, ctr: Path, work: Path, root: Path) -> Iterator[list[str]]:
    """A containerd and the beginning of a command line of its client."""
    socket = work / "c.sock"
    config = work / "containerd.toml"
    disabled = ", ".join(f'"{name}"' for name in _DISABLED)
    owner = f"uid = {os.getuid()}\ngid = {os.getgid()}"
    config.write_text(
        f"""\
version = 3
root = "{root}"
state = "{work}/state"
imports = []
disabled_plugins = [{disabled}]
[grpc]
address = "{socket}"
{owner}
[ttrpc]
address = "{work}/t.sock"
{owner}
""",
        encoding="utf-8",
    )
    client = [str(ctr), "--address", str(socket), "--namespace", NAMESPACE]
    with (work / "containerd.log").open("wb") as log:
        process = subprocess.Popen(
            # It ends with this process, however that ends.
            ["setpriv", "--pdeathsig", "KILL", str(containerd), "--config", str(config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
        )  # fmt: skip
    try:
        _wait(process, client, work)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], client: list[str], work: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while True:
        asked = subprocess.run([*client, "version"], capture_output=True, check=False, timeout=_START_S)
        if asked.returncode == 0:
            return
        if process.poll() is not None:
            raise LabError(
                "node-image-import",
                f"containerd ended with exit code {process.returncode}",
                hint="read its own words above",
                context={"containerd": _tail(work)},
            )
        if time.monotonic() > deadline_s:
            raise WaitError(
                what="containerd's answer",
                timeout_s=_START_S,
                last_seen=_tail(work),
                hint="try again on a quieter machine",
            )
        time.sleep(_POLL_S)


def _tail(work: Path) -> str:
    lines = (work / "containerd.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-5:])
