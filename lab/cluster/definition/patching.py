"""Applies the definition's patches to kubeadm's configuration exactly as kind applies them.

kind merges by RFC 7386 (a list replaces a list, null deletes), with two exceptions of its own for v1beta4:
``extraArgs`` and ``kubeletExtraArgs`` merge by name, a null value deleting the argument, and ``certSANs`` are united. A
patch that names no apiVersion takes any version, and only there is a map of arguments converted to the list that
v1beta4 wants. Then come the RFC 6902 patches. Source: kubernetes-sigs/kind, pkg/internal/patch (kubeyaml.go,
kubeadm_merge.go).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from lab.cluster.definition.model import MergePatch
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.cluster.definition.model import JsonPatch, Patch, Resource

ARGUMENT_LISTS = frozenset({"extraArgs", "kubeletExtraArgs"})
_UNITED_LISTS = frozenset({"certSANs"})


def apply_patches(resources: Iterable[Resource], patches: Sequence[Patch]) -> list[Resource]:
    """The resources, each with the patches that match it by kind and apiVersion.

    Raises:
        InputError: ``json-patch``, an RFC 6902 operation does not apply.
    """
    changed = []
    for resource in resources:
        result = copy.deepcopy(resource)
        for patch in patches:
            if matches(patch, resource):
                result = _merged(result, patch) if isinstance(patch, MergePatch) else _operated(result, patch)
        changed.append(result)
    return changed


def matches(patch: Patch, resource: Resource) -> bool:
    """Whether a patch is for a resource."""
    return patch.kind == resource.get("kind") and patch.api_version in ("", resource.get("apiVersion"))


def _merged(target: Resource, patch: MergePatch) -> Resource:
    rest = copy.deepcopy(patch.data)
    _merge_special_lists(target, rest)
    result: Resource = _merge_patch(target, rest)
    # kind names what it generates "config" so that patches may do so too, and takes it out again at the end.
    result.pop("metadata", None)
    return result


def _merge_special_lists(target: Resource, patch: Resource) -> None:
    """Merge what kind merges in its own way, and take it out of the patch."""
    for key in list(patch):
        value = patch[key]
        if key in ARGUMENT_LISTS:
            target[key] = _merge_arguments(target.get(key), patch.pop(key))
        elif key in _UNITED_LISTS:
            united = list(target.get(key) or [])
            target[key] = united + [item for item in patch.pop(key) or [] if item not in united]
        elif isinstance(value, dict):
            inner = target.setdefault(key, {})
            if isinstance(inner, dict):
                _merge_special_lists(inner, value)


def _merge_arguments(target: Any, patch: Any) -> list[Resource]:
    merged: dict[str, Resource] = {argument["name"]: dict(argument) for argument in target or []}
    for argument in arguments(patch):
        if argument.get("value") is None:
            merged.pop(argument["name"], None)
        else:
            merged[argument["name"]] = {"name": argument["name"], "value": argument["value"]}
    return list(merged.values())


def arguments(value: Any) -> list[Resource]:
    """Arguments as v1beta4's list of names and values; a map of an older version is converted."""
    if isinstance(value, dict):
        return [{"name": name, "value": item} for name, item in value.items()]
    return list(value or [])


def _merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge_patch(result.get(key), value)
    return result


def _operated(target: Resource, patch: JsonPatch) -> Resource:
    """RFC 6902."""
    document: Any = copy.deepcopy(target)
    for number, operation in enumerate(patch.operations):
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            where = f"{operation.get('op')} {operation.get('path')}"
            raise InputError(
                "json-patch",
                f"operation {number} ({where}) does not apply: {error}",
                hint="look at the object that it is applied to: every parent of its path must exist there",
            ) from error
    result: Resource = document
    return result


def _operate(document: Any, operation: Resource) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _put(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _take(document, path)
        case "replace":
            _look_up(document, path)
            return _put(_take(document, path), path, copy.deepcopy(operation["value"])) if path else operation["value"]
        case "move":
            source = _pointer(operation["from"])
            value = _look_up(document, source)
            return _put(_take(document, source), path, value)
        case "copy":
            return _put(document, path, copy.deepcopy(_look_up(document, _pointer(operation["from"]))))
        case "test":
            if _look_up(document, path) != operation["value"]:
                raise ValueError("the value is another one")
            return document
        case other:
            raise ValueError(f"there is no operation {other!r}")


def _pointer(text: str) -> list[str]:
    if not text:
        return []
    if not text.startswith("/"):
        raise ValueError(f"a path begins with a slash: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _look_up(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _put(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _look_up(document, path[:-1])
    if isinstance(parent, list):
        index = len(parent) if path[-1] == "-" else int(path[-1])
        if not 0 <= index <= len(parent):
            raise IndexError(f"index {index} is beyond the list")
        parent.insert(index, value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TypeError("the parent is neither a mapping nor a list")
    return document


def _take(document: Any, path: list[str]) -> Any:
    parent = _look_up(document, path[:-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document
