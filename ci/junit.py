"""What pytest's JUnit file says of a run, as Markdown: how many tests, which did not pass and why."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ci.summary import fenced
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOWN_LINES = 40
"""Lines of a failure that are shown; the file has the whole."""

TRIED_TWICE = "lab_tried_twice"
"""The property by which the lab's pytest plugin tells of it."""

_FINDINGS = {"failure": "failed", "error": "could not run"}


def summary_of_tests(file: Path) -> str:
    """The run that a JUnit file tells of.

    Raises:
        InputError: ``no-junit``: it is missing or is no such file, because the run was broken off.
    """
    try:
        cases = list(ET.parse(file).getroot().iter("testcase"))  # noqa: S314 - pytest of the same job wrote it
    except (OSError, ET.ParseError) as error:
        raise InputError("no-junit", f"{file} cannot be read: {error}", hint="make one: make test") from error
    found = {tag: [case for case in cases if case.find(tag) is not None] for tag in (*_FINDINGS, "skipped")}
    unhappy = {id(case) for group in found.values() for case in group}
    counts = [(len(cases) - len(unhappy), "passed"), *((len(found[tag]), word) for tag, word in _FINDINGS.items())]
    counts.append((len(found["skipped"]), "skipped"))
    parts = ["# Tests", ", ".join(f"{count} {word}" for count, word in counts if count or word == "passed") + "."]
    parts += [text for tag, word in _FINDINGS.items() for case in found[tag] for text in _why(case, tag, word)]
    parts += _tried_twice(cases)
    return "\n\n".join(parts) + "\n"


def _why(case: ET.Element, tag: str, word: str) -> Iterator[str]:
    finding = case.find(tag)
    text = "" if finding is None else finding.text or finding.get("message") or ""
    lines = text.strip().splitlines()
    more = len(lines) - SHOWN_LINES
    shown = lines if more <= 0 else [f"... {more} lines before these", *lines[-SHOWN_LINES:]]
    yield f"## {word}: {case.get('classname')}.{case.get('name')}"
    yield fenced("text", "\n".join(shown))


def _tried_twice(cases: list[ET.Element]) -> list[str]:
    """Scenarios that could not run at first: they passed, and still somebody should know."""
    told = [prop for case in cases for prop in case.iter("property") if prop.get("name") == TRIED_TWICE]
    names = ", ".join(f"`{prop.get('value')}`" for prop in told)
    return [f"Tried twice, because they could not run at first: {names}."] if told else []
