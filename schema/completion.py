"""Turns what an operation asks of a type into Python functions that complete values straight into the answer's dictionaries.

A function takes a value and the run it belongs to. What it cannot complete as graphql-core would without an error (a null
where none may be, a value that does not fit) makes it raise; then graphql-core completes the field, and words the error.
Which fields a selection has, and which type an object is of, graphql-core and the schema decide: only the walk is ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, cast

from graphql import (
    Executor,
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLUnionType,
    Undefined,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_subfields
from graphql.pyutils import Path
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from schema.coercion import Arguments, GiveUpError

Fields = Mapping[str, FieldDetailsList]
Complete = Callable[[Any, "Run"], Any]

_PLAIN = {
    "String": "type({v}) is str",
    "ID": "type({v}) is str",
    "Boolean": "type({v}) is bool",
    "Int": "type({v}) is int and -2147483648 <= {v} <= 2147483647",
    "Float": "type({v}) is float and isfinite({v})",
}


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where in an operation a field is asked for, whatever the object it is asked of."""

    parent: GraphQLObjectType
    field: GraphQLField
    details: FieldDetailsList
    path: Path

    @property
    def nodes(self) -> list[FieldNode]:
        return [detail.node for detail in self.details]

    @property
    def takes_arguments(self) -> bool:
        return bool(self.field.args) or any(node.arguments for node in self.nodes)


class Run(Protocol):
    """One execution of an operation, as the functions see it."""

    waiting: list[tuple[Awaitable[Any], dict[str, Any], str, Complete]]

    def raw_info(self, place: Place) -> Any:
        """What graphql-core tells a resolver; the same for every object of a list."""

    def info(self, place: Place) -> Any:
        """What Strawberry tells a resolver; the same for every object of a list."""

    def arguments(self, place: Place) -> dict[str, Any]:
        """The field's arguments. Raises GraphQLError where they do not fit."""

    def given(self, place: Place, arguments: Arguments) -> dict[str, Any]:
        """The same as the field's own function takes them."""


def declared(field: GraphQLField) -> StrawberryField | None:
    """The field as Strawberry knows it."""
    found = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return found if isinstance(found, StrawberryField) else None


