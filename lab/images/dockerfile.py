"""Reads the part of a Dockerfile that needs nothing to be run: what is copied, and how the image is started.

The node's builder has no network and starts no container, so ``RUN``, ``ADD`` and several stages are refused by name
instead of being passed over. The grammar is that of docs.docker.com/reference/dockerfile.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lab.errors import InputError

_CONTINUED = re.compile(r"\\[ \t]*$")
_NOT_HERE = ("RUN", "ADD")
_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Files of the build's directory, and where they come to lie.

    Attributes:
        sources: paths or patterns below the directory.
        target: absolute; a directory where it ends with a slash.
    """

    sources: tuple[str, ...]
    target: str


@dataclass(slots=True, kw_only=True)
class Recipe:
    """What a Dockerfile says.

    Attributes:
        base: the image that it starts from.
        copies: what is copied, in order.
        working_directory: where the program is started; None where the base says it.
        user: as which user; None where the base says it.
        environment: variables.
        labels: the image's labels.
        ports: TCP ports, as ``8080/tcp``.
        entrypoint: the program; None where the base says it.
        cmd: its arguments; None where the base says them.
    """

    base: str
    copies: list[Copy] = field(default_factory=list)
    working_directory: str | None = None
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None


def read(text: str) -> Recipe:
    """Read a Dockerfile.

    Raises:
        InputError: ``dockerfile-invalid``: with the line and what is wrong there.
    """
    recipe: Recipe | None = None
    for number, line in _instructions(text):
        word, _, rest = line.partition(" ")
        name, rest = word.upper(), rest.strip()
        if name == "FROM":
            if recipe is not None:
                raise _invalid(number, "it has several stages; the node's builder makes one")
            recipe = Recipe(base=_base(number, rest))
        elif recipe is None:
            raise _invalid(number, f"{name} stands before FROM")
        elif name in _NOT_HERE:
            raise _invalid(
                number, f"{name} is not done on the node, which has no network and starts nothing for a build"
            )
        else:
            _apply(recipe, number, name, rest)
    if recipe is None:
        raise _invalid(1, "there is no FROM, the image to start from")
    return recipe


def _instructions(text: str) -> list[tuple[int, str]]:
    """The instructions with the number of their first line; comments and empty lines are none."""
    found: list[tuple[int, str]] = []
    pending, began = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        began = began or number
        if _CONTINUED.search(line):
            pending += _CONTINUED.sub("", line) + " "
            continue
        found.append((began, " ".join((pending + line).split(maxsplit=1))))
        pending, began = "", 0
    if pending:
        raise _invalid(began, "its last line goes on in a line that is not there")
    return found


def _apply(recipe: Recipe, number: int, name: str, rest: str) -> None:
    if not rest:
        raise _invalid(number, f"{name} says nothing")
    match name:
        case "COPY":
            recipe.copies.append(_copy(recipe, number, rest))
        case "WORKDIR":
            recipe.working_directory = _absolute(recipe, rest)
        case "USER":
            recipe.user = rest
        case "ENV":
            recipe.environment |= _pairs(number, name, rest)
        case "LABEL":
            recipe.labels |= _pairs(number, name, rest)
        case "EXPOSE":
            recipe.ports += [port if "/" in port else f"{port}/tcp" for port in rest.split()]
        case "ENTRYPOINT":
            recipe.entrypoint, recipe.cmd = _command(number, rest), None
        case "CMD":
            recipe.cmd = _command(number, rest)
        case _:
            raise _invalid(number, f"the node's builder does not know {name}")


def _base(number: int, rest: str) -> str:
    words = rest.split()
    if len(words) != 1:
        raise _invalid(number, "FROM names one image, and nothing else here")
    return words[0]


def _copy(recipe: Recipe, number: int, rest: str) -> Copy:
    if rest.startswith("--"):
        raise _invalid(number, "the node's builder knows no options of COPY")
    words = list(_json_words(number, rest) or shlex.split(rest))
    if len(words) < 2:  # noqa: PLR2004 - a source and a target
        raise _invalid(number, "COPY takes what to copy, and where to")
    *sources, target = words
    is_directory = target.endswith(("/", ".")) or len(sources) > 1
    path = _absolute(recipe, target)
    return Copy(sources=tuple(sources), target=f"{path.rstrip('/')}/" if is_directory else path)


def _absolute(recipe: Recipe, path: str) -> str:
    joined = PurePosixPath(recipe.working_directory or "/", path)
    if ".." in joined.parts:
        raise InputError(
            "dockerfile-invalid", f"the path {path} of the Dockerfile leads upwards", hint="write it without .."
        )
    return str(joined)


def _pairs(number: int, name: str, rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if not all("=" in word for word in words):
        raise _invalid(number, f"{name} takes NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


def _command(number: int, rest: str) -> tuple[str, ...]:
    return _json_words(number, rest) or (*_SHELL, rest)


def _json_words(number: int, rest: str) -> tuple[str, ...]:
    """The words of a JSON list; none where it is not written as one."""
    if not rest.startswith("["):
        return ()
    try:
        words = json.loads(rest)
    except ValueError as error:
        raise _invalid(number, f"its list is no JSON, which wants double quotes: {error}") from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise _invalid(number, "its list holds something else than words")
    return tuple(words)


def _invalid(number: int, why: str) -> InputError:
    return InputError("dockerfile-invalid", f"line {number} of the Dockerfile: {why}", hint="mend the Dockerfile")
