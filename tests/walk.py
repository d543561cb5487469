"""A walk over the schema: an operation for every root field, and for every place in its arguments that takes an id."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
)

from schema.roots import build

Json = Any
Path = tuple[str, ...]
SCHEMA: GraphQLSchema = build()._schema
MISSING = "con_" + "0" * 32
DEEPEST = 4
ROOTS = ("query", "mutation", "subscription")

NARROW: dict[str, Json] = {
    "messageSend": {"to": "delivered", "body": "x", "channel": "SIMULATOR"},
    "messageTest": {"to": "delivered", "body": "x", "channel": "SIMULATOR"},
    "messageSendBatch": {"messages": [{"to": "delivered", "body": "x", "channel": "SIMULATOR"}]},
}
"""What an input must say before its scope is known."""


def fields_of(kind: str) -> dict[str, GraphQLField]:
    root = getattr(SCHEMA, f"{kind}_type")
    assert root is not None
    return dict(root.fields)


def value_of(kind: GraphQLInputType, field: str) -> Json:
    """Some value a type accepts."""
    if isinstance(kind, GraphQLNonNull):
        return value_of(kind.of_type, field)
    if isinstance(kind, GraphQLList):
        return [value_of(kind.of_type, field)]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        return _required(kind.fields, field) | NARROW.get(field, {})
    simple = {"Int": 1, "Float": 1.0, "Boolean": True, "DateTime": dt.datetime.now(dt.UTC).isoformat(), "JSON": {}}
    return simple.get(kind.name, MISSING)


def _required(members: Mapping[str, GraphQLArgument | GraphQLInputField], field: str) -> dict[str, Json]:
    return {name: value_of(item.type, field) for name, item in members.items() if isinstance(item.type, GraphQLNonNull)}


def operation(kind: str, name: str, selection: str | None = None) -> tuple[str, Json]:
    """A document that asks for one root field with no more than it needs, and its variables."""
    field = fields_of(kind)[name]
    return document(kind, name, selection), _required(field.args, name)


def document(kind: str, name: str, selection: str | None = None) -> str:
    """The same with every argument as a variable; those that are left out are absent."""
    field = fields_of(kind)[name]
    head = ", ".join(f"${key}: {argument.type}" for key, argument in field.args.items())
    call = ", ".join(f"{key}: ${key}" for key in field.args)
    leaf = "" if is_leaf_type(get_named_type(field.type)) else f" {{ {selection or '__typename'} }}"
    return f"{kind} {f'({head})' if head else ''} {{ {name}{f'({call})' if call else ''}{leaf} }}"


def id_places(name: str, field: GraphQLField) -> Iterator[Path]:
    """Where the arguments of a root field take an id."""
    for key, argument in field.args.items():
        yield from _places((key,), argument.type)


def _places(path: Path, kind: GraphQLInputType) -> Iterator[Path]:
    named = get_named_type(kind)
    if named.name == "ID":
        yield path
    elif isinstance(named, GraphQLInputObjectType) and len(path) < DEEPEST:
        for key, item in named.fields.items():
            yield from _places((*path, key), item.type)


def with_id(name: str, field: GraphQLField, path: Path, id: str) -> Json:
    """The variables of a root field with an id at this place, and no more than it needs besides."""
    given = _required(field.args, name)
    given[path[0]] = _placed(field.args[path[0]].type, path[1:], id, name, given.get(path[0]))
    return given


def _placed(kind: GraphQLInputType, path: Path, id: str, field: str, known: Json) -> Json:
    plain = get_nullable_type(kind)
    if isinstance(plain, GraphQLList):
        return [_placed(plain.of_type, path, id, field, known[0] if known else None)]
    if not path:
        return id
    assert isinstance(plain, GraphQLInputObjectType)
    base = known if isinstance(known, dict) else value_of(plain, "" if known is None else field)
    key = path[0]
    return {**base, key: _placed(plain.fields[key].type, path[1:], id, field, base.get(key))}


def outline(kind: str, name: str) -> str | None:
    """A selection that tells whether something was found, without what differs from one answer to the next."""
    found = get_named_type(fields_of(kind)[name].type)
    if not isinstance(found, GraphQLObjectType | GraphQLInterfaceType):
        return None
    chosen = ["__typename"]
    for key, field in found.fields.items():
        inner = get_named_type(field.type)
        if any(isinstance(argument.type, GraphQLNonNull) for argument in field.args.values()):
            continue
        if key == "userErrors":
            chosen.append("userErrors { code message field httpStatus }")
        elif not is_leaf_type(inner):
            chosen.append(f"{key} {{ __typename }}")
        elif inner.name in ("ID", "Boolean") or isinstance(inner, GraphQLEnumType):
            chosen.append(key)
    return " ".join(chosen)
