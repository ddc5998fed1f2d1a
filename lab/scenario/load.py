"""From files to scenarios: discover, parse strictly, decode, validate. Nothing here touches the network.

Every fault of every file is told at once, each with file, line and path.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lab import strict_yaml
from lab.errors import InputError
from lab.scenario.schema.base import Model
from lab.scenario.schema.scenario import ScenarioDocument
from lab.scenario.validate import semantic_faults
from lab.strict_yaml import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

FILE_NAME = "scenario.yaml"

_REMEDIES = {
    "extra_forbidden": "remove it",
    "missing": "add it",
    "string_type": "write a text, in quotes where it looks like a number",
    "int_type": "write a whole number",
    "bool_type": "write true or false",
    "tuple_type": "write a list",
    "dict_type": "write a mapping",
    "model_type": "write a mapping",
    "literal_error": "write one of these",
    "enum": "write one of these",
    "string_pattern_mismatch": "write it in that form",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario as it was loaded: its document and the directory of the files that it names.

    Attributes:
        directory: where its files lie.
        document: what scenario.yaml says.
    """

    directory: Path
    document: ScenarioDocument

    @property
    def name(self) -> str:
        """Its name."""
        return self.document.metadata.name

    @property
    def topic(self) -> str:
        """Its topic, the directory above its own."""
        return self.document.metadata.topic

    def text(self, file: str) -> str:
        """The content of a file that it names (validated when it was loaded)."""
        return (self.directory / file).read_text(encoding="utf-8")

    @property
    def fingerprint(self) -> str:
        """A digest of its document and of all its files as they are now, 16 hexadecimal digits."""
        digest = hashlib.sha256(self.document.model_dump_json().encode())
        for file in sorted(path for path in self.directory.rglob("*") if path.is_file()):
            digest.update(f"{file.relative_to(self.directory)}\0".encode() + file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


def discover(root: Path) -> tuple[Path, ...]:
    """The scenario directories below a root, ``<topic>/<name>/``, in alphabetical order.

    Raises:
        InputError: ``no-scenarios`` when the root is no directory.
    """
    if not root.is_dir():
        raise InputError(
            "no-scenarios", f"{root} is not a directory", hint="give the directory that holds <topic>/<name>/"
        )
    return tuple(sorted(file.parent for file in root.glob(f"*/*/{FILE_NAME}")))


def load(directory: Path) -> Scenario:
    """Load one scenario.

    Raises:
        InputError: ``invalid-file``, with every fault of its files.
    """
    return load_all([directory])[0]


def load_all(directories: Iterable[Path]) -> tuple[Scenario, ...]:
    """Load scenarios; the faults of all of them are told at once.

    Raises:
        InputError: ``invalid-file``, with every fault of every file; ``duplicate-scenario`` for two of one name.
    """
    scenarios: list[Scenario] = []
    faults: list[Fault] = []
    for directory in directories:
        scenario, found = read(directory)
        faults += found
        if scenario is not None:
            scenarios.append(scenario)
    if faults:
        files = len({fault.file for fault in faults})
        raise strict_yaml.fault_error(faults, what="the scenario" if files == 1 else "the scenarios")
    _reject_duplicates(scenarios)
    return tuple(scenarios)


def read(directory: Path) -> tuple[Scenario | None, list[Fault]]:
    """Read one scenario and tell its faults; with faults there may be no scenario."""
    file = directory / FILE_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault(
            file=str(file), line=1, path="", message=f"it cannot be read: {error}", remedy="give a scenario's directory"
        )
        return None, [fault]
    document, faults = strict_yaml.parse(text, file=str(file))
    if document is None:
        return None, faults
    try:
        decoded = ScenarioDocument.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        return None, sorted([*faults, *_decoding_faults(error, document)], key=lambda fault: fault.line)
    faults += semantic_faults(decoded, document, directory)
    return Scenario(directory=directory, document=decoded), sorted(faults, key=lambda fault: fault.line)


def select(scenarios: Sequence[Scenario], names: Iterable[str]) -> tuple[Scenario, ...]:
    """The scenarios of these names, in the order of the names.

    Raises:
        InputError: ``unknown-scenario``, with the nearest names.
    """
    by_name = {scenario.name: scenario for scenario in scenarios}
    chosen = []
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "`lab scenarios` lists them"
            raise InputError("unknown-scenario", f"there is no scenario {name!r}", hint=hint)
        chosen.append(by_name[name])
    return tuple(chosen)


def shuffle(scenarios: Sequence[Scenario], seed: int) -> tuple[Scenario, ...]:
    """The scenarios in a random order, always the same for a seed."""
    return tuple(random.Random(seed).sample(scenarios, k=len(scenarios)))  # noqa: S311 - an order, not a secret


def by_state(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """The scenarios of one start state after another, so that each state is set up once; the most frequent first."""
    states = Counter(scenario.document.start.state.key for scenario in scenarios)
    rank = {state: place for place, (state, _) in enumerate(states.most_common())}
    return tuple(sorted(scenarios, key=lambda scenario: rank[scenario.document.start.state.key]))


def _reject_duplicates(scenarios: Sequence[Scenario]) -> None:
    seen: dict[str, Path] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.name, scenario.directory)
        if other != scenario.directory:
            raise InputError(
                "duplicate-scenario",
                f"two scenarios are named {scenario.name}: {other} and {scenario.directory}",
                hint="rename one of them and its directory",
            )


def _decoding_faults(error: ValidationError, document: strict_yaml.Document) -> list[Fault]:
    """Each decoding error as a fault at the line it is about; the branches of a union tell one fault, not many."""
    faults: dict[tuple[strict_yaml.Path, str], Fault] = {}
    for details in error.errors(include_url=False):
        path = _path_in(document.data, details["loc"])
        message, remedy = _words(details)
        faults.setdefault((path, message), document.fault(path, message, remedy))
    return list(faults.values())


def _path_in(data: Any, location: Sequence[str | int]) -> strict_yaml.Path:
    """The part of an error's location that exists in the file; names of union branches are not in it."""
    path: list[str | int] = []
    for part in location:
        inside_map = isinstance(data, dict) and part in data
        inside_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if inside_map or inside_list:
            path.append(part)
            data = data[part]
    return tuple(path)


def _words(details: ErrorDetails) -> tuple[str, str]:
    """What is wrong and what to do, for a person."""
    kind = details["type"]
    key = str(details["loc"][-1]) if details["loc"] else ""
    remedy = _REMEDIES.get(kind, "see docs/scenario-format.md")
    if kind == "missing":
        return f"the key {key} is missing", remedy
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(key, sorted(_known_keys(Model)), n=1)
        return "unknown key", f"did you mean {near[0]}?" if near and near[0] != key else remedy
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, "), remedy
    return details["msg"][0].lower() + details["msg"][1:], remedy


def _known_keys(model: type[Model]) -> set[str]:
    """Every key of the format."""
    keys = {field.alias or name for name, field in model.model_fields.items()}
    return keys.union(*(_known_keys(part) for part in model.__subclasses__()))
