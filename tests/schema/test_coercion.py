"""What an operation is given reaches its resolvers as graphql-core and Strawberry hand it over, and is refused as they do."""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import Annotated, Any

import pytest
import strawberry
from graphql import parse
from strawberry.scalars import JSON

from schema.answers import Answer
from schema.coercion import GiveUpError, Variables
from schema.documents import Documents, Request
from schema.engine import Engine


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@strawberry.input
class Part:
    name: str
    amount: int = 1
    tags: list[str] | None = None
    at: dt.datetime | None = None
    maybe: strawberry.Maybe[int | None] = None
    colour: Colour | None = Colour.BLUE


@strawberry.input
class Whole:
    parts: list[Part]
    best: Part | None = None
    extra: JSON | None = None
    within: Whole | None = None


@strawberry.input(one_of=True)
class Either:
    number: strawberry.Maybe[int]
    text: strawberry.Maybe[str]


@strawberry.type
class Query:
    @strawberry.field
    def whole(self, whole: Whole) -> str:
        return repr(whole)

    @strawberry.field
    def either(self, either: Either) -> str:
        return repr(either)

    @strawberry.field
    def many(
        self,
        number: int = 7,
        text: str | None = None,
        id: strawberry.ID | None = None,
        ratio: float | None = 0.5,
        flag: bool = False,
        colours: list[Colour] | None = None,
        maybe: strawberry.Maybe[int | None] = None,
        extra: JSON | None = None,
        renamed: Annotated[str | None, strawberry.argument(name="as")] = strawberry.UNSET,
    ) -> str:
        return repr([number, text, id, ratio, flag, colours, maybe, extra, renamed])

    @strawberry.field
    def list(self, of: list[int]) -> list[int]:
        of.append(len(of))  # nobody's list but ours
        return of


SCHEMA = strawberry.Schema(Query)
ENGINES = [Engine(SCHEMA, Documents(SCHEMA._schema, compiles=compiles)) for compiles in (False, True)]


async def answered(text: str, variables: dict[str, Any]) -> Answer:
    """The answer of both; the compiling one is asked until it knows the operation."""
    request = Request(text, variables)
    plain, compiling = ENGINES
    expected = await plain.execute(plain.prepare(request), None)
    for _ in range(3):
        found = await compiling.execute(compiling.prepare(request), None)
        assert (found.data, found.errors, found.executed) == (expected.data, expected.errors, expected.executed)
    return found


WHOLE = "query($whole: Whole!) { whole(whole: $whole) }"
NESTED = """query($part: Part, $name: String!) {
  whole(whole: {parts: [{name: $name}], within: {parts: [], best: $part}, best: {name: "x", tags: [$name]}}) }"""
MANY = """query($number: Int! = 3, $text: String, $id: ID, $ratio: Float, $flag: Boolean!, $colours: [Colour!], $maybe: Int,
  $extra: JSON, $as: String) { many(number: $number, text: $text, id: $id, ratio: $ratio, flag: $flag, colours: $colours,
  maybe: $maybe, extra: $extra, as: $as) }"""


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (WHOLE, {"whole": {"parts": []}}),
        (WHOLE, {"whole": {"parts": [{"name": "a"}, {"name": "b", "amount": 2, "tags": ["x"], "colour": None}]}}),
        (WHOLE, {"whole": {"parts": [{"name": "a", "maybe": None}, {"name": "a", "maybe": 1}], "best": None}}),
        (WHOLE, {"whole": {"parts": {"name": "alone", "tags": "one", "at": "2026-02-21T10:00:00+00:00"}}}),
        (WHOLE, {"whole": {"parts": [], "extra": {"a": [1, None]}, "within": {"parts": [], "within": {"parts": []}}}}),
        (NESTED, {"part": {"name": "a", "colour": "RED"}, "name": "b"}),
        (NESTED, {"part": None, "name": "b"}),
        ("query($e: Either!) { either(either: $e) }", {"e": {"number": 1}}),
        (MANY, {"flag": True}),
        (MANY, {"flag": True, "number": 5, "text": "", "id": 7, "ratio": 1, "colours": "RED", "maybe": None, "as": None}),
        (MANY, {"flag": False, "id": "a", "ratio": 1.5, "colours": ["RED", "BLUE"], "extra": [1], "unknown": 1, "as": "x"}),
        ("{ many a: many(text: null, maybe: null, extra: {a: 1}) b: many(number: 1, colours: [RED], id: 5) }", {}),
        ("query($x: Int) { many(extra: {a: $x}, maybe: $x) }", {"x": 2}),
        ("query($number: Int) { many(number: $number) }", {}),
        ("query($of: [Int!]! = [1, 2]) { list(of: $of) again: list(of: $of) }", {}),
        ("query($of: [Int!]!) { list(of: $of) constant: list(of: [1]) }", {"of": [3]}),
    ],
)
async def test_what_fits(text: str, variables: dict[str, Any]) -> None:
    assert (await answered(text, variables)).errors == ()


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (WHOLE, {}),
        (WHOLE, {"whole": None}),
        (WHOLE, {"whole": []}),
        (WHOLE, {"whole": {}}),
        (WHOLE, {"whole": {"parts": None}}),
        (WHOLE, {"whole": {"parts": [None]}}),
        (WHOLE, {"whole": {"parts": [{}]}}),
        (WHOLE, {"whole": {"parts": [{"name": None}]}}),
        (WHOLE, {"whole": {"parts": [{"name": 1}]}}),
        (WHOLE, {"whole": {"parts": [{"name": "a", "amount": 2**31}, {"name": "a", "amount": "1"}]}}),
        (WHOLE, {"whole": {"parts": [{"name": "a", "who": 1}]}}),
        (WHOLE, {"whole": {"parts": [{"name": "a", "colour": "GREEN"}, {"name": "a", "colour": ["RED"]}]}}),
        (WHOLE, {"whole": {"parts": [{"name": "a", "at": "yesterday"}, {"name": "a", "tags": [None]}]}}),
        ("query($e: Either!) { either(either: $e) }", {"e": {"number": 1, "text": "a"}}),
        ("query($e: Either!) { either(either: $e) }", {"e": {"number": None}}),
        (MANY, {"flag": None}),
        (MANY, {"flag": 1, "number": True, "text": 5, "id": 1.5, "ratio": "1"}),
        (MANY, {"flag": True, "number": None}),
        (MANY, {"flag": True, "colours": [None]}),
        ("query($number: Int) { many(number: $number) }", {"number": None}),
    ],
)
async def test_what_does_not_fit(text: str, variables: dict[str, Any]) -> None:
    assert (await answered(text, variables)).errors


def test_what_is_left_to_graphql_core() -> None:
    """A list that stands for an absent one would be everybody's, and wrong values are not worded here."""
    for declared in ("$of: [Int!]! = [1]", "$extra: JSON = {a: 1}"):
        with pytest.raises(GiveUpError):
            Variables(SCHEMA._schema, parse(f"query({declared}) {{ __typename }}").definitions[0])  # type: ignore[arg-type]
    known = Variables(SCHEMA._schema, parse("query($n: Int! = 3, $p: Part) { __typename }").definitions[0])  # type: ignore[arg-type]
    assert known.coerce({}).coerced == {"n": 3}
    assert known.coerce({"n": 4, "p": {"name": "a"}}).coerced["p"] == {"name": "a", "amount": 1, "tags": None, "at": None} | {
        "colour": Colour.BLUE
    }
    for wrong in ({"n": None}, {"n": "4"}, {"p": {"name": "a", "amount": None}}):
        with pytest.raises(GiveUpError):
            known.coerce(wrong)
