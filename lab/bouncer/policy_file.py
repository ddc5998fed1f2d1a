"""The policy file: rules as data, read strictly, and read again when the file changes.

    apiVersion: bouncer.supply-chain/v1alpha1
    kind: ImagePolicy
    registries:
      allowed: [docker.io/library, registry.k8s.io]
    tags:
      required: true
      denied: [latest]
    digests:
      required: true

Each section stands for policies of `lab.bouncer.policy`; a further kind of rule is a further section here and a further
class there. A person changes the file while the server runs: a bad one never replaces a good one, because a typing
error must not open a cluster, nor close it.

``python -m lab.bouncer.policy_file > docs/image-policy.schema.json`` writes the published JSON Schema anew; a test
finds a stale one.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import sys
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lab import strict_yaml
from lab.bouncer.logs import event
from lab.bouncer.policy import DigestRequired, Policy, Registry, RegistryPolicy, TagRequired, TagsDenied
from lab.bouncer.reference import is_tag, show
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from lab.strict_yaml import Document, Fault

API_VERSION = "bouncer.supply-chain/v1alpha1"
KIND = "ImagePolicy"
POLL_S = 1.0
"""How often the file is looked at, in seconds."""

_OURS = "bouncer"
"""Type of the errors that already say what is wrong and what to do."""
_REMEDIES = {
    "bool_type": "write true or false",
    "model_type": "write a mapping",
    "string_type": "put the value in quotes",
    "too_short": "name at least one, or remove the key",
    "tuple_type": "write a list",
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_log = logging.getLogger(__name__)


def _fault(message: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(_OURS, "{message}", {"message": message, "remedy": remedy})


def _registry(text: str) -> str:
    try:
        Registry.parse(text)
    except InputError as error:
        raise _fault(error.message, error.hint) from error
    return text


def _tag(text: str) -> str:
    if not is_tag(text):
        raise _fault(f"{show(text)} is not a tag", "use up to 128 of a-z A-Z 0-9 _ . -, the first not . or -")
    return text


class _Section(BaseModel):
    """Base of every part: unknown keys are errors, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def policies(self) -> tuple[Policy, ...]:
        """What the section asks for."""
        return ()


class Registries(_Section):
    """Where images may come from.

    Attributes:
        allowed: registries, or parts of them: HOST[:PORT][/PATH]; the path is compared component by component.
    """

    allowed: Annotated[tuple[Annotated[str, AfterValidator(_registry)], ...], Field(min_length=1)]

    def policies(self) -> tuple[Policy, ...]:
        """What the section asks for."""
        listed = tuple(Registry.parse(entry) for entry in self.allowed)
        return (RegistryPolicy(whitelist=listed, listed_in="registries.allowed:"),) if listed else ()


class Tags(_Section):
    """Which tags images may have.

    Attributes:
        required: every image must be written with a tag.
        denied: tags that no image may have, compared exactly; an image without tag and digest has the tag latest.
    """

    required: bool = False
    denied: Annotated[tuple[Annotated[str, AfterValidator(_tag)], ...], Field(min_length=1)] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise _fault("the section has no rule", "give required or denied, or remove the section")
        return self

    def policies(self) -> tuple[Policy, ...]:
        """What the section asks for."""
        required: tuple[Policy, ...] = (TagRequired(),) if self.required else ()
        return (*required, TagsDenied(tags=frozenset(self.denied))) if self.denied else required


class Digests(_Section):
    """Whether images are named by their digest.

    Attributes:
        required: every image must be.
    """

    required: bool

    def policies(self) -> tuple[Policy, ...]:
        """What the section asks for."""
        return (DigestRequired(),) if self.required else ()


