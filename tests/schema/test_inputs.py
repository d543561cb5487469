from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import Annotated, Any

import pytest
import strawberry
from strawberry.scalars import JSON

from schema.inputs import from_a_table


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@strawberry.input
class Part:
    name: str
    amount: int = 1


class _Whole:
    to_whom: str
    colour: Colour | None = Colour.BLUE
    colours: list[Colour] | None = None
    at: dt.datetime | None = None
    extra: JSON | None = None
    part: Part | None = None
    parts: list[Part] | None = None
    later: Annotated[Part, strawberry.lazy("tests.schema.test_inputs")] | None = None
    maybe: strawberry.Maybe[int | None] = None
    given: strawberry.Maybe[Part] = None
    label: strawberry.ID | None = strawberry.field(name="tag", default=None)


@strawberry.input
class Plain(_Whole):
    __annotations__ = _Whole.__annotations__


@from_a_table
@strawberry.input
class Quick(_Whole):
    __annotations__ = _Whole.__annotations__


def _shown(value: object) -> str:
    return repr(value).replace("Quick(", "(").replace("Plain(", "(")


@strawberry.type
class Query:
    @strawberry.field
    def plain(self, input: Plain) -> str:
        return _shown(input)

    @strawberry.field
    def quick(self, input: Quick) -> str:
        return _shown(input)


SCHEMA = strawberry.Schema(Query)
BOTH = "query($plain: Plain!, $quick: Quick!) { plain(input: $plain) quick(input: $quick) }"


@pytest.mark.parametrize(
    "given",
    [
        {"toWhom": "ada"},
        {"toWhom": "ada", "colour": None, "parts": None, "part": None, "extra": None, "maybe": None, "tag": None},
        {"toWhom": "", "colour": "RED", "colours": ["RED", "BLUE"], "at": "2026-02-21T10:00:00+00:00", "extra": {"a": [1]}},
        {"toWhom": "ada", "part": {"name": "x"}, "parts": [{"name": "y", "amount": 2}, {"name": "z"}], "later": {"name": "w"}},
        {"toWhom": "ada", "maybe": 7, "given": {"name": "x", "amount": 3}, "tag": 5},
    ],
)
def test_a_value_is_the_same_as_strawberry_makes_it(given: dict[str, Any]) -> None:
    result = SCHEMA.execute_sync(BOTH, {"plain": given, "quick": given})
    assert result.errors is None and result.data is not None
    assert result.data["quick"] == result.data["plain"]


def test_what_does_not_fit_is_refused_as_before() -> None:
    for given in (
        {},
        {"toWhom": 1},
        {"toWhom": "ada", "colour": "GREEN"},
        {"toWhom": "ada", "who": 1},
        {"toWhom": "a", "given": None},
    ):
        result = SCHEMA.execute_sync("query($quick: Quick!) { quick(input: $quick) }", {"quick": given})
        assert result.errors
