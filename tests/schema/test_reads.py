"""Of a row no more is read than an operation looks at, and never less."""

from __future__ import annotations

import pytest

from schema.documents import Documents, Request
from schema.roots import build


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("{ messages { nodes { id to } } }", {"id", "to"}),
        (
            "{ messages { edges { cursor node { clientReference __typename } } nodes { status } } }",
            {"client_reference", "status"},
        ),
        ("{ messages { totalCount } }", set()),
        ("{ messages { nodes { ...A ... on Node { id } } } } fragment A on Message { sent: sentAt }", {"id", "sent_at"}),
        ("query($x: Boolean!) { messages { nodes { body @skip(if: $x) html @include(if: $x) } } }", {"body", "html"}),
        ('{ message(id: "a") { to } node(id: "b") { id ... on Message { flow } } }', {"to", "id", "flow"}),
        ("query A { messages { nodes { to } } } query B { messages { nodes { body } } }", {"to", "body"}),
        ("{ messages { nodes { to from } } }", None),
        ("{ messages { nodes { attempts { number } } } }", None),
        ("{ connectors { nodes { name } } }", set()),
    ],
)
def test_what_is_read_of_a_message(text: str, attributes: set[str] | None) -> None:
    name = "A" if "query A" in text else None
    operation = Documents(build()._schema).select(Request(text, {"x": True}, name))
    for _ in range(2):
        assert operation.reads.of("Message") == attributes
