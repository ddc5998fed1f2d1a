"""Reads the patches inside a cluster definition, each with its place in the file.

kind applies a patch to whatever matches it and says nothing of one that matches nothing: a misspelt kind, a patch for
another version of kubeadm, arguments written as a map beside ``apiVersion: .../v1beta4`` are all dropped in silence.
Here each of these is a fault; everything that kind accepts and applies is accepted.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import strict_yaml
from lab.cluster.definition.model import JsonPatch, MergePatch
from lab.cluster.definition.patching import ARGUMENT_LISTS, apply_patches, arguments
from lab.cluster.definition.schema import PATCH_KINDS, decode, shape_problem
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lab.cluster.definition.model import Patch, Resource
    from lab.strict_yaml import Document, Fault, Path

MERGE_KEY = "kubeadmConfigPatches"
JSON_KEY = "kubeadmConfigPatchesJSON6902"
_OPERATIONS = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from", "remove": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcedPatch:
    """A patch and the document that it was written in; for a JSON patch, the definition itself.

    Attributes:
        patch: what is applied.
        document: for faults in it.
        path: where in that document it begins.
    """

    patch: Patch
    document: Document
    path: Path = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found in a definition.

    Attributes:
        patches: those for the control plane, in the order in which kind applies them.
        faults: of any patch, those of other nodes included.
        complete: whether every patch could be read, its faults notwithstanding; if not, ``patches`` lacks some, and
            what they together make says little.
    """

    patches: tuple[SourcedPatch, ...]
    faults: tuple[Fault, ...]
    complete: bool


def read_patches(definition: Document) -> Reading:
    """Read every patch of a definition.

    The cluster's go before the node's; of each, the merge patches before the JSON patches.
    """
    reader = _Reader(definition)
    data = definition.data if isinstance(definition.data, dict) else {}
    patches = reader.patches_of((), data)
    of_control_plane: list[SourcedPatch] | None = None
    for i, node in enumerate(_list(data.get("nodes"))):
        if isinstance(node, dict):
            found = reader.patches_of(("nodes", i), node)
            if of_control_plane is None and node.get("role") in (None, "control-plane"):
                of_control_plane = found
    return Reading(patches=(*patches, *(of_control_plane or ())), faults=tuple(reader.faults), complete=reader.complete)


class _Reader:
    """Reads patches one by one, keeping the faults."""

    def __init__(self, definition: Document) -> None:
        self.definition = definition
        self.faults: list[Fault] = []
        self.complete = True

    def patches_of(self, path: Path, holder: dict[str, Any]) -> list[SourcedPatch]:
        """The patches of the cluster or of one node; what has not even the shape of one is the schema's to tell."""
        patches: list[SourcedPatch] = []
        for i, text in enumerate(_list(holder.get(MERGE_KEY))):
            if isinstance(text, str):
                for document in self.inner((*path, MERGE_KEY, i), text):
                    patches += self.merge_patch(document)
        for i, entry in enumerate(_list(holder.get(JSON_KEY))):
            if isinstance(entry, dict) and isinstance(entry.get("patch"), str):
                patches += self.json_patch((*path, JSON_KEY, i), entry)
        return patches

    def inner(self, path: Path, text: str) -> list[Document]:
        """The YAML inside a string of the definition, at its lines of the file."""
        documents, faults = strict_yaml.parse_all(
            text, file=self.definition.file, first_line=self.definition.text_line_of(path), prefix=path
        )
        self.faults += faults
        self.complete &= bool(documents) or not faults
        return documents

    def merge_patch(self, document: Document) -> list[SourcedPatch]:
        """The patch in a document, if it can be read; faults may have been found even so."""
        faults = [*_kind_faults(document)]
        decoded = None
        if not faults and isinstance(document.data, dict):
            faults += _argument_faults(document)
            decoded, wrong = decode(PATCH_KINDS[str(document.data["kind"])][1], document)
            faults += wrong
        self.faults += faults
        if decoded is None or not isinstance(document.data, dict) or not _arguments_are_named(document.data):
            self.complete = False
            return []
        patch = MergePatch(
            kind=str(document.data["kind"]),
            api_version=str(document.data.get("apiVersion") or ""),
            data=document.data,
        )
        return [SourcedPatch(patch=patch, document=document)]

    def json_patch(self, path: Path, entry: dict[str, Any]) -> list[SourcedPatch]:
        """The JSON patch in an entry, if it is one."""
        group, version, kind = (str(entry.get(key) or "") for key in ("group", "version", "kind"))
        api_version = f"{group}/{version}" if group else version
        documents = self.inner((*path, "patch"), entry["patch"])
        faults = [fault for document in documents for fault in _operations_faults(document)]
        if kind not in PATCH_KINDS or api_version not in ("", PATCH_KINDS[kind][0]):
            known = "; ".join(f"{name}: {expected}" for name, (expected, _) in PATCH_KINDS.items())
            message = f"kind applies a patch for {kind!r} of {api_version!r} to nothing"
            faults.append(self.definition.fault(path, message, f"write one of {known}"))
        self.faults += faults
        if faults:
            self.complete = False
            return []
        operations = tuple(operation for document in documents for operation in _list(document.data))
        patch = JsonPatch(kind=kind, api_version=api_version, operations=operations)
        return [SourcedPatch(patch=patch, document=self.definition, path=path)]


