"""Reads YAML that people write by hand, strictly, and remembers where everything stands.

The cluster definition and the scenarios are edited by hand, and YAML forgives too much: the last of two equal keys
wins, ``yes`` is true, ``0644`` is 420. Here each of these is a `Fault` with file, line, path and remedy, and all faults
of a file are told at once. Positions are kept for every path, so that a reader built on top can name the line of what
it rejects, including inside a block of YAML that is itself a value (a kubeadm patch).

Scalars resolve as in the core schema of YAML 1.2, which is what remains when everything ambiguous is a fault; keys are
always strings, as in JSON.

`dump` is the other direction: text that Kubernetes' own readers take as it was meant. They read ``n`` as false and
``12e5`` as a number, which PyYAML writes without quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Path: TypeAlias = tuple[str | int, ...]
Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"

MAX_VALUES = 200_000
"""Values in one text; beyond it, aliases are multiplying (a file of a lab has a few hundred)."""

_PLAIN = "tag:lab,2026:plain"
_STR = "tag:yaml.org,2002:str"
_MAP = "tag:yaml.org,2002:map"
_SEQ = "tag:yaml.org,2002:seq"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_AMBIGUOUS_BOOLEAN = re.compile(r"(?:yes|Yes|YES|on|On|ON|no|No|NO|off|Off|OFF)\Z")
_AMBIGUOUS_LETTER = re.compile(r"[yYnN]\Z")
_AMBIGUOUS_OCTAL = re.compile(r"[-+]?0[0-7]+\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_PREFIXED_INT = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN)\Z"
)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # one of two classes, chosen at import by what PyYAML was built with
    """Composes nodes only; every unquoted scalar gets one tag, so that its meaning is decided in this module."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {None: [(_PLAIN, re.compile(""))]}  # noqa: RUF012  # PyYAML's own attribute


class _Dumper(yaml.SafeDumper):
    """Quotes every string that some reader takes for something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"), list("yYnN"))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?0o[0-7]+\Z"), list("-+0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong in a file.

    Attributes:
        file: the file's name, as it was given.
        line: its line, counted from 1.
        path: where in the document, for example ``nodes[0].extraMounts[1].hostPath``; empty for the document itself.
        message: what is wrong.
        remedy: what to do about it, in the imperative.
    """

    file: str
    line: int
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " + (f"{self.path}: " if self.path else "")
        return f"{where}{self.message}; {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document and where each of its values stands.

    Attributes:
        data: plain dicts (with string keys), lists and scalars.
        file: the file's name, as it was given.
        prefix: path in the file of the string that this document was written in; empty for the file's own documents.
    """

    data: Value
    file: str
    prefix: Path = ()
    _lines: dict[Path, int] = field(repr=False)
    _text_lines: dict[Path, int] = field(repr=False)

    def line_of(self, path: Path) -> int:
        """The line of a key or list element; for a path that does not exist, that of its nearest ancestor."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def text_line_of(self, path: Path) -> int:
        """The line on which the text of a string begins: for a block (``|``), the line after its header."""
        return self._text_lines.get(path, self.line_of(path))

    def fault(self, path: Path, message: str, remedy: str) -> Fault:
        """A fault at a path of this document."""
        return Fault(
            file=self.file,
            line=self.line_of(path),
            path=render_path((*self.prefix, *path)),
            message=message,
            remedy=remedy,
        )


