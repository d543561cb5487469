"""How much work a document asks for, counted in one pass before anything is validated or run.

Each fragment is measured once however often it is spread, so counting stays linear where expanding would double per fragment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

SIZE_ARGUMENTS = frozenset({"first", "last", "pageSize", "ids"})
_CEILING = 10**9
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for. Counts are of the document with its fragments expanded."""

    source: int = 100_000  # characters
    tokens: int = 2_000
    comments: int = 200
    operations: int = 5
    fragments: int = 30
    variables: int = 50
    root_fields: int = 20
    depth: int = 12
    introspection_depth: int = 20
    fields: int = 1_000
    aliases: int = 20
    directives: int = 50
    cost: int = 10_000
    introspection_cost: int = 2_000  # of each __schema or __type
    page_size: int = 10  # assumed where a list's size is not given
    introspection: bool = True
    remembered: int = 512  # documents kept parsed
    remembered_tokens: int = 100_000  # and their lexical tokens together, about 400 bytes of memory each; texts count too


class TooComplexError(Exception):
    """The document passes a limit; the message names it."""


class Complexity(NamedTuple):
    """What a selection set asks for; every number saturates far above any limit."""

    depth: int = 0
    introspection_depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    cost: int = 0

    def beside(self, other: Complexity) -> Complexity:
        return Complexity(
            max(self.depth, other.depth),
            max(self.introspection_depth, other.introspection_depth),
            *(min(mine + theirs, _CEILING) for mine, theirs in zip(self[2:], other[2:], strict=True)),
        )

    def check(self, limits: Limits) -> None:
        """Raise TooComplexError for the first limit that is passed."""
        for name, value in self._asdict().items():
            if value > getattr(limits, name):
                raise TooComplexError(f"The query's {name.replace('_', ' ')} of {value} exceeds {getattr(limits, name)}.")


class Scale:
    """Measures the operations of one document. Tolerates what validation would refuse: unknown names, fragment cycles."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Limits, variables: Mapping[str, Any]) -> None:
        self._schema = schema
        self._limits = limits
        self._variables = variables
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._measured: dict[str, Complexity] = {}
        self._deepest = 4 * max(limits.depth, limits.introspection_depth)
        self.size_variables: set[str] = set()

    def measure(self, operation: OperationDefinitionNode) -> Complexity:
        root = self._schema.get_root_type(operation.operation)
        measured = self._selections(operation.selection_set, root, 0)
        return measured._replace(directives=measured.directives + len(operation.directives or ()))

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None, level: int) -> Complexity:
        if level > self._deepest:
            raise TooComplexError(f"The query's depth exceeds {self._limits.depth}.")
        total = Complexity()
        for selection in selections.selections:
            if isinstance(selection, FieldNode):
                measured = self._field(selection, parent, level)
            elif isinstance(selection, FragmentSpreadNode):
                measured = self._fragment(selection.name.value, level)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = self._schema.get_type(condition.name.value) if condition else parent
                measured = self._selections(selection.selection_set, inner, level + 1)
            else:
                continue
            total = total.beside(measured._replace(directives=measured.directives + len(selection.directives or ())))
        return total

    def _fragment(self, name: str, level: int) -> Complexity:
        if name not in self._measured:
            self._measured[name] = Complexity()  # stands in for itself inside a cycle, which validation refuses
            if fragment := self._fragments.get(name):
                on = self._schema.get_type(fragment.type_condition.name.value)
                self._measured[name] = self._selections(fragment.selection_set, on, level + 1)
        return self._measured[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, level: int) -> Complexity:
        field = self._definition(node, parent)
        of = get_named_type(field.type) if field else None
        below = self._selections(node.selection_set, of, level + 1) if node.selection_set else Complexity()
        introspects = node.name.value in _INTROSPECTION
        cost = self._limits.introspection_cost if introspects else 1 + self._size(node, field) * below.cost
        return Complexity(
            depth=1 if introspects else 1 + below.depth,
            introspection_depth=1 + max(below.depth, below.introspection_depth) if introspects else below.introspection_depth,
            root_fields=1,
            fields=1 + below.fields,
            aliases=below.aliases + (node.alias is not None),
            directives=below.directives,
            cost=min(cost, _CEILING),
        )

    def _definition(self, node: FieldNode, parent: GraphQLNamedType | None) -> GraphQLField | None:
        if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return self._schema.get_field(parent, node.name.value)
        return None

    def _size(self, node: FieldNode, field: GraphQLField | None) -> int:
        """How many objects the field may answer."""
        sizes = [self._value(a.value) for a in node.arguments or () if a.name.value in SIZE_ARGUMENTS]
        given = [size for size in sizes if size is not None]
        if given:
            return max(1, *given)
        paged = field is not None and not SIZE_ARGUMENTS.isdisjoint(field.args)
        return self._limits.page_size if paged else 1

    def _value(self, value: ValueNode) -> int | None:
        if isinstance(value, IntValueNode):
            return _CEILING if len(value.value) > 9 else int(value.value)
        if isinstance(value, ListValueNode):
            return len(value.values)
        if isinstance(value, VariableNode):
            self.size_variables.add(value.name.value)
            return size_of(self._variables.get(value.name.value))
        return None


def size_of(value: object) -> int | None:
    """What a size argument asks for: a number, or as many as the list is long."""
    if isinstance(value, list):
        return len(value)
    return min(value, _CEILING) if isinstance(value, int) and not isinstance(value, bool) else None
