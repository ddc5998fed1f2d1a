"""Reads and edits the API server's static pod manifest, as pure functions from object to object.

The manifest is the only place where kubeadm's API server is configured, so a start state, a repair and a finding all
come down to its flags and mounts. Flags are read as the API server reads them: ``--name=value`` or ``--name value``, an
underscore is a dash, a list may be given in several flags. The functions never change their argument; doing the same
edit twice is doing it once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from lab import strict_yaml
from lab.admission.configuration import ADMISSION_DIR, CONFIG_FILE
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MANIFEST_FILE = "/etc/kubernetes/manifests/kube-apiserver.yaml"
PLUGINS_FLAG = "enable-admission-plugins"
CONFIG_FLAG = "admission-control-config-file"
IMAGE_POLICY_PLUGIN = "ImagePolicyWebhook"
ALWAYS_KEPT_PLUGIN = "NodeRestriction"
"""What kubeadm enables itself; a list that forgets it lets every kubelet change every node."""

Manifest = dict[str, Any]

# Flags of the control plane whose value begins with a slash and is not a file of the container.
_NOT_FILES = frozenset({"etcd-prefix", "authorization-always-allow-paths", "watch-cache-sizes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedPath:
    """One hostPath volume as the container sees it.

    Attributes:
        name: the volume's name.
        host_path: directory or file of the node.
        mount_path: where the container has it.
        read_only: whether the container may only read it.
        path_type: the volume's ``type``; empty when it has none.
    """

    name: str
    host_path: str
    mount_path: str
    read_only: bool
    path_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagFile:
    """A flag and a file that its value names."""

    flag: str
    path: str


def parse_manifest(text: str) -> Manifest:
    """The object in a manifest's text.

    Raises:
        InputError: it is not YAML, or not a Pod with a container.
    """
    try:
        manifest = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            "manifest-yaml",
            f"the static pod manifest is not valid YAML: {error}",
            hint="mend its indentation; the kubelet leaves such a file alone and the old Pod may be gone",
        ) from error
    try:
        container = manifest["spec"]["containers"][0]
        is_pod = manifest["kind"] == "Pod" and isinstance(container, dict)
    except (KeyError, IndexError, TypeError):
        is_pod = False
    if not is_pod:
        raise InputError(
            "manifest-kind", "the static pod manifest is not a Pod with a container", hint="start from kubeadm's own"
        )
    parsed: Manifest = manifest
    return parsed


def render_manifest(manifest: Manifest) -> str:
    """The manifest's text, keys sorted as kubeadm writes them."""
    return strict_yaml.dump(manifest, sort_keys=True)


def flags_of(manifest: Manifest) -> tuple[str, ...]:
    """The flags of the first container, without the program's name."""
    container = manifest["spec"]["containers"][0]
    return (*_strings(container.get("command"))[1:], *_strings(container.get("args")))


def flag_values(flags: Iterable[str], name: str) -> tuple[str, ...]:
    """Every value that a list of flags gives to one flag, in order; ``true`` for a bare flag."""
    return tuple(value for known, value in _pairs(flags) if known == _normal(name))


def list_flag(manifest: Manifest, name: str) -> tuple[str, ...]:
    """The elements of a comma-separated flag, from all its occurrences."""
    values = flag_values(flags_of(manifest), name)
    return tuple(element for value in values for element in value.split(",") if element)


def set_flag(manifest: Manifest, name: str, value: str) -> Manifest:
    """The manifest with exactly one ``--name=value``, where the flag stood first, else at the end."""
    changed = copy.deepcopy(manifest)
    container = changed["spec"]["containers"][0]
    position: tuple[str, int] | None = None
    for field in ("command", "args"):
        kept, index = _without(_strings(container.get(field)), name)
        if field in container:
            container[field] = kept
        if index is not None and position is None:
            position = (field, index)
    field, index = position or ("command", len(container.setdefault("command", [])))
    container[field].insert(index, f"--{name}={value}")
    return changed


