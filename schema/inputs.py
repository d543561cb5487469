"""Input objects, built from a table of their fields that is made once.

strawberry looks up the name and the type of every field for every value it converts; for a thousand messages in one request
that is most of the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional, has_object_definition
from strawberry.types.lazy_type import LazyType

T = TypeVar("T")


def from_a_table(cls: type[T]) -> type[T]:
    """Decorates a strawberry input all of whose nullable fields have a default."""
    table: dict[str, tuple[str, Any]] = {}

    def build(made: type[T], value: Mapping[str, Any], context: InputContext) -> T:
        if not table:
            table.update(_fields(made, context))
        given = {}
        for name, item in value.items():
            attribute, kind = table[name]
            given[attribute] = item if kind is None else context.convert(item, kind, name)
        return made(**given)

    cls.__strawberry_definition__.from_input = build  # type: ignore[attr-defined]
    return cls


def _fields(cls: type[Any], context: InputContext) -> dict[str, tuple[str, Any]]:
    """The attribute behind each name of the API, and its type when its values must be converted."""
    definition = cls.__strawberry_definition__
    name_of = context.config.name_converter.from_field
    kinds = {name_of(field): (field.python_name, field.resolve_type(type_definition=definition)) for field in definition.fields}
    return {name: (attribute, kind if _is_made(kind) else None) for name, (attribute, kind) in kinds.items()}


def _is_made(kind: Any) -> bool:
    if isinstance(kind, StrawberryOptional) and not isinstance(kind, StrawberryMaybe):
        return _is_made(kind.of_type)
    return isinstance(kind, (StrawberryList, StrawberryMaybe, LazyType)) or has_object_definition(kind)
