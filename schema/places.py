"""Which variables say what events a subscription is told of, and not what is told of them: subscribers who differ in nothing
else are given the same answers, and those who differ only in where they began are told together once they have caught up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from graphql import (
    SKIP,
    ArgumentNode,
    DocumentNode,
    FieldNode,
    Node,
    OperationDefinitionNode,
    OperationType,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    visit,
)

BEGINNING = frozenset({"after"})


def choosing(document: DocumentNode, node: OperationDefinitionNode, among: Collection[str] | None = None) -> frozenset[str]:
    """The variables of a subscription that are used nowhere but in its root fields' arguments, or in those of some names."""
    if node.operation is not OperationType.SUBSCRIPTION:
        return frozenset()
    fields = [field for field in node.selection_set.selections if isinstance(field, FieldNode)]
    arguments: list[ArgumentNode] = [argument for field in fields for argument in field.arguments or ()]
    there: Counter[str] = Counter()
    for argument in arguments:
        if among is None or argument.name.value in among:
            there += _uses(argument)
    everywhere = _uses(document)
    return frozenset(name for name, times in there.items() if everywhere[name] == times)


def _uses(node: Node) -> Counter[str]:
    uses = _Uses()
    visit(node, uses)
    return uses.times


class _Uses(Visitor):
    """How often each variable is used."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[str] = Counter()

    def enter_variable_definition(self, _node: VariableDefinitionNode, *_: Any) -> Any:
        return SKIP

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.times[node.name.value] += 1