def remove_flag(manifest: Manifest, name: str) -> Manifest:
    """The manifest without any occurrence of a flag."""
    changed = copy.deepcopy(manifest)
    container = changed["spec"]["containers"][0]
    for field in ("command", "args"):
        if field in container:
            container[field] = _without(_strings(container[field]), name)[0]
    return changed


def add_to_list_flag(manifest: Manifest, name: str, element: str) -> Manifest:
    """The manifest with an element at the end of a comma-separated flag, unless it is there."""
    elements = list_flag(manifest, name)
    return manifest if element in elements else set_flag(manifest, name, ",".join([*elements, element]))


def remove_from_list_flag(manifest: Manifest, name: str, element: str) -> Manifest:
    """The manifest without an element of a comma-separated flag; an empty flag goes."""
    elements = list_flag(manifest, name)
    if element not in elements:
        return manifest
    rest = [known for known in elements if known != element]
    return set_flag(manifest, name, ",".join(rest)) if rest else remove_flag(manifest, name)


def add_host_path(
    manifest: Manifest,
    *,
    name: str,
    host_path: str,
    mount_path: str,
    path_type: str = "DirectoryOrCreate",
    read_only: bool = True,
) -> Manifest:
    """The manifest with a hostPath volume and its mount in the first container.

    What has the same volume name or the same mount path is replaced, because a Pod with two of either is invalid.
    """
    present = [mount.name for mount in mounted_paths(manifest) if mount.mount_path == mount_path]
    changed = copy.deepcopy(manifest)
    for known in {*present, name}:
        changed = _without_volume(changed, known)
    spec = changed["spec"]
    volume: Manifest = {"name": name, "hostPath": {"path": host_path, "type": path_type}}
    mount: Manifest = {"name": name, "mountPath": mount_path, "readOnly": read_only}
    spec["volumes"] = [*spec.get("volumes", []), volume]
    spec["containers"][0]["volumeMounts"] = [*spec["containers"][0].get("volumeMounts", []), mount]
    return changed


def remove_host_path(manifest: Manifest, host_path: str) -> Manifest:
    """The manifest without the volumes, whatever their names, that stand for one path of the node."""
    changed = copy.deepcopy(manifest)
    for volume in changed["spec"].get("volumes") or []:
        if (volume.get("hostPath") or {}).get("path", "").rstrip("/") == host_path.rstrip("/"):
            changed = _without_volume(changed, volume["name"])
    return changed


def enable_image_policy_webhook(
    manifest: Manifest, *, config_file: str = CONFIG_FILE, host_dir: str = ADMISSION_DIR, volume: str = "admission"
) -> Manifest:
    """The manifest with ImagePolicyWebhook on: the plugin, its configuration, and the directory that holds it.

    Args:
        manifest: as kubeadm writes it, or edited by hand.
        config_file: path of the AdmissionConfiguration as the container sees it; its directory is mounted.
        host_dir: the same directory on the node.
        volume: the volume's name.
    """
    for plugin in (ALWAYS_KEPT_PLUGIN, IMAGE_POLICY_PLUGIN):
        manifest = add_to_list_flag(manifest, PLUGINS_FLAG, plugin)
    manifest = set_flag(manifest, CONFIG_FLAG, config_file)
    return add_host_path(
        manifest, name=volume, host_path=host_dir, mount_path=str(PurePosixPath(config_file).parent), read_only=True
    )


def disable_image_policy_webhook(manifest: Manifest, *, host_dir: str = ADMISSION_DIR) -> Manifest:
    """The manifest as kubeadm makes it without ImagePolicyWebhook: no plugin, no configuration, no mount."""
    manifest = remove_from_list_flag(manifest, PLUGINS_FLAG, IMAGE_POLICY_PLUGIN)
    manifest = add_to_list_flag(manifest, PLUGINS_FLAG, ALWAYS_KEPT_PLUGIN)
    return remove_host_path(remove_flag(manifest, CONFIG_FLAG), host_dir)