def render_path(path: Path) -> str:
    """A path as a person reads it: ``nodes[0].labels["a.b/c"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def parse(text: str, *, file: str, first_line: int = 1, prefix: Path = ()) -> tuple[Document | None, list[Fault]]:
    """Read a text that holds one document.

    Args:
        text: the YAML.
        file: the file's name for faults and positions.
        first_line: line of the file on which the text begins, when it is a part of the file.
        prefix: path of the string that is the text, when it is a part of the file; paths of faults begin with it.

    Returns:
        The document, and every fault. It is None when the text is not YAML or is not one document; with other faults
        it is there all the same, so that a reader can go on and find its own.
    """
    documents, faults = parse_all(text, file=file, first_line=first_line, prefix=prefix)
    if faults and not documents:
        return None, faults
    if not documents:
        fault = Fault(
            file=file,
            line=first_line,
            path=render_path(prefix),
            message="there is no document in it",
            remedy="write the document",
        )
        return None, [fault]
    if len(documents) > 1:
        fault = Fault(
            file=file,
            line=documents[1].line_of(()),
            path=render_path(prefix),
            message=f"{len(documents)} documents where one is expected",
            remedy="remove the '---' and what follows it",
        )
        return None, [*faults, fault]
    return documents[0], faults


def parse_all(text: str, *, file: str, first_line: int = 1, prefix: Path = ()) -> tuple[list[Document], list[Fault]]:
    """Read a text that holds any number of documents; empty ones are left out.

    Args:
        text: the YAML.
        file: the file's name for faults and positions.
        first_line: line of the file on which the text begins, when it is a part of the file.
        prefix: path of the string that is the text, when it is a part of the file; paths of faults begin with it.

    Returns:
        The documents up to the first syntax error, and every fault.
    """
    documents: list[Document] = []
    faults: list[Fault] = []
    try:
        for node in _nodes(text):
            builder = _Builder(file=file, line_offset=first_line, prefix=prefix)
            document = builder.document(node)
            faults += builder.faults
            if document.data is not None:
                documents.append(document)
    except yaml.YAMLError as error:
        faults.append(_syntax_fault(error, text, file=file, first_line=first_line, prefix=prefix))
    except RecursionError:
        faults.append(
            Fault(
                file=file,
                line=first_line,
                path=render_path(prefix),
                message="nested too deeply",
                remedy="flatten the innermost values",
            )
        )
    return documents, sorted(faults, key=lambda fault: fault.line)


def dump(*documents: object, sort_keys: bool = False) -> str:
    """Plain data as YAML that every reader reads alike.

    Args:
        documents: one or more; several are separated by ``---``.
        sort_keys: whether keys are sorted, as Kubernetes' own writers do it.
    """
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=sort_keys, default_flow_style=False)


def fault_error(faults: Sequence[Fault], *, what: str) -> InputError:
    """All faults as one error.

    Args:
        faults: at least one.
        what: what was read, as a noun phrase: ``the cluster definition``.
    """
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = "\n".join(f"  {fault}" for fault in faults)
    return InputError("invalid-file", f"{what} has {count}:\n{lines}", hint="mend the lines named above")


def _nodes(text: str) -> Iterator[yaml.Node]:
    """The root node of each document."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _syntax_fault(error: yaml.YAMLError, text: str, *, file: str, first_line: int, prefix: Path) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    index = mark.line if mark is not None else 0
    lines = text.splitlines()
    indentation = re.match(r"\s*", lines[index]) if index < len(lines) else None
    if indentation is not None and "\t" in indentation.group():
        message, remedy = "a tab is used for indentation", "indent with spaces"
    else:
        context = getattr(error, "context", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be decoded"
        message = "not valid YAML: " + (f"{context}, {problem}" if context else str(problem))
        remedy = "check the indentation, quotes and colons of this line and the one above"
    return Fault(file=file, line=first_line + index, path=render_path(prefix), message=message, remedy=remedy)


class _Builder:
    """Turns the nodes of one document into plain data, noting positions and faults."""

    def __init__(self, *, file: str, line_offset: int, prefix: Path) -> None:
        self.file = file
        self.prefix = prefix
        self.line_offset = line_offset
        self.faults: list[Fault] = []
        self.lines: dict[Path, int] = {}
        self.text_lines: dict[Path, int] = {}
        self.open: list[yaml.Node] = []

    def document(self, node: yaml.Node) -> Document:
        data = self.value(node, (), self.line(node))
        return Document(data=data, file=self.file, prefix=self.prefix, _lines=self.lines, _text_lines=self.text_lines)

    def line(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + self.line_offset

    def fault(self, line: int, path: Path, message: str, remedy: str) -> None:
        self.faults.append(
            Fault(file=self.file, line=line, path=render_path((*self.prefix, *path)), message=message, remedy=remedy)
        )

    def value(self, node: yaml.Node, path: Path, line: int) -> Value:
        """The data of a node; ``line`` is where a person looks for it (its key's line in a mapping)."""
        self.lines[path] = line
        if len(self.lines) == MAX_VALUES:
            self.fault(line, path, f"more than {MAX_VALUES} values", "use fewer aliases")
        if len(self.lines) >= MAX_VALUES:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if any(node is ancestor for ancestor in self.open):
            self.fault(line, path, "an alias stands for something that holds it", "write the value out")
            return None
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                self.tag(node, _MAP, path)
                return self.mapping(node, path)
            self.tag(node, _SEQ, path)
            return [self.value(item, (*path, i), self.line(item)) for i, item in enumerate(node.value)]
        finally:
            self.open.pop()

    def tag(self, node: yaml.Node, expected: str, path: Path) -> None:
        if node.tag != expected:
            self.fault(self.line(node), path, f"the tag {node.tag} has no meaning here", "remove it")

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Value:
        text = str(node.value)
        self.text_lines[path] = self.line(node) + (1 if node.style in ("|", ">") else 0)
        if node.tag != _PLAIN:
            self.tag(node, _STR, path)
            return text
        if _AMBIGUOUS_BOOLEAN.match(text) or _AMBIGUOUS_LETTER.match(text):
            boolean = "true" if text.lower() in ("yes", "on", "y") else "false"
            self.fault(
                self.line(node),
                path,
                f"{text} is a boolean to some readers of YAML and a string to others",
                f"write {boolean}, or '{text}' in quotes",
            )
        elif _AMBIGUOUS_OCTAL.match(text):
            self.fault(
                self.line(node),
                path,
                f"{text} is octal to some readers of YAML and decimal to others",
                f"write 0o{text.lstrip('+-0') or '0'} or {text.lstrip('+-0') or '0'}, or '{text}' in quotes",
            )
        return _plain(text)

    def mapping(self, node: yaml.MappingNode, path: Path) -> Value:
        data: dict[str, Value] = {}
        first_lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = self.line(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or (key_node.tag == _PLAIN and key_node.value in _NULL):
                self.fault(line, path, "a key must be a string", "write the key as a single word, or quote it")
                continue
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merged.append(value_node)
                continue
            key = str(key_node.value)
            where = (*path, key)
            if key in first_lines:
                self.fault(
                    line, where, f"the key is there twice, first on line {first_lines[key]}", "remove one of them"
                )
                continue
            first_lines[key] = line
            if key_node.tag == _PLAIN and _AMBIGUOUS_BOOLEAN.match(key):
                self.fault(
                    line, where, f"the key {key} is a boolean to some readers of YAML", f"write '{key}' in quotes"
                )
            data[key] = self.value(value_node, where, line)
        for value_node in merged:
            self.merge(data, value_node, path)
        return data

    def merge(self, data: dict[str, Value], node: yaml.Node, path: Path) -> None:
        """Add what ``<<`` brings and the mapping itself does not have."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                self.fault(self.line(node), path, "<< takes a mapping", "give it an alias of a mapping")
                continue
            for key, value in _pairs(self.value(source, (*path, "<<"), self.line(source))):
                if key not in data:
                    data[key] = value
        # The merged values stand where their anchor stands; their paths fall back to the mapping that merges them.
        self.lines = {known: line for known, line in self.lines.items() if known[: len(path) + 1] != (*path, "<<")}


def _pairs(value: Value) -> list[tuple[str, Value]]:
    return list(value.items()) if isinstance(value, dict) else []


def _plain(text: str) -> Value:
    """An unquoted scalar by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INT.match(text):
        return int(text)
    if _PREFIXED_INT.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