class Writer:
    """Writes the functions of one operation. Lines are Python; everything they name besides is in `names`."""

    def __init__(self, executor: Executor[Any]) -> None:
        self._executor = executor
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"GiveUp": GiveUpError, "Undefined": Undefined, "isfinite": isfinite}

    def completer(self, type_: GraphQLOutputType, place: Place) -> str:
        """Write a function for values of the type where they are asked for. Raises GiveUpError for what is not compiled."""
        body: list[str] = []
        self._value(type_, place, body, " ")
        return self._define(["(v, r):", *body, " return v"])

    def resolver(self, place: Place) -> str:
        """Write a function that asks for a field's value."""
        return self._define(["(v, r):", f" return {self._call(place)}"])

    def functions(self) -> dict[str, Complete]:
        """All that were written, by name."""
        exec(compile("\n".join(self._lines), "<operation>", "exec"), self._names)
        return cast("dict[str, Complete]", self._names)

    def _define(self, lines: list[str]) -> str:
        name = f"f{len(self._lines)}"
        self._lines += [f"def {name}{lines[0]}", *lines[1:]]
        return name

    def _bind(self, value: object) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _value(self, type_: GraphQLOutputType, place: Place, lines: list[str], indent: str, v: str = "v") -> None:
        """Lines that complete the variable `v` in its place."""
        is_needed = isinstance(type_, GraphQLNonNull)
        if isinstance(type_, GraphQLNonNull):
            type_ = type_.of_type
        if isinstance(type_, GraphQLScalarType) and type_.name in _PLAIN:
            lines.append(indent + self._plain(type_, is_needed, v))
            return
        if is_needed:
            lines.append(f"{indent}if {v} is None: raise GiveUp")
        else:
            lines.append(f"{indent}if {v} is not None:")
            indent += " "
        if isinstance(type_, GraphQLScalarType | GraphQLEnumType):
            lines += [f"{indent}{line}" for line in self._leaf(type_, v)]
        elif isinstance(type_, GraphQLList):
            item = self._item(type_.of_type, place)
            lines.append(f"{indent}if type({v}) is not list and type({v}) is not tuple: raise GiveUp")
            lines.append(f"{indent}{v} = [{item}(x, r) for x in {v}]")
        elif isinstance(type_, GraphQLObjectType):
            lines.append(f"{indent}{v} = {self._object(type_, place)}({v}, r)")
        elif isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            lines.append(f"{indent}{v} = {self._abstract(type_, place)}({v}, r)")

    def _item(self, type_: GraphQLOutputType, place: Place) -> str:
        if isinstance(type_, GraphQLNonNull) and isinstance(type_.of_type, GraphQLObjectType):
            return self._object(type_.of_type, place)
        return self.completer(type_, place)

    def _plain(self, type_: GraphQLScalarType, is_needed: bool, v: str) -> str:
        """A value that is one already stays as it is; a null that may not be is refused with what else is none."""
        might_be = "" if is_needed else f"{v} is not None and "
        return f"if {might_be}not ({_PLAIN[type_.name].format(v=v)}): {v} = {self._bind(type_.coerce_output_value)}({v})"

    def _leaf(self, type_: GraphQLScalarType | GraphQLEnumType, v: str) -> list[str]:
        coerce = self._bind(type_.coerce_output_value)
        if isinstance(type_, GraphQLEnumType):
            names = self._bind(_names_of(type_))
            return [f"if type({v}) in {self._bind(_types_of(type_))}: {v} = {names}[{v}]", f"else: {v} = {coerce}({v})"]
        return [f"{v} = {coerce}({v})", f"if {v} is None or {v} is Undefined: raise GiveUp"]

    def _abstract(self, type_: GraphQLInterfaceType | GraphQLUnionType, place: Place) -> str:
        """The type says of which kind an object is."""
        if type_.resolve_type is None:
            raise GiveUpError
        kinds = self._executor.schema.get_possible_types(type_)
        members = ", ".join(f"{kind.name!r}: {self._object(kind, place)}" for kind in kinds)
        resolve, abstract, where = self._bind(type_.resolve_type), self._bind(type_), self._bind(place)
        table = f"m{len(self._lines)}"
        self._lines.append(f"{table} = {{{members}}}")
        return self._define(["(v, r):", f" return {table}[{resolve}(v, r.raw_info({where}), {abstract})](v, r)"])

    def _object(self, type_: GraphQLObjectType, place: Place) -> str:
        """A function for objects of the type; a null is none."""
        body, after, entries = [" if v is None: raise GiveUp"], [], []
        if type_.is_type_of is not None:
            body.append(f" if not {self._bind(type_.is_type_of)}(v, r.raw_info({self._bind(place)})): raise GiveUp")
        for i, (key, details) in enumerate(self._fields(type_, place.details).items()):
            name = details[0].node.name.value
            if name == "__typename":
                entries.append(f"{key!r}: {type_.name!r}")
                continue
            below = Place(type_, type_.fields[name], details, place.path.add_key(key, type_.name))
            if value := self._attribute(below):
                body.append(f" v{i} = {value}")
                self._value(below.field.type, below, body, " ", f"v{i}")
                entries.append(f"{key!r}: v{i}")
            else:
                after.append(f" r.waiting.append(({self._call(below)}, d, {key!r}, {self.completer(below.field.type, below)}))")
                entries.append(f"{key!r}: None")
        made = "{" + ", ".join(entries) + "}"
        return self._define(["(v, r):", *body, f" d = {made}", *after, " return d"])

    def _fields(self, type_: GraphQLObjectType, details: FieldDetailsList) -> Fields:
        run = self._executor
        found = collect_subfields(run.schema, run.fragments, run.variable_values, run.operation, type_, details, True)
        return found.grouped_field_set

    def _attribute(self, place: Place) -> str | None:
        """The expression for a field that is there at once; None where it must be waited for."""
        field = declared(place.field)
        if field is None or place.field.resolve is None:
            raise GiveUpError
        if field.is_basic_field:
            return f"v.{field.python_name}"
        return None if field.is_async else self._call(place)

    def _call(self, place: Place) -> str:
        """The resolver's own function where nothing stands around it; else all that Strawberry put there."""
        field = declared(place.field)
        where = self._bind(place)
        resolver = field.base_resolver if field is not None else None
        is_usual = type(field) is StrawberryField and not field.extensions and not field.is_subscription
        if field is None or resolver is None or not is_usual:
            arguments = f", **r.arguments({where})" if place.takes_arguments else ""
            return f"{self._bind(place.field.resolve)}(v, r.raw_info({where}){arguments})"
        given = ["v"] if resolver.self_parameter else []
        given += [f"{p.name}=v" for p in (resolver.parent_parameter, resolver.root_parameter) if p is not None][:1]
        if resolver.info_parameter is not None:
            given.append(f"{resolver.info_parameter.name}=r.info({where})")
        if place.takes_arguments:
            schema = self._executor.schema._strawberry_schema  # type: ignore[attr-defined]
            taken = Arguments(place.field, field, place.details[0].node, schema)
            given.append(f"**r.given({where}, {self._bind(taken)})")
        return f"{self._bind(resolver.wrapped_func)}({', '.join(given)})"


def _names_of(type_: GraphQLEnumType) -> dict[object, str]:
    """What the values of an enum are called: those it declares, and the members of the class behind it."""
    values = [value.value for value in type_.values.values()]
    return {value: type_.coerce_output_value(value) for value in [*values, *getattr(type_, "wrapped_cls", ())]}


def _types_of(type_: GraphQLEnumType) -> frozenset[type]:
    return frozenset({type(value) for value in _names_of(type_)})
