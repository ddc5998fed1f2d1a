"""Runs a program that starts servers, in namespaces of its own, and times it: nothing of it is left when it has ended.

kwokctl's servers listen on every address of the machine and stay when it ends. Here they get a network that leads
nowhere, so that no download can be measured, and a PID namespace whose end is theirs, however this process ends.

Started as ``python -m lab.bench.enclosure PROGRAM ARGUMENT...``; prints ``{"elapsed_s": SECONDS, "exit_code": CODE}``.
The program's own output goes to standard error. What the enclosure costs is not timed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from typing import NoReturn

from lab.cluster.embedded import namespaces, syscalls

_ADDRESS = "192.0.2.10"
_GATEWAY = "192.0.2.1"
"""Both of the block that is kept for documentation (RFC 5737); nobody answers for the gateway."""


def main() -> None:
    """Run the program of this process's arguments; exits with its code."""
    syscalls.die_with_parent(signal.SIGKILL)
    namespaces.create()
    pid = os.fork()
    if pid == 0:
        _run_inside(sys.argv[1:])
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def _run_inside(argv: list[str]) -> NoReturn:
    """PID 1 of the namespace. It is not the program itself: the kernel ends the servers before PID 1 is seen to end."""
    code = 1
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", fstype="proc", flags=flags)
        _make_network()
        began_s = time.monotonic()
        code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode
        elapsed_s = time.monotonic() - began_s
        sys.stdout.write(json.dumps({"elapsed_s": elapsed_s, "exit_code": code}) + "\n")
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - PID 1 has nobody to raise to; its parent reports the exit code
        traceback.print_exc()
    finally:
        os._exit(code if code >= 0 else 128 - code)


def _make_network() -> None:
    """A loopback, and an interface with a default route to nowhere: without one an API server finds no address."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - after the fork, because it may start a thread

    with IPRoute() as netlink:

        def index(name: str) -> int:
            return int(netlink.link_lookup(ifname=name)[0])

        netlink.link("set", index=index("lo"), state="up")
        netlink.link("add", ifname="eth0", kind="veth", peer={"ifname": "nowhere0"})
        for name in ("nowhere0", "eth0"):
            netlink.link("set", index=index(name), state="up")
        netlink.addr("add", index=index("eth0"), address=_ADDRESS, prefixlen=24)
        netlink.route("add", dst="default", gateway=_GATEWAY)


if __name__ == "__main__":
    main()
