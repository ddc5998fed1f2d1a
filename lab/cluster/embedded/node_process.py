"""Processes that run on the node itself, outside any container: kubeadm, kwok, the registry, a person's shell."""

from __future__ import annotations

import os

from lab.cluster.embedded.layout import INSIDE
from lab.cluster.embedded.sandbox import DEFAULT_PATH

NODE_HOME = "/root"

NODE_ENVIRONMENT = {
    "PATH": f"{INSIDE}/bin:{DEFAULT_PATH}",
    "HOME": NODE_HOME,
    "USER": "root",
    "LOGNAME": "root",
    "LANG": "C.UTF-8",
    "KUBECONFIG": "/etc/kubernetes/admin.conf",
}
"""What every process on the node sees; nothing of the caller's environment leaks in."""


def exec_on_node(argv: tuple[str, ...], *, environment: dict[str, str], stdin: int, stdout: int, stderr: int) -> None:
    """Become a program of the node; called in a child that was forked for it, and does not return.

    Raises:
        OSError: there is no such program.
    """
    os.chdir(NODE_HOME)
    for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        if source == target:
            os.set_inheritable(target, True)  # noqa: FBT003 - the call takes no keyword
        else:
            os.dup2(source, target, inheritable=True)
    os.execvpe(argv[0], argv, {**NODE_ENVIRONMENT, **environment})
