"""A schema where everything goes wrong that can: nulls where none may be, values of the wrong type, resolvers that fail."""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union

import strawberry
from graphql import GraphQLError
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON


class World:
    """What one execution sees and leaves behind; its loaders gather."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.loads: list[list[int]] = []
        self.doubles: DataLoader[int, int] = DataLoader(
            self._double, cache=False
        )  # a memory would change when errors come, and so which are told

    async def _double(self, numbers: list[int]) -> list[int | Exception]:
        self.loads.append(numbers)
        await asyncio.sleep(0)
        return [ValueError(f"no double of {number}") if number % 5 == 4 else 2 * number for number in numbers]


Info = strawberry.Info[World, Any]


@strawberry.enum
class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Broken:
    """Whose attributes fail, and are of no kind."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Leaf:
    id: strawberry.ID
    number: int
    big: int | None
    text: str | None
    color: Color
    flag: bool
    ratio: float | None
    tags: list[str]
    grid: list[list[int | None]] | None
    anything: JSON | None

    @strawberry.field
    def upper(self) -> str:
        return (self.text or "x").upper()

    @strawberry.field
    def shaky(root: strawberry.Parent[Any], info: Info) -> str | None:
        if root.number % 3 == 0:
            raise ValueError(f"shaky {info.field_name} of {root.number}")
        return "steady"

    @strawberry.field
    async def double(self, info: Info) -> int:
        return await info.context.doubles.load(self.number)

    @strawberry.field
    async def half(self, info: Info) -> int | None:
        return await info.context.doubles.load(self.number // 2)

    @strawberry.field
    async def steps(self, info: Info) -> int:
        return await info.context.doubles.load(5)

    @strawberry.field
    def times(self, by: int = 2, plus: list[int] | None = None) -> int:
        return self.number * by + sum(plus or [])

    @strawberry.field
    async def later(self, by: int) -> int:
        return self.number + by


@strawberry.type
class Cat(Named):
    leaf: Leaf


@strawberry.type
class Dog(Named):
    leaves: list[Leaf]

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, cls) or getattr(value, "barks", False)


@dataclass
class Stray:
    """A row that is shown as a Dog."""

    name: str
    leaves: list[Leaf]
    barks: bool = True


@strawberry.type
class Tree:
    leaf: Leaf
    maybe: Leaf | None
    many: list[Leaf]
    gaps: list[Leaf | None] | None
    pet: Named
    pets: list[Named]
    either: Annotated[Union[Cat, Leaf], strawberry.union("Either")] | None  # noqa: UP007
    child: Tree | None = None

    @strawberry.field
    async def slow(self) -> Tree | None:
        await asyncio.sleep(0)
        return self.child

    @strawberry.field
    async def forest(self, size: int = 2) -> list[Tree]:
        return [self.child or self] * size


class Garden:
    """Grows the same trees for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _maybe(self, good: Any, *bad: Any) -> Any:
        return self._random.choice(bad) if bad and self._random.random() < self.rot else good

    rot = 0.0

    def leaf(self) -> Any:
        r = self._random
        if r.random() < self.rot:
            return r.choice([None, Broken()])
        return Leaf(
            id=strawberry.ID(self._maybe(str(r.randrange(99)), 7, None)),
            number=self._maybe(r.randrange(20), 2**40, "three", None, True),
            big=r.choice([None, 2**31 - 1, self._maybe(-1, 2**31)]),
            text=r.choice([None, "a", 'é"\n', self._maybe("b", 5, ["c"])]),
            color=self._maybe(r.choice(list(Color)), None, "red", "green", 3),
            flag=self._maybe(r.random() < 0.5, 1, "yes", None),
            ratio=r.choice([1.5, None, 2, self._maybe(0.5, float("nan"), "x")]),
            tags=self._maybe(["a", "b"], ["a", None], None, ("c",), "ab", {"d": 1}),
            grid=r.choice([None, [[1, None], []], self._maybe([[2]], [[2], None], [["x"]])]),
            anything=r.choice([None, {"a": [1]}, "s", 1.5]),
        )

    def tree(self, depth: int = 0) -> Any:
        r = self._random
        if depth and r.random() < self.rot / 2:
            return Broken()
        pets = [Cat(name="c", leaf=self.leaf()), Dog(name="d", leaves=[self.leaf()]), Stray("s", [self.leaf(), self.leaf()])]
        return Tree(
            leaf=self.leaf(),
            maybe=r.choice([None, self.leaf()]),
            many=[self.leaf() for _ in range(3)],
            gaps=r.choice([None, [None, self.leaf()], [self.leaf()]]),
            pet=self._maybe(r.choice(pets), Broken(), None, object()),
            pets=self._maybe(pets, [object()], None),
            either=r.choice([None, pets[0], self._maybe(Leaf, object())]),
            child=self.tree(depth + 1) if depth < 2 else None,
        )


GOOD = Garden(1).tree()
ROTTEN = Garden(2)
ROTTEN.rot = 0.05
BAD = [ROTTEN.tree() for _ in range(12)]


@strawberry.type
class Query:
    @strawberry.field
    def good(self, info: Info, of: int = 3) -> Tree:
        info.context.calls.append("good")
        return GOOD

    @strawberry.field
    async def bad(self, which: int) -> Tree | None:
        return BAD[which % len(BAD)]

    @strawberry.field
    def worse(self, which: int) -> Tree:
        return BAD[which % len(BAD)]

    @strawberry.field
    def fails(self) -> Tree | None:
        raise RuntimeError("failed")

    @strawberry.field
    async def fails_later(self) -> Leaf | None:
        raise GraphQLError("failed later", extensions={"code": "LATE"})

    @strawberry.field
    def nothing(self) -> Leaf:
        return None  # type: ignore[return-value]

    @strawberry.field
    def numbers(self, first: int, more: list[int] | None = None) -> list[int]:
        return [first, *(more or [])]

    @strawberry.field
    async def hello(self, name: str = "x", color: Color = Color.RED) -> str:
        return f"hi {name} {color.value}"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def bump(self, info: Info, by: int) -> Leaf:
        info.context.calls.append(f"bump {by}")
        return GOOD.leaf

    @strawberry.mutation
    def plant(self, info: Info, which: int) -> Tree | None:
        info.context.calls.append(f"plant {which}")
        return BAD[which % len(BAD)]

    @strawberry.mutation
    async def spoil(self, info: Info) -> Leaf | None:
        info.context.calls.append("spoil")
        raise ValueError("spoiled")

    @strawberry.mutation
    async def uproot(self, info: Info, which: int) -> Tree:
        info.context.calls.append(f"uproot {which}")
        if which % 2:
            raise ValueError("too deep")
        return BAD[which % len(BAD)]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def growth(self, which: int = 0) -> AsyncGenerator[Tree]:
        yield GOOD
        yield BAD[which % len(BAD)]
        yield None  # type: ignore[misc]

    @strawberry.subscription
    async def leaves(self) -> AsyncGenerator[Leaf | None]:
        yield GOOD.leaf
        yield None


SCHEMA = strawberry.Schema(Query, Mutation, Subscription, types=[Cat, Dog])._schema
VALUES: dict[str, Callable[[random.Random, str], Any]] = {
    "Int": lambda r, _name: r.randrange(12),
    "String": lambda r, _name: r.choice(["", "ada", 'q"\\']),
}
