"""What may run, and what it costs to find out."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import fields
from typing import Any

import pytest
import strawberry
from graphql import GraphQLError, OperationType, build_schema, get_introspection_query

from schema.complexity import Complexity, Limits
from schema.documents import Documents, RefusedError, Request

SCHEMA = build_schema(
    """
    interface Node { id: ID! }
    type Item implements Node { id: ID! name: String parent: Item children(first: Int, pageSize: Int): [Item] }
    type Query { item: Item items(first: Int, last: Int): [Item] nodes(ids: [ID!]!): [Node] plain: Int arg(x: Int): Int }
    type Mutation { touch: Int }
    type Subscription { ticks: Int }
    """
)


@pytest.fixture
def documents() -> Documents:
    return Documents(SCHEMA)


def refused(documents: Documents, query: str | None, **request: Any) -> tuple[str, str]:
    """Code and message of the one error."""
    with pytest.raises(RefusedError) as refusal:
        documents.select(Request(query, **request))
    (error,) = refusal.value.errors
    assert error.extensions is not None
    return error.extensions["code"], error.message


def test_an_operation_is_the_same_object_each_time(documents: Documents) -> None:
    first = documents.select(Request("query A { plain }"))
    assert documents.select(Request("query A { plain }", operation_name="A")) is first
    assert (first.name, first.kind, documents.misses) == ("A", OperationType.QUERY, 1)


def test_operation_selection(documents: Documents) -> None:
    both = "query A { plain } mutation B { touch }"
    assert documents.select(Request(both, operation_name="B")).kind is OperationType.MUTATION
    assert documents.select(Request("subscription { ticks }", operation_name="")).kind is OperationType.SUBSCRIPTION
    for name in None, "", "C":
        assert refused(documents, both, operation_name=name)[0] == "OPERATION_RESOLUTION_FAILURE"
    assert refused(documents, "{ plain }", operation_name="A")[0] == "OPERATION_RESOLUTION_FAILURE"


@pytest.mark.parametrize(
    "text", ["", "{", "}", "query {", "{ plain", "{ a: }", "\x00", '{ arg(x: "\\uD800") }', "{ plain }" * 2000]
)
def test_unparsable(documents: Documents, text: str) -> None:
    assert refused(documents, text)[0] == "GRAPHQL_PARSE_FAILED"


@pytest.mark.parametrize(
    "text",
    [
        "{ nothing }",
        "{ item }",
        "{ plain { x } }",
        "{ ...F }",
        "{ ...F } fragment F on Query { ...F }",
        "fragment F on Query { plain }",
        "query($x: Int) { plain }",
        "{ arg(x: $x) }",
        "query A { plain } query A { plain }",
        "subscription { ticks again: ticks }",
        "type T { a: Int }",
        '{ arg(x: "1") }',
    ],
)
def test_invalid(documents: Documents, text: str) -> None:
    assert refused(documents, text)[0] == "GRAPHQL_VALIDATION_FAILED"


def test_messages_neither_suggest_nor_mirror(documents: Documents) -> None:
    assert refused(documents, "{ plian }")[1] == "Cannot query field 'plian' on type 'Query'."
    assert len(refused(documents, "{ " + "x" * 50_000 + " }")[1]) == 501


def test_at_most_so_many_errors(documents: Documents) -> None:
    with pytest.raises(RefusedError) as refusal:
        documents.select(Request("{ item { " + " ".join(f"x{n}" for n in range(100)) + " } }"))
    assert len(refusal.value.errors) == 21


def chain(length: int, spreads: int = 2) -> str:
    fragments = [f"fragment F{n} on Item {{ {f'...F{n + 1} ' * spreads}}}" for n in range(length)]
    return "{ item { ...F0 } } " + " ".join(fragments) + f" fragment F{length} on Item {{ id }}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{ item { " + "parent { " * 11 + "id" + " }" * 13, "depth"),
        ("{ item { " + "parent { " * 150 + "id" + " }" * 152, "depth"),
        ("{ " + "... { " * 150 + "plain" + " }" * 151, "depth"),
        (" ".join(f"fragment F{n} on Item {{ parent {{ ...F{n + 1} }} }}" for n in range(25)) + "{ item { ...F0 } }", "depth"),
        ("{ " + "plain " * 21 + "}", "root fields"),
        ("{ item { " + "id " * 1000 + "} }", "fields"),
        (chain(25), "fields"),
        ("{ item { " + " ".join(f"a{n}: id" for n in range(21)) + " } }", "aliases"),
        ("{ plain " + "@skip(if: true) " * 51 + "}", "directives"),
        ("query " + "@x " * 51 + "{ plain }", "directives"),
        ("{ items(first: 100) { children(first: 100) { id } } }", "cost"),
        ("{ items { children { children { children { id } } } } }", "cost"),
        ("{ items(last: 99999999999999999999) { id } }", "cost"),
        ("{ arg(x: " + "9" * 5_000 + ") }", "a number of more than 400 digits"),
        ("query($x: Float = 1." + "9" * 5_000 + ") { plain }", "a number of more than 400 digits"),
        ("{ nodes(ids: [" + "1 " * 101 + "]) { ... on Item { children(first: 100) { id } } } }", "cost"),
        ("{ " + " ".join(f"s{n}: __schema {{ queryType {{ name }} }}" for n in range(6)) + " }", "cost"),
        (" ".join(f"query Q{n} {{ plain }}" for n in range(6)), "operations"),
        (" ".join(f"fragment F{n} on Query {{ plain }}" for n in range(31)) + "{ plain }", "fragments"),
        ("query(" + " ".join(f"$v{n}: Int" for n in range(51)) + ") { plain }", "variables"),
        ("{ plain }" + " " * 100_000, "characters"),
    ],
)
def test_too_complex(documents: Documents, text: str, names: str) -> None:
    started = time.perf_counter()
    code, message = refused(documents, text)
    assert (code, names in message) == ("QUERY_TOO_COMPLEX", True), message
    assert time.perf_counter() - started < 0.2


def test_the_largest_that_fits(documents: Documents) -> None:
    for text in (
        "{ item { " + "parent { " * 10 + "id" + " }" * 12,
        "{ " + "plain " * 20 + "}",
        "{ items(first: 100) { children(first: 98) { id } } }",
        chain(9),
    ):
        assert documents.select(Request(text)).kind is OperationType.QUERY


def test_sizes_from_variables_are_measured_with_their_values(documents: Documents) -> None:
    text = "query($n: Int = 1, $m: Int) { items(first: $n) { children(pageSize: $m) { id } } }"
    documents.select(Request(text))
    documents.select(Request(text, variables={"n": 100, "m": 90}))
    for variables in {"n": 100, "m": 100}, {"n": 10**30, "m": 1}, {"m": 10_000}:
        assert refused(documents, text, variables=variables)[0] == "QUERY_TOO_COMPLEX"
    for odd in {"n": "x"}, {"n": None}, {"n": True}, {"n": 1.5}, {"n": -5}, {"n": []}:
        documents.select(Request(text, variables=odd))
    assert documents.misses == 1


def test_as_many_objects_as_ids(documents: Documents) -> None:
    text = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    documents.select(Request(text, variables={"ids": ["1"] * 100}))
    assert refused(documents, text, variables={"ids": ["1"] * 20_000})[0] == "QUERY_TOO_COMPLEX"


@pytest.mark.parametrize("descriptions", [True, False])
def test_introspection_fits_and_can_be_turned_off(documents: Documents, descriptions: bool) -> None:
    query = get_introspection_query(
        descriptions, specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert documents.select(Request(query)).name == "IntrospectionQuery"
    closed = Documents(SCHEMA, Limits(introspection=False))
    with pytest.raises(RefusedError) as refusal:
        closed.select(Request("{ __schema { queryType { name } } }"))
    assert {error.extensions["code"] for error in refusal.value.errors if error.extensions} == {"GRAPHQL_VALIDATION_FAILED"}
    assert closed.select(Request("{ __typename }")).kind is OperationType.QUERY


def test_the_most_used_texts_are_kept() -> None:
    documents = Documents(SCHEMA, Limits(remembered=2))
    for text in "{ plain }", "{ arg }", "{ plain }", "{ item { id } }", "{ plain }":
        documents.select(Request(text))
    assert documents.misses == 3
    documents.select(Request("{ arg }"))
    assert documents.misses == 4


def test_memory_for_large_texts_is_bounded() -> None:
    documents = Documents(SCHEMA, Limits(remembered_tokens=300))
    texts = ["{ item { " + "id " * 95 + f"}} }} # {n}" for n in range(4)]
    for text in texts:
        documents.select(Request(text))
    for text in texts[2:]:
        documents.select(Request(text))
    assert documents.misses == 4
    documents.select(Request(texts[1]))
    assert documents.misses == 5


def test_memory_for_long_comments_is_bounded() -> None:
    documents = Documents(SCHEMA, Limits(remembered_tokens=2_500))
    texts = [f"{{ plain }} # {n} {'💥' * 99_000}" for n in range(4)]
    for text in texts:
        documents.select(Request(text, extensions=persisted(text)))
        assert refused(documents, None, extensions=persisted(text))[0] == "PERSISTED_QUERY_NOT_FOUND"
    misses = documents.misses
    documents.select(Request(texts[3]))
    documents.select(Request(texts[2]))
    assert documents.misses == misses
    documents.select(Request(texts[1]))
    assert documents.misses == misses + 1


def test_refused_texts_push_nothing_out() -> None:
    documents = Documents(SCHEMA, Limits(remembered=2))
    documents.select(Request("{ plain }"))
    for n in range(5):
        refused(documents, f"{{ nothing{n} }}")
    documents.select(Request("{ plain }"))
    assert documents.misses == 6


def persisted(text: str) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(text.encode()).hexdigest()}}


def test_persisted_queries(documents: Documents) -> None:
    text = "{ plain }"
    assert refused(documents, None, extensions=persisted(text)) == ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
    assert refused(documents, "{ arg }", extensions=persisted(text))[0] == "BAD_USER_INPUT"
    operation = documents.select(Request(text, extensions=persisted(text)))
    assert documents.select(Request(extensions=persisted(text))) is operation
    assert refused(documents, "{ nothing }", extensions=persisted("{ nothing }"))[0] == "GRAPHQL_VALIDATION_FAILED"
    assert refused(documents, None, extensions=persisted("{ nothing }"))[0] == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    "value", [1, "x", {}, {"version": 2, "sha256Hash": "0"}, {"version": 1}, {"version": 1, "sha256Hash": 1}]
)
def test_malformed_persisted_queries(documents: Documents, value: object) -> None:
    for query in None, "{ plain }":
        assert refused(documents, query, extensions={"persistedQuery": value})[0] == "BAD_USER_INPUT"


LISTED = {"one": "{ plain }", "deadbeef": "query Two { arg(x: 2) }"}


def test_listed_operations_are_known_by_their_ids() -> None:
    documents = Documents(SCHEMA, Limits(remembered=1), LISTED)
    assert documents.unusable() == {}
    first = documents.select(Request(document_id="one"))
    assert documents.select(Request(extensions={"persistedQuery": {"version": 1, "sha256Hash": "deadbeef"}})).name == "Two"
    assert documents.select(Request(document_id="sha256:deadbeef")).name == "Two"
    text, id_of_another = "{ plain }", {"persistedQuery": {"version": 1, "sha256Hash": "deadbeef"}}
    assert refused(documents, text, extensions=id_of_another)[0] == "BAD_USER_INPUT"
    assert documents.select(Request(LISTED["deadbeef"], extensions=id_of_another)).name == "Two"
    assert refused(documents, None, document_id="two") == ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
    assert refused(documents, text, document_id="one")[0] == "BAD_USER_INPUT"
    assert documents.select(Request(text)).kind is first.kind


def test_a_registered_hash_is_an_id_too(documents: Documents) -> None:
    text = "{ plain }"
    documents.select(Request(text, extensions=persisted(text)))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert documents.select(Request(document_id=f"sha256:{digest}")) is documents.select(Request(document_id=digest))


def test_nothing_but_the_list_runs_where_that_is_wanted() -> None:
    documents = Documents(SCHEMA, listed=LISTED, listed_only=True)
    assert documents.select(Request(document_id="one")) is documents.select(Request("{ plain }"))
    documents.select(Request("{ plain }", extensions=persisted("{ plain }")))
    sentence = "This server runs the operations of its list only."
    for text in "{plain}", "{ plain } # twice", "mutation { touch }", get_introspection_query(), "{":
        assert refused(documents, text) == ("PERSISTED_QUERY_NOT_FOUND", sentence)
        assert refused(documents, text, extensions=persisted(text)) == ("PERSISTED_QUERY_NOT_FOUND", sentence)
        assert refused(documents, None, extensions=persisted(text))[0] == "PERSISTED_QUERY_NOT_FOUND"


def test_an_empty_list_runs_nothing() -> None:
    documents = Documents(SCHEMA, listed={}, listed_only=True)
    assert refused(documents, "{ plain }")[0] == "PERSISTED_QUERY_NOT_FOUND"


def test_listed_operations_that_may_not_run_are_named() -> None:
    documents = Documents(SCHEMA, listed={**LISTED, "old": "{ gone }", "broken": "{"})
    assert documents.unusable() == {
        "old": "Cannot query field 'gone' on type 'Query'.",
        "broken": "Syntax Error: Expected Name, found <EOF>.",
    }
    assert refused(documents, None, document_id="old")[0] == "GRAPHQL_VALIDATION_FAILED"


def test_no_query(documents: Documents) -> None:
    assert refused(documents, None)[0] == "BAD_USER_INPUT"


def test_limits_cover_every_measure() -> None:
    assert set(Complexity._fields) <= {field.name for field in fields(Limits)}


def random_document(chance: random.Random) -> str:
    pieces = [
        "{", "}", "...", "F", "on Item", "item", "items(first: $n)", "children", "id", "a: id", "@skip(if: true)", "query",
        "$n", "fragment F on Item {", "(x: 1)", "__schema { types { name } }", "plain", "...F", "parent {", "#\n", "\ufeff",
    ]  # fmt: skip
    return " ".join(chance.choice(pieces) for _ in range(chance.randint(1, 60)))


def test_random_documents_are_run_or_refused_with_a_code(documents: Documents) -> None:
    chance = random.Random(7)
    started = time.perf_counter()
    for _ in range(500):
        try:
            documents.select(Request("{ item { id " + random_document(chance)))
        except RefusedError as refusal:
            for error in refusal.errors:
                assert isinstance(error, GraphQLError)
                assert error.extensions is not None
                assert len(error.message) >= 5
                assert error.extensions["code"].startswith(("GRAPHQL_", "QUERY_", "OPERATION_"))
    assert time.perf_counter() - started < 10


@strawberry.input
class Change:
    name: strawberry.Maybe[str]


@strawberry.input(one_of=True)
class Reference:
    id: strawberry.Maybe[str]
    name: strawberry.Maybe[str]


@strawberry.type
class StrawberryQuery:
    @strawberry.field
    def change(self, change: Change | None = None, reference: Reference | None = None) -> int:
        return 1


@pytest.mark.parametrize("arguments", ["change: {name: null}", 'reference: {id: "1", name: "a"}', "reference: {}"])
def test_rules_of_strawberry_hold(arguments: str) -> None:
    documents = Documents(strawberry.Schema(StrawberryQuery)._schema)
    assert documents.select(Request('{ change(change: {name: "a"}, reference: {id: "1"}) }')).kind is OperationType.QUERY
    with pytest.raises(RefusedError) as refusal:
        documents.select(Request(f"{{ change({arguments}) }}"))
    assert {error.extensions["code"] for error in refusal.value.errors if error.extensions} == {"GRAPHQL_VALIDATION_FAILED"}
