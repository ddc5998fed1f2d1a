"""Compares texts and fields with what a check expects of them. Pure functions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.scenario import jsonpath
from lab.scenario.result import Mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lab.scenario.schema.verbs import FieldExpectation, TextExpectation

SHOWN_MAX = 600
"""Characters of an actual value that a mismatch shows; the bundle has the whole."""


def text_mismatches(
    what: str, expected: TextExpectation | None, actual: str, captures: Mapping[str, str]
) -> list[Mismatch]:
    """Everything in which a text is not as it must be."""
    if expected is None:
        return []
    text = actual.rstrip()
    equals = expected.equals.rstrip() if expected.equals is not None else None
    if expected.equals_capture is not None:
        equals = captures[expected.equals_capture]
    lines = text.splitlines()
    pattern, line_pattern = expected.matches, expected.each_line_matches
    wrong: list[str] = []
    if equals is not None and text != equals:
        wrong.append(equals)
    if pattern is not None and not re.search(pattern, text, re.MULTILINE):
        wrong.append(f"matching {pattern}")
    wrong += [f"containing {part}" for part in expected.contains if part not in text]
    wrong += [f"without {part}" for part in expected.lacks if part in text]
    if line_pattern is not None and not (lines and all(re.fullmatch(line_pattern, line) for line in lines)):
        wrong.append(f"every line matching {line_pattern}")
    return [Mismatch(what=what, expected=part, actual=shown(text)) for part in wrong]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMismatch:
    """A field that is not as it must be.

    Attributes:
        path: its JSONPath.
        values: what is there, as text.
        mismatch: both sides.
    """

    path: str
    values: str
    mismatch: Mismatch


def field_mismatches(
    fields: Iterable[FieldExpectation], data: Any, captures: Mapping[str, str], *, of: str
) -> list[FieldMismatch]:
    """Every field of an object that is not as it must be.

    Args:
        fields: what must hold.
        data: the object.
        captures: values recorded at the start.
        of: the object's name, for the mismatch.
    """
    found = []
    for field in fields:
        values = jsonpath.values(field.path, data)
        words, holds = _test(field, captures)
        if field.exists is not None:
            good = bool(values) == field.exists
        else:
            good = bool(values) and (all if field.quantifier == "all" else any)(holds(value) for value in values)
        if not good:
            text = ", ".join(as_text(value) for value in values)
            mismatch = Mismatch(what=f"{of} {field.path}", expected=words, actual=shown(text) or "-")
            found.append(FieldMismatch(path=field.path, values=text, mismatch=mismatch))
    return found


def _test(field: FieldExpectation, captures: Mapping[str, str]) -> tuple[str, Callable[[Any], bool]]:
    """What a value must be, in words and as a test."""
    if field.matches is not None:
        pattern = re.compile(field.matches)
        return f"matching {field.matches}", lambda value: pattern.search(as_text(value)) is not None
    if field.contains is not None:
        part = field.contains
        return f"containing {part}", lambda value: part in as_text(value)
    if field.equals_capture is not None:
        captured = captures[field.equals_capture]
        return captured, lambda value: as_text(value) == captured
    if field.exists is not None:
        return ("present" if field.exists else "absent"), lambda _value: True
    return as_text(field.equals), lambda value: bool(value == field.equals) and type(value) is type(field.equals)


def as_text(value: Any) -> str:
    """A value as a person reads it: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def shown(text: str) -> str:
    """A text, shortened to what a report can hold."""
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(text)} characters)"