def applicable(
    resources: Iterable[Resource], sources: Sequence[SourcedPatch]
) -> tuple[list[SourcedPatch], list[Fault]]:
    """The patches that apply, one after the other, to what kind generates, and leave sound objects behind."""
    current = list(resources)
    applied: list[SourcedPatch] = []
    faults: list[Fault] = []
    for source in sources:
        try:
            changed = apply_patches(current, [source.patch])
            if isinstance(source.patch, JsonPatch):
                for resource in changed:
                    _check_sound(resource)
        except InputError as error:
            faults.append(source.document.fault(source.path, error.message, error.hint))
        else:
            current = changed
            applied.append(source)
    return applied, faults


def _check_sound(resource: Resource) -> None:
    """A JSON patch can write anything anywhere: check what it made.

    Raises:
        InputError: the object is not what its kind asks for.
    """
    kind = str(resource.get("kind"))
    if kind not in PATCH_KINDS or resource.get("apiVersion") != PATCH_KINDS[kind][0]:
        problem: str | None = "it has lost its kind or its apiVersion"
    elif not all(_is_argument_list(value) for _, value in argument_lists(resource)):
        problem = "an argument is not a mapping with a name and a value"
    else:
        problem = shape_problem(PATCH_KINDS[kind][1], resource)
    if problem is not None:
        raise InputError(
            "json-patch", f"the patch leaves a {kind} that is none: {problem}", hint="correct its path or its value"
        )


def _is_argument_list(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("value"), str)
        for entry in value
    )


def _kind_faults(document: Document) -> Iterator[Fault]:
    """Why kind would apply the patch to nothing."""
    if not isinstance(document.data, dict):
        yield document.fault((), "a patch is a mapping", "write KEY: VALUE lines, kind among them")
        return
    kind, version = document.data.get("kind"), document.data.get("apiVersion")
    if not isinstance(kind, str) or kind not in PATCH_KINDS:
        near = difflib.get_close_matches(str(kind), PATCH_KINDS, n=1)
        wrong = f"kind applies a patch of kind {kind!r} to nothing" if kind else "the patch names no kind"
        remedy = f"write {near[0]}" if near else f"write one of {', '.join(PATCH_KINDS)}"
        yield document.fault(("kind",) if kind else (), wrong, remedy)
        return
    expected = PATCH_KINDS[kind][0]
    if version is not None and version != expected:
        yield document.fault(
            ("apiVersion",),
            f"kind applies a patch for {version} to nothing: the node's {kind} is {expected}",
            f"write {expected} and the fields of that version, or leave apiVersion out",
        )


def _argument_faults(document: Document) -> Iterator[Fault]:
    """Arguments that kind would drop, or that kubeadm would refuse."""
    version = document.data.get("apiVersion") if isinstance(document.data, dict) else None
    for path, value in argument_lists(document.data):
        if isinstance(value, dict) and version is not None:
            yield document.fault(
                path,
                f"kind drops {path[-1]} without a word: it is a map beside apiVersion {version}, which has a list",
                "write '- name: FLAG' and 'value: VALUE' for each, or leave apiVersion out",
            )
        elif not isinstance(value, list | dict):
            yield document.fault(
                path, f"{path[-1]} is neither a list nor a map", "write '- name: FLAG', 'value: VALUE'"
            )
        else:
            yield from _entry_faults(document, path, value)


def _entry_faults(document: Document, path: Path, value: list[Any] | dict[str, Any]) -> Iterator[Fault]:
    entries = (
        [((*path, key), {"name": key, "value": item}) for key, item in value.items()]
        if isinstance(value, dict)
        else [((*path, i), item) for i, item in enumerate(value)]
    )
    for where, entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            yield document.fault(where, "an argument has no name", "write '- name: FLAG' and 'value: VALUE'")
            continue
        for unknown in set(entry) - {"name", "value"}:
            yield document.fault((*where, unknown), f"unknown key {unknown!r}", "an argument has a name and a value")
        if name.startswith("-"):
            yield document.fault(where, f"the name {name!r} begins with dashes", f"write {name.lstrip('-')}")
        if not isinstance(entry.get("value"), str | None):
            yield document.fault(
                (*where, "value") if isinstance(value, list) else where,
                f"the value of {name} is not a string: {entry['value']!r}",
                "put it in quotes",
            )


def argument_lists(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every ``extraArgs`` and ``kubeletExtraArgs`` of a patch, with its path; null ones are left out."""
    for key, value in data.items() if isinstance(data, dict) else ():
        if key in ARGUMENT_LISTS:
            if value is not None:
                yield (*path, key), value
        else:
            yield from argument_lists(value, (*path, key))


def arguments_with_paths(data: Resource) -> Iterator[tuple[Path, Resource]]:
    """Every argument of a sound patch with its path."""
    for path, value in argument_lists(data):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key, argument in zip(keys, arguments(value), strict=True):
            yield (*path, key), argument


def _arguments_are_named(data: Resource) -> bool:
    return all(
        isinstance(value, list | dict)
        and all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in arguments(value))
        for _, value in argument_lists(data)
    )


def _operations_faults(document: Document) -> Iterator[Fault]:
    if not isinstance(document.data, list):
        yield document.fault((), "a JSON patch is a list of operations", "write '- op: add', 'path: ...'")
        return
    for i, operation in enumerate(document.data):
        yield from _operation_faults(document, i, operation)


def _operation_faults(document: Document, index: int, item: Any) -> Iterator[Fault]:
    if not isinstance(item, dict) or str(item.get("op")) not in _OPERATIONS or not isinstance(item.get("path"), str):
        yield document.fault((index,), "not an operation of a JSON patch", "write op (add, remove, ...) and path")
        return
    needed = _OPERATIONS[item["op"]]
    if needed is not None and needed not in item:
        yield document.fault((index,), f"{item['op']} needs {needed!r}", f"write {needed}:")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
