"""Adds a lab to the user's own kubeconfig, in the way kubectl itself changes that file.

Only ``lab kubeconfig --merge`` does this. Nothing of the user's is lost: other entries and the current context stay,
the file is replaced in one step, and kubectl's lock is respected.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EMPTY: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
_KINDS = {"clusters": "cluster", "users": "user", "contexts": "context"}


def users_kubeconfig(environment: Mapping[str, str]) -> Path:
    """The file that kubectl writes new entries to: the first of ``KUBECONFIG``, else ``~/.kube/config``."""
    named = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    return Path(named[0]).expanduser() if named else Path.home() / ".kube" / "config"


def merge_into(target: Path, source: Path, *, name: str) -> str:
    """Add a lab's entries to a kubeconfig; entries of an earlier lab of that name are replaced.

    Args:
        target: the user's kubeconfig; made when there is none.
        source: the lab's own, whose current context is taken.
        name: the lab's name.

    Returns:
        Name of the context.

    Raises:
        InputError: ``kubeconfig-invalid``: the user's file is no kubeconfig; it is left as it is.
        LabError: ``kubeconfig-locked``: another program is changing the file.
    """
    entry = f"lab-{name}"
    additions = _entries(_load(source), entry)
    target = target.resolve()  # the file that a link names is replaced, not the link
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(target):
        config = _load(target) if target.exists() else dict(_EMPTY)
        for kind, addition in additions.items():
            kept = [item for item in config.get(kind) or [] if item.get("name") != entry]
            config[kind] = [*kept, addition]
        config.setdefault("current-context", "")
        _replace(target, yaml.safe_dump(config, sort_keys=False))
    return entry


def _load(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _invalid(path, str(error)) from error
    if config is None:  # kubectl takes an empty file for an empty kubeconfig
        return dict(_EMPTY)
    if not isinstance(config, dict):
        raise _invalid(path, "it is no mapping")
    for kind in _KINDS:
        entries = config.get(kind) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _invalid(path, f"its {kind} are no list of mappings")
    return config


def _entries(config: dict[str, Any], entry: str) -> dict[str, Any]:
    """The cluster, user and context of the current context, all under one new name."""
    context = _named(config, "contexts", config["current-context"])
    return {
        "clusters": {"name": entry, "cluster": _named(config, "clusters", context["cluster"])},
        "users": {"name": entry, "user": _named(config, "users", context["user"])},
        "contexts": {"name": entry, "context": {**context, "cluster": entry, "user": entry}},
    }


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    (found,) = (item[_KINDS[kind]] for item in config[kind] if item["name"] == name)
    return dict(found)


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Hold the lock that kubectl itself holds: a file beside it that must not exist."""
    lock = target.with_name(target.name + ".lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except FileExistsError as error:
        raise LabError(
            "kubeconfig-locked",
            f"another program is changing {target}",
            hint=f"try again; if no kubectl runs, remove {lock}",
        ) from error
    try:
        yield
    finally:
        lock.unlink()


def _replace(target: Path, text: str) -> None:
    """Write the file in one step, with its own mode; a new one is for its owner only."""
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _invalid(path: Path, why: str) -> InputError:
    return InputError(
        "kubeconfig-invalid",
        f"{path} is no kubeconfig: {why}",
        hint="mend the file, or set KUBECONFIG to another one; it was not changed",
    )
