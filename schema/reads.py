"""What an operation looks at of the objects of a type, so that no more of their rows is read."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    visit,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

_EVERYTHING = "*"


class Reads:
    """Of all operations of a document together, whatever they skip; found out when it is first asked for."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._document = document
        self._attributes: dict[str, set[str]] | None = None

    def of(self, name: str) -> frozenset[str] | None:
        """The attributes of an object of this type; None for all of them, where a resolver is handed the object."""
        if self._attributes is None:
            self._attributes = _attributes(self._schema, self._document)
        found = self._attributes.get(name, set())
        return None if _EVERYTHING in found else frozenset(found)


def _attributes(schema: GraphQLSchema, document: DocumentNode) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    types = TypeInfo(schema)

    class Fields(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            parent = types.get_parent_type()
            for kind in schema.get_possible_types(parent) if isinstance(parent, GraphQLInterfaceType) else [parent]:
                if isinstance(kind, GraphQLObjectType) and node.name.value in kind.fields:
                    found[kind.name].add(_attribute(kind, node.name.value))

    visit(document, TypeInfoVisitor(types, Fields()))
    return dict(found)


def _attribute(kind: GraphQLObjectType, name: str) -> str:
    declared = kind.fields[name].extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return str(declared.python_name) if declared is not None and declared.is_basic_field else _EVERYTHING
