"""Turns what a request gives an operation into what its resolvers take, by functions that are made once.

They take what is given as it is meant: a text for a text, a list for a list. Anything else (a null where none may be, an
unknown name, one item for a list) makes them give up; then graphql-core coerces it, and words the error if it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from math import isfinite
from typing import Any

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    VariableNode,
    get_nullable_type,
    is_leaf_type,
    is_required_input_field,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_argument_values
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal, coerce_input_value
from strawberry.relay import GlobalID
from strawberry.types import Info
from strawberry.types.arguments import convert_argument
from strawberry.types.base import StrawberryMaybe
from strawberry.types.field import StrawberryField

Coerce = Callable[[Any], Any]
Convert = Callable[[Any, Info[Any, Any]], Any]

_UNCHANGING = (type(None), str, int, float, Enum)
_PLAIN: dict[str, Callable[[Any], bool]] = {
    "String": lambda value: type(value) is str,
    "ID": lambda value: type(value) is str,
    "Boolean": lambda value: type(value) is bool,
    "Int": lambda value: type(value) is int and -2147483648 <= value <= 2147483647,
    "Float": lambda value: type(value) is float and isfinite(value),
}


class GiveUpError(Exception):
    """This is for graphql-core."""


class Variables:
    """The variables an operation declares. Raises GiveUpError where graphql-core must read the declarations each time."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._declared = [_declared(schema, node) for node in operation.variable_definitions or ()]

    def coerce(self, given: Mapping[str, Any]) -> VariableValues:
        """As graphql-core would, or GiveUpError."""
        sources, coerced = {}, {}
        for signature, coerce, default in self._declared:
            name = signature.name
            if name in given:
                sources[name] = VariableValueSource(signature, given[name])
                coerced[name] = coerce(given[name])
                continue
            sources[name] = VariableValueSource(signature)
            if default is not Undefined:
                coerced[name] = default
            elif isinstance(signature.type, GraphQLNonNull):
                raise GiveUpError
        return VariableValues(sources, coerced)


def _declared(schema: GraphQLSchema, node: Any) -> tuple[GraphQLVariableSignature, Coerce, Any]:
    """What a variable is, the function for its values, and what it is when it is left out."""
    signature = get_variable_signature(schema, node)
    if not isinstance(signature, GraphQLVariableSignature):
        raise GiveUpError
    return signature, _coercer(signature.type, ()), _unchanging(coerce_default_value(signature))


def _unchanging(value: Any) -> Any:
    """The value, if it may be given to every request: no list that one of them might change."""
    if value is not Undefined and not isinstance(value, _UNCHANGING):
        raise GiveUpError
    return value


def _coercer(type_: GraphQLInputType, within: tuple[str, ...]) -> Coerce:
    """A function from values as JSON has them to those of the type, which is asked for `within` these input objects."""
    if isinstance(type_, GraphQLNonNull):
        return _some(type_.of_type, within)
    some = _some(type_, within)
    return lambda value: None if value is None else some(value)


def _some(type_: GraphQLInputType, within: tuple[str, ...]) -> Coerce:
    """A function for values that are not null; it gives up for a null too."""
    if isinstance(type_, GraphQLList):
        return _list(_coercer(type_.of_type, within))
    if isinstance(type_, GraphQLEnumType):
        return _enum(type_)
    if isinstance(type_, GraphQLInputObjectType):
        is_usual = not type_.is_one_of and type_.out_type is GraphQLInputObjectType.out_type and type_.name not in within
        return _object(type_, (*within, type_.name)) if is_usual else _other(type_)
    return _scalar(type_)


def _list(item: Coerce) -> Coerce:
    def coerce(value: Any) -> Any:
        if type(value) is not list:
            raise GiveUpError
        return [item(each) for each in value]

    return coerce


def _enum(type_: GraphQLEnumType) -> Coerce:
    members = {name: type_.coerce_input_value(name) for name in type_.values}

    def coerce(value: Any) -> Any:
        if type(value) is not str or value not in members:
            raise GiveUpError
        return members[value]

    return coerce


def _scalar(type_: Any) -> Coerce:
    is_plain, other = _PLAIN.get(type_.name), _other(type_)
    return other if is_plain is None else lambda value: value if is_plain(value) else other(value)


