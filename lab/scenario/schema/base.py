"""What every model of the scenario format shares: strictness, names, regular expressions.

The models are the decoder at the edge: unknown keys are errors, nothing is converted silently ("1" is not 1), and what
was decoded cannot be changed. Keys are camelCase in the file, as in every Kubernetes object.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel

from lab.bouncer.reference import parse
from lab.errors import InputError

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class Model(BaseModel):
    """Base of every part of a scenario file."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )


class OneOf(Model):
    """A model of which exactly one of some keys must be given.

    Subclasses pass the keys by their names in the file: ``class Step(OneOf, keys=("probe", "exec"))``.
    """

    def __init_subclass__(cls, *, keys: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if keys:
            cls.__one_of_keys__ = keys

    __one_of_keys__: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = self._given()
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise ValueError(f"exactly one of {', '.join(self.__one_of_keys__)} must be given, found {found}")
        return self

    def _given(self) -> list[str]:
        names = {field.alias or name: name for name, field in type(self).model_fields.items()}
        return [key for key in self.__one_of_keys__ if names[key] in self.model_fields_set]

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        handler.resolve_ref_schema(schema)["oneOf"] = [{"required": [key]} for key in cls.__one_of_keys__]
        return schema

    @property
    def chosen(self) -> str:
        """The one key that was given, by its name in the file."""
        return self._given()[0]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


def _is_image(text: str) -> str:
    try:
        parse(text)
    except InputError as error:
        raise ValueError(f"not an image reference: {error.message}") from error
    return text


Regex = Annotated[str, AfterValidator(_compiles), Field(min_length=1)]
"""A regular expression of Python's ``re``."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
"""A DNS label: lower case letters, digits and ``-``."""

Text = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""

ImageReference = Annotated[str, AfterValidator(_is_image)]
"""An image reference as it stands in a Pod."""

RelativePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")]
"""A file beside the scenario.yaml; it cannot leave that directory."""

NodePath = Annotated[str, Field(pattern=r"^/[^\x00]*$")]
"""An absolute path on the node."""

Seconds = Annotated[float, Field(gt=0, le=900)]
"""A time-out."""

FileMode = Annotated[str, Field(pattern=r"^0[0-7]{3}$")]
"""A file mode as a quoted octal number: ``"0600"``."""
