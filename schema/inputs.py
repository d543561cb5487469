"""Input objects, built from a table of their fields that is made once.

strawberry looks up the name and the type of every field for every value it converts; for a thousand messages in one request
that is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional, has_object_definition
from strawberry.types.lazy_type import LazyType

T = TypeVar("T")
Convert = Callable[[Any, InputContext], Any]


def from_a_table(cls: type[T]) -> type[T]:
    """Decorates a strawberry input all of whose nullable fields have a default."""
    table: dict[str, tuple[str, Convert | None]] = {}

    def build(made: type[T], value: Mapping[str, Any], context: InputContext) -> T:
        if not table:
            table.update(_fields(made, context))
        given = {}
        for name, item in value.items():
            attribute, convert = table[name]
            given[attribute] = item if convert is None else convert(item, context)
        return made(**given)

    cls.__strawberry_definition__.from_input = build  # type: ignore[attr-defined]
    return cls


def _fields(cls: type[Any], context: InputContext) -> dict[str, tuple[str, Convert | None]]:
    """The attribute behind each name of the API, and the function for its values when they must be converted."""
    definition = cls.__strawberry_definition__
    name_of = context.config.name_converter.from_field
    kinds = {name_of(field): (field.python_name, field.resolve_type(type_definition=definition)) for field in definition.fields}
    return {name: (attribute, _converter(kind, name)) for name, (attribute, kind) in kinds.items()}


def _converter(kind: Any, name: str) -> Convert | None:
    if isinstance(kind, StrawberryOptional) and not isinstance(kind, StrawberryMaybe):
        some = _converter(kind.of_type, name)
        return None if some is None else lambda item, context: None if item is None else some(item, context)
    if isinstance(kind, StrawberryList) and has_object_definition(made := kind.of_type):
        if build := made.__strawberry_definition__.from_input:
            return lambda items, context: [build(made, item, context) for item in items]
    is_made = isinstance(kind, (StrawberryList, StrawberryMaybe, LazyType)) or has_object_definition(kind)
    return (lambda item, context: context.convert(item, kind, name)) if is_made else None