def _other(type_: Any) -> Coerce:
    def coerce(value: Any) -> Any:
        coerced = Undefined if value is None else coerce_input_value(value, type_)
        if coerced is Undefined:
            raise GiveUpError
        return coerced

    return coerce


def _object(type_: GraphQLInputObjectType, within: tuple[str, ...]) -> Coerce:
    fields = {name: (field.out_name or name, _coercer(field.type, within)) for name, field in type_.fields.items()}
    needed = frozenset(name for name, field in type_.fields.items() if is_required_input_field(field))
    found = {field.out_name or name: coerce_default_value(field) for name, field in type_.fields.items()}
    defaults = {name: value for name, value in found.items() if value is not Undefined}

    def coerce(value: Any) -> Any:
        if type(value) is not dict or not needed <= value.keys() or not value.keys() <= fields.keys():
            raise GiveUpError
        coerced = defaults.copy()
        for name, item in value.items():
            out, coerce_item = fields[name]
            coerced[out] = coerce_item(item)
        return coerced

    return coerce


class Arguments:
    """The arguments of one field of an operation, as its resolver takes them. `schema` is Strawberry's."""

    def __init__(self, field: GraphQLField, declared: StrawberryField, node: FieldNode, schema: Any) -> None:
        self._field, self._node = field, node
        self._converters = _converters(field, declared, schema)
        self._constants: dict[str, Any] = {}
        self._variables: list[tuple[str, str, GraphQLArgument]] = []
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        self._is_usual = all(self._read(name, found, given.get(name)) for name, found in field.args.items())

    def _read(self, name: str, argument: GraphQLArgument, value: Any) -> bool:
        """Note where an argument comes from; whether that is a usual place."""
        if isinstance(value, VariableNode):
            self._variables.append((name, value.name.value, argument))
            return argument.out_name is None
        if value is not None and not is_leaf_type(get_nullable_type(argument.type)):
            return False
        found = coerce_default_value(argument) if value is None else coerce_input_literal(value, argument.type)
        if found is not Undefined:
            self._constants[name] = found
        is_needed = found is Undefined and (value is not None or isinstance(argument.type, GraphQLNonNull))
        return argument.out_name is None and not is_needed and isinstance(found, (*_UNCHANGING, type(Undefined)))

    def given(self, values: VariableValues, info: Info[Any, Any]) -> dict[str, Any]:
        """By the names of the resolver. Raises GraphQLError where they do not fit."""
        coerced = self._coerced(values)
        return {
            python_name: coerced[name] if convert is None else convert(coerced[name], info)
            for name, python_name, convert in self._converters
            if name in coerced
        }

    def _coerced(self, values: VariableValues) -> Mapping[str, Any]:
        if not self._is_usual:
            return get_argument_values(self._field, self._node, values, None, True)
        found = self._constants.copy()
        for name, variable, argument in self._variables:
            value = values.coerced.get(variable, Undefined)
            if value is Undefined:
                value = coerce_default_value(argument)
            if value is not Undefined and value is not None:
                found[name] = value
            elif isinstance(argument.type, GraphQLNonNull):
                return get_argument_values(self._field, self._node, values, None, True)
            elif value is None:
                found[name] = None
        return found


def _converters(field: GraphQLField, declared: StrawberryField, schema: Any) -> list[tuple[str, str, Convert | None]]:
    """Each argument's name in the API and in Python, and the function for what Strawberry makes an object of."""
    found = []
    for argument in declared.arguments:
        name = schema.config.name_converter.from_argument(argument)
        as_it_is = is_leaf_type(get_nullable_type(field.args[name].type)) and not _is_made(argument.type)
        found.append((name, argument.python_name, None if as_it_is else _converter(name, argument.type, schema)))
    return found


def _is_made(type_: Any) -> bool:
    return isinstance(type_, StrawberryMaybe) or GlobalID in (type_, getattr(type_, "of_type", None))


def _converter(name: str, type_: Any, schema: Any) -> Convert:
    registry = schema.schema_converter.scalar_registry
    return lambda value, info: convert_argument(value, type_, registry, schema.config, info, path=(name,))
