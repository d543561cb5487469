"""Random operations over a schema: valid, and as strange as valid operations get."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationType,
    Undefined,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

_ENOUGH = 15

Composite = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType


@dataclass(frozen=True, slots=True)
class Written:
    """An operation with the variables it asks for."""

    text: str
    variables: dict[str, Any]


@dataclass(slots=True)
class _Draft:
    fragments: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    declared: list[str] = field(default_factory=list)
    keys: int = 0
    fields: int = 0


class Operations:
    """Writes operations. `values` makes an argument's value from its type's name and its own; `leave_out` names fields."""

    def __init__(
        self,
        schema: GraphQLSchema,
        seed: int,
        values: Mapping[str, Callable[[random.Random, str], Any]],
        leave_out: frozenset[str] = frozenset(),
        depth: int = 4,
    ) -> None:
        self._schema = schema
        self._random = random.Random(seed)
        self._values = values
        self._leave_out = leave_out
        self._depth = depth

    def write(self, kind: OperationType) -> Written:
        root = self._schema.get_root_type(kind)
        assert root is not None
        draft = _Draft()
        roots = 1 if kind is OperationType.SUBSCRIPTION else self._random.randint(1, 3)
        names = [self._pick(root) for _ in range(roots)]
        body = " ".join(self._field(draft, root, name, 0, kind is not OperationType.SUBSCRIPTION) for name in names)
        signature = f"({', '.join(draft.declared)})" if draft.declared else ""
        return Written("\n".join([f"{kind.value} Q{signature} {{ {body} }}", *draft.fragments]), draft.variables)

    def _pick(self, type_: Composite) -> str:
        assert not isinstance(type_, GraphQLUnionType)
        return self._random.choice([name for name in type_.fields if name not in self._leave_out])

    def _field(self, draft: _Draft, type_: Composite, name: str, depth: int, conditions: bool = True) -> str:
        draft.keys += 1
        return f"k{draft.keys}: {self._plain(draft, type_, name, depth, conditions)}"

    def _plain(self, draft: _Draft, type_: Composite, name: str, depth: int, conditions: bool = True) -> str:
        assert not isinstance(type_, GraphQLUnionType)
        draft.fields += 1
        found: GraphQLField = type_.fields[name]
        below = get_named_type(found.type)
        asked = "" if is_leaf_type(below) else " " + self._selections(draft, below, depth + 1)
        return f"{name}{self._arguments(draft, found)}{self._condition(draft) if conditions else ''}{asked}"

    def _selections(self, draft: _Draft, type_: GraphQLNamedType, depth: int) -> str:
        assert isinstance(type_, Composite)
        found = [self._selection(draft, type_, depth) for _ in range(self._random.randint(1, 5))]
        return "{ " + " ".join([*found, "__typename"] if self._random.random() < 0.3 else found) + " }"

    def _selection(self, draft: _Draft, type_: Composite, depth: int) -> str:
        chance = self._random.random()
        if chance < 0.12 and depth < self._depth:
            return f"...{self._condition(draft)} {self._selections(draft, type_, depth + 1)}"
        if isinstance(type_, GraphQLUnionType) or (depth < self._depth and chance < (0.4 if is_abstract_type(type_) else 0.2)):
            return self._fragment(draft, type_, depth)
        leaves = [name for name, found in type_.fields.items() if is_leaf_type(get_named_type(found.type))]
        names = leaves if depth >= self._depth or draft.fields > _ENOUGH else [*type_.fields, *leaves]
        usable = [name for name in names if name not in self._leave_out]
        if not usable:
            return "__typename"
        name = self._random.choice(usable)
        if not type_.fields[name].args and self._random.random() < 0.5:
            return self._plain(draft, type_, name, depth)
        return self._field(draft, type_, name, depth)

    def _fragment(self, draft: _Draft, type_: Composite, depth: int) -> str:
        """On the type itself, on something it implements, or on one of its kinds."""
        if isinstance(type_, GraphQLUnionType) and depth > self._depth:
            return "__typename"
        kinds: list[Any] = [type_]
        if is_abstract_type(type_):
            kinds += self._schema.get_possible_types(type_)
        if not isinstance(type_, GraphQLUnionType):
            kinds += type_.interfaces
        kind = self._random.choice(kinds)
        body = self._selections(draft, kind, depth + 1)
        if self._random.random() < 0.5:
            return f"... on {kind.name}{self._condition(draft)} {body}"
        name = f"F{len(draft.fragments)}"
        draft.fragments.append(f"fragment {name} on {kind.name} {body}")
        return " ".join([f"...{name}{self._condition(draft)}"] * self._random.randint(1, 2))

    def _condition(self, draft: _Draft) -> str:
        if self._random.random() > 0.1:
            return ""
        yes = self._random.random() < 0.7
        value = self._variable(draft, "Boolean!", yes) if self._random.random() < 0.4 else json.dumps(yes)
        return f" @{self._random.choice(['skip', 'include'])}(if: {value})"

    def _variable(self, draft: _Draft, type_: str, value: Any) -> str:
        name = f"v{len(draft.declared)}"
        draft.declared.append(f"${name}: {type_}")
        if value is not Undefined:
            draft.variables[name] = value
        return f"${name}"

    def _arguments(self, draft: _Draft, found: GraphQLField) -> str:
        given = []
        for name, argument in found.args.items():
            required = isinstance(argument.type, GraphQLNonNull) and argument.default_value is Undefined
            if not required and self._random.random() < 0.5:
                continue
            value = self._value(argument.type, name)
            shown = (
                self._variable(draft, str(argument.type), value)
                if self._random.random() < 0.4
                else _literal(value, argument.type)
            )
            given.append(f"{name}: {shown}")
        return f"({', '.join(given)})" if given else ""

    def _value(self, type_: Any, name: str) -> Any:
        if isinstance(type_, GraphQLNonNull):
            return self._value(type_.of_type, name) if (found := self._some(type_.of_type, name)) is None else found
        return None if self._random.random() < 0.1 else self._some(type_, name)

    def _some(self, type_: Any, name: str) -> Any:
        if isinstance(type_, GraphQLList):
            return [self._value(type_.of_type, name) for _ in range(self._random.randint(0, 3))]
        if isinstance(type_, GraphQLEnumType):
            return self._random.choice(list(type_.values))
        if isinstance(type_, GraphQLInputObjectType):
            wanted = {
                n: f for n, f in type_.fields.items() if isinstance(f.type, GraphQLNonNull) or self._random.random() < 0.3
            }
            return {n: self._value(f.type, n) for n, f in wanted.items()}
        return self._values[type_.name](self._random, name)


def _literal(value: Any, type_: Any) -> str:
    """The value as GraphQL writes it."""
    if isinstance(type_, GraphQLNonNull):
        type_ = type_.of_type
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item, getattr(type_, "of_type", None)) for item in value) + "]"
    if isinstance(value, dict):
        fields = type_.fields if isinstance(type_, GraphQLInputObjectType) else {}
        return "{" + ", ".join(f"{k}: {_literal(v, fields[k].type if k in fields else None)}" for k, v in value.items()) + "}"
    return str(value) if isinstance(type_, GraphQLEnumType) and value is not None else json.dumps(value, ensure_ascii=False)