def mounted_paths(manifest: Manifest) -> tuple[MountedPath, ...]:
    """The hostPath volumes that the first container mounts, in the order of its mounts."""
    spec = manifest["spec"]
    volumes: dict[str, Mapping[str, Any]] = {
        volume["name"]: volume["hostPath"] for volume in spec.get("volumes") or [] if volume.get("hostPath")
    }
    return tuple(
        MountedPath(
            name=mount["name"],
            host_path=volumes[mount["name"]]["path"],
            mount_path=mount["mountPath"],
            read_only=bool(mount.get("readOnly")),
            path_type=volumes[mount["name"]].get("type") or "",
        )
        for mount in spec["containers"][0].get("volumeMounts") or []
        if mount["name"] in volumes
    )


def container_path(manifest: Manifest, node_path: str) -> str | None:
    """Where the container sees a file of the node; None when it does not see it."""
    mounts = mounted_paths(manifest)
    nearest = [mount for mount in mounts if is_at_or_below(node_path, mount.host_path)]
    for mount in sorted(nearest, key=lambda mount: len(mount.host_path), reverse=True):
        seen = str(PurePosixPath(mount.mount_path) / PurePosixPath(node_path).relative_to(mount.host_path))
        # A deeper mount may lie over the place.
        if node_path_of(mounts, seen) == node_path:
            return seen
    return None


def node_path_of(mounts: Iterable[MountedPath], path: str) -> str | None:
    """Which file of the node the container sees at a path; None when no mount covers it."""
    covering = [mount for mount in mounts if is_at_or_below(path, mount.mount_path)]
    if not covering:
        return None
    deepest = max(covering, key=lambda mount: len(PurePosixPath(mount.mount_path).parts))
    return str(PurePosixPath(deepest.host_path) / PurePosixPath(path).relative_to(deepest.mount_path))


def unmounted_flag_files(manifest: Manifest) -> tuple[FlagFile, ...]:
    """The files that flags name and that lie below no mount: the API server will not find them."""
    mounts = mounted_paths(manifest)
    return tuple(file for file in flag_files(flags_of(manifest)) if node_path_of(mounts, file.path) is None)


def flag_files(flags: Iterable[str]) -> tuple[FlagFile, ...]:
    """The files that flags name by an absolute path, those of a list (``--tls-sni-cert-key``) one by one."""
    return tuple(
        FlagFile(flag=name, path=part.partition(":")[0])
        for name, value in _pairs(flags)
        if name not in _NOT_FILES
        for part in value.split(",")
        if part.startswith("/")
    )


def is_at_or_below(path: str, directory: str) -> bool:
    """Whether a path is a directory or something in it, by whole names."""
    return PurePosixPath(path).is_relative_to(PurePosixPath(directory))


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value or []]


def _normal(name: str) -> str:
    return name.replace("_", "-")


def _pairs(flags: Iterable[str]) -> list[tuple[str, str]]:
    """Flags as name and value; a value may stand in the next element, and a bare flag is true."""
    pairs: list[tuple[str, str]] = []
    waiting: str | None = None
    for flag in flags:
        if not flag.startswith("-"):
            if waiting is not None:
                pairs[-1] = (waiting, flag)
            waiting = None
            continue
        name, equals, value = flag.lstrip("-").partition("=")
        waiting = None if equals else _normal(name)
        pairs.append((_normal(name), value if equals else "true"))
    return pairs


def _without(flags: list[str], name: str) -> tuple[list[str], int | None]:
    """The flags without one, and where it stood first."""
    kept: list[str] = []
    first: int | None = None
    after_removed = False
    for flag in flags:
        if flag.startswith("-") and _normal(flag.lstrip("-").partition("=")[0]) == _normal(name):
            first = len(kept) if first is None else first
            after_removed = "=" not in flag
            continue
        if after_removed and not flag.startswith("-"):
            after_removed = False
            continue
        after_removed = False
        kept.append(flag)
    return kept, first


def _without_volume(manifest: Manifest, name: str) -> Manifest:
    changed = copy.deepcopy(manifest)
    spec = changed["spec"]
    spec["volumes"] = [volume for volume in spec.get("volumes") or [] if volume.get("name") != name]
    for container in spec["containers"]:
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [mount for mount in mounts if mount.get("name") != name]
    return changed
