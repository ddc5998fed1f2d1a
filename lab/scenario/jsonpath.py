r"""kubectl's JSONPath, as far as checks need it: one path in, every value at it out.

kubectl's dialect differs from the RFC (no leading ``$``, keys with dots escaped by a backslash), and a task prints its
paths, so the checks read the same ones: ``.a.b``, ``[0]``, ``[-1]``, ``[*]``, ``['key.with/dots']``,
``.key\.with\.dots`` and ``[?(@.type=="Ready")]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

_TOKEN = re.compile(
    r"""
      \.(?P<key>(?:\\.|[^.\[\]\\'"{}\s])+)          # .key, with \. for a dot inside
    | \[(?P<index>-?\d+)\]                          # [0]
    | \[(?P<star>\*)\]                              # [*]
    | \['(?P<quoted>[^']+)'\]                       # ['key']
    | \[\?\(@(?P<left>(?:\.(?:\\.|[^.\[\]\\'"{}\s=!])+)+)   # [?(@.key=="value")]
      (?P<operator>==|!=)(?P<right>"[^"]*"|'[^']*'|\d+|true|false)\)\]
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Every:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    path: tuple[str, ...]
    operator: str
    value: str | int | bool


_Step: TypeAlias = _Key | _Index | _Every | _Filter


def parse(path: str) -> tuple[_Step, ...]:
    """The steps of a path.

    Args:
        path: with or without the braces that kubectl's templates have around it.

    Raises:
        ValueError: it is not a path; the message says where.
    """
    text = path.removeprefix("{").removesuffix("}")
    if not text.startswith((".", "[")):
        raise ValueError(f"the JSONPath {path!r} must begin with a dot")
    steps: list[_Step] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"the JSONPath {path!r} cannot be read from {text[position:]!r} on")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def values(path: str, data: Any) -> tuple[Any, ...]:
    """Every value at a path; none where a key or index does not exist."""
    found = [data]
    for step in parse(path):
        found = [value for item in found for value in _apply(step, item)]
    return tuple(found)


def _step(match: re.Match[str]) -> _Step:
    part = match.groupdict()
    if part["key"] is not None:
        return _Every() if part["key"] == "*" else _Key(name=_unescaped(part["key"]))
    if part["quoted"] is not None:
        return _Key(name=part["quoted"])
    if part["index"] is not None:
        return _Index(position=int(part["index"]))
    if part["star"] is not None:
        return _Every()
    keys = tuple(_unescaped(key) for key in re.findall(r"\.((?:\\.|[^.\\])+)", part["left"]))
    return _Filter(path=keys, operator=part["operator"], value=_literal(part["right"]))


def _unescaped(key: str) -> str:
    return re.sub(r"\\(.)", r"\1", key)


def _literal(text: str) -> str | int | bool:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text[1:-1]


def _apply(step: _Step, item: Any) -> list[Any]:
    match step:
        case _Key(name=name):
            return [item[name]] if isinstance(item, dict) and name in item else []
        case _Index(position=position):
            inside = isinstance(item, list) and -len(item) <= position < len(item)
            return [item[position]] if inside else []
        case _Every():
            return list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list) else []
        case _Filter():
            return [element for element in item if _passes(step, element)] if isinstance(item, list) else []


def _passes(step: _Filter, element: Any) -> bool:
    for key in step.path:
        if not isinstance(element, dict) or key not in element:
            return False
        element = element[key]
    return bool(element == step.value) == (step.operator == "==")
