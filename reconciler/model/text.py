"""Nouns that are written as one string."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


class Text:
    """Mixin for a noun with `parse` and `__str__`: in files it is a string, pydantic validates it with `parse`.

    A subclass's `parse` raises ValueError with a text for people.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The noun that `text` names; ValueError where it names none."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        # imported here: `reconcile --help` must not pay for pydantic
        from pydantic_core import core_schema

        # a plan of thousands of tags names few platforms and repositories, again and again; what is wrong isn't kept
        parse = lru_cache(maxsize=1024)(cls.parse)

        def read(value: object) -> Text:
            if isinstance(value, cls):
                return value
            if not isinstance(value, str):
                raise ValueError("write it as text (in quotes if YAML reads it as a number)")
            return parse(value)

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
            json_schema_input_schema=core_schema.str_schema(),
        )
