"""Which variables say only what a subscription is told of."""

from __future__ import annotations

import pytest
from graphql import OperationDefinitionNode, parse

from schema.places import BEGINNING, choosing


@pytest.mark.parametrize(
    ("text", "placing", "everything"),
    [
        ("subscription($after: String) { events(after: $after) { id } }", {"after"}, {"after"}),
        ("subscription($c: String, $f: EventFilter) { events(after: $c, filter: $f) { id } }", {"c"}, {"c", "f"}),
        ("subscription($c: String = null) { events(after: $c) { id } }", {"c"}, {"c"}),
        ('subscription { events(after: "x") { id } }', set(), set()),
        ("subscription($t: [String!]) { events(filter: {types: $t}) { id } }", set(), {"t"}),
        ("subscription($c: String) { events(after: $c, filter: {types: [$c]}) { id } }", set(), {"c"}),
        ("subscription($c: String) { events(after: $c) { page(after: $c) } }", set(), set()),
        ("subscription($c: String) { events { page(after: $c) } }", set(), set()),
        ("subscription($c: String) { events(after: $c) { ...F } } fragment F on Event { page(after: $c) }", set(), set()),
        ("subscription($c: String, $b: Boolean!) { events(after: $c) @skip(if: $b) { id } }", {"c"}, {"c"}),
        ("query($after: String) { events(after: $after) { id } }", set(), set()),
    ],
)
def test_what_only_chooses_events(text: str, placing: set[str], everything: set[str]) -> None:
    document = parse(text)
    node = document.definitions[0]
    assert isinstance(node, OperationDefinitionNode)
    assert (choosing(document, node, BEGINNING), choosing(document, node)) == (placing, everything)