class ImagePolicyDocument(_Section):
    """A policy file. An image is allowed when every rule of every section allows it.

    Attributes:
        api_version: version of the format.
        kind: ``ImagePolicy``.
        registries: where images may come from.
        tags: which tags they may have.
        digests: whether they are named by digest.
    """

    api_version: Literal["bouncer.supply-chain/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["ImagePolicy"]
    # A section that is left out is empty, not null: a key without a value would silently be no rule.
    registries: Registries = Field(default_factory=lambda: Registries.model_construct(allowed=()))
    tags: Tags = Field(default_factory=Tags.model_construct)
    digests: Digests = Field(default_factory=lambda: Digests.model_construct(required=False))

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        if not self.policies():
            raise _fault("the policy has no rule, so it would allow every image", "give registries, tags or digests")
        return self

    def policies(self) -> tuple[Policy, ...]:
        """Every rule of every section."""
        sections: tuple[_Section, ...] = (self.registries, self.tags, self.digests)
        return tuple(policy for section in sections for policy in section.policies())


def parse_policy(text: str, *, file: str) -> tuple[Policy, ...]:
    """The rules in a policy file's text.

    Args:
        text: YAML.
        file: its name, for messages.

    Raises:
        InputError: ``invalid-file`` with every fault, each with line, path and remedy.
    """
    document, faults = strict_yaml.parse(text, file=file)
    if document is not None:
        try:
            # As JSON, where a list is the only sequence: in Python, strictness would refuse it for a tuple.
            decoded = ImagePolicyDocument.model_validate_json(json.dumps(document.data))
        except ValidationError as error:
            faults += [_described(details, document) for details in error.errors(include_url=False)]
        else:
            if not faults:
                return decoded.policies()
    raise strict_yaml.fault_error(sorted(faults, key=lambda fault: fault.line), what="the policy")


class PolicyFile:
    """The policies of a file, kept up to date with it.

    Args:
        path: the file; it must be valid now.

    Raises:
        InputError: ``invalid-file`` with every fault, or ``policy-unreadable``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = _read(path)
        self._policies = parse_policy(self._text, file=str(path))
        self._refused = ""

    @property
    def current(self) -> tuple[Policy, ...]:
        """The policies of the last valid content."""
        return self._policies

    async def watch(self) -> NoReturn:
        """Follow the file for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            self.refresh()

    def refresh(self) -> None:
        """Take a changed file if it is valid; otherwise keep the old policy, and say so once."""
        try:
            text = _read(self._path)
            if text != self._text:
                self._policies = parse_policy(text, file=str(self._path))
        except InputError as error:
            if error.message != self._refused:
                self._refused = error.message
                event(_log, logging.WARNING, "policy-kept", reason=error.message, file=str(self._path))
            return
        self._refused = ""
        if text != self._text:
            self._text = text
            event(_log, logging.INFO, "policy-reloaded", file=str(self._path))


def json_schema() -> str:
    """The JSON Schema of a policy file, as the text of ``docs/image-policy.schema.json``."""
    schema = {
        "$schema": _DIALECT,
        "$id": f"urn:{API_VERSION.replace('/', ':')}",
        **ImagePolicyDocument.model_json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "policy-unreadable",
            f"the policy file {path} cannot be read: {error}",
            hint="give --policy a YAML file in UTF-8 that the bouncer may read",
        ) from error


def _described(details: ErrorDetails, document: Document) -> Fault:
    """What pydantic found, in the words and at the line of the file."""
    path = details["loc"]
    match details["type"]:
        case "extra_forbidden":
            return document.fault(path, f"unknown key {path[-1]!r}", _spelling(str(path[-1]), path))
        case "missing":
            return document.fault(path[:-1], f"the key {path[-1]!r} is missing", f"write {path[-1]}: and its value")
        case "literal_error":
            message = f"{details['input']!r} is not a value of this key"
            return document.fault(path, message, f"write {details['ctx']['expected']}")
        case kind if kind == _OURS:
            return document.fault(path, details["ctx"]["message"], details["ctx"]["remedy"])
        case kind:
            message = details["msg"].replace("Input should be", "the value should be")
            return document.fault(path, message, _REMEDIES.get(kind, "see docs/bouncer.md"))


def _spelling(key: str, path: Sequence[str | int]) -> str:
    """The key of the same place that was probably meant."""
    sections: dict[str, type[BaseModel]] = {"registries": Registries, "tags": Tags, "digests": Digests}
    model = sections[str(path[0])] if len(path) > 1 else ImagePolicyDocument
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"remove it; known here: {', '.join(known)}"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
