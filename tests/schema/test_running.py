"""What resolvers are told of their operation: the same whether it was compiled or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import getmembers_static
from typing import Any

import strawberry
from graphql import GraphQLResolveInfo
from strawberry.types import Info

from schema.documents import Documents, Request
from schema.engine import Engine

SHOWN = [name for name, _ in getmembers_static(Info, lambda member: hasattr(member, "__get__")) if name[0] != "_"]
OWN = {"async_helpers"}  # graphql-core's own, for work that is left to it
TEXT = "query Seen($by: Int!) { found: outer { ...Inner } } fragment Inner on Outer { told: inner(by: $by) }"


@dataclass
class World:
    """All are alike, whatever was told in them."""

    told: list[Info] = field(default_factory=list, compare=False, repr=False)


@strawberry.type
class Outer:
    @strawberry.field
    def inner(self, info: Info, by: int) -> int:
        info.context.told.append(info)
        return by


@strawberry.type
class Query:
    @strawberry.field
    async def outer(self, info: Info) -> Outer:
        info.context.told.append(info)
        return Outer()


def shown(info: Info) -> dict[str, Any]:
    return {name: value for name in SHOWN if not callable(value := getattr(info, name))}


async def test_a_compiled_operation_tells_resolvers_what_graphql_core_tells_them() -> None:
    schema = strawberry.Schema(Query)
    engine = Engine(schema, Documents(schema._schema))
    request = Request(TEXT, {"by": 3}, extensions={"cost": True})
    worlds = [World(), World(), World()]  # by graphql-core; compiled, begun by it; compiled, begun without it
    for world in worlds:
        answer = await engine.execute(engine.prepare(request), world)
        assert (answer.data, answer.errors) == ({"found": {"told": 3}}, ())
    assert engine.prepare(request).operation.plans.compiled == 1  # type: ignore[union-attr]

    for usual, *compiled in zip(*(world.told for world in worlds), strict=True):
        assert (usual.input_extensions, usual.variable_values) == ({"cost": True}, {"by": 3})
        names = set(usual._raw_info._fields) - OWN
        assert "operation_extensions" in names
        for info in compiled:
            assert isinstance(info._raw_info, GraphQLResolveInfo)
            assert shown(info) == shown(usual)
            assert {name for name in names if getattr(info._raw_info, name) != getattr(usual._raw_info, name)} == set()
    assert [info.path.as_list() for info in worlds[2].told] == [["found"], ["found", "told"]]
