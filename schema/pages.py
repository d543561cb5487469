"""The arguments of a list, and the connections Relay wants, over a page of rows."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import strawberry

from resolvers.pages import Page
from schema.base import PageInfo

First = Annotated[int | None, strawberry.argument(description="How many from the beginning: 0 to 100, 10 when left out.")]
After = Annotated[str | None, strawberry.argument(description="Only what comes behind this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many from the end: 0 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="Only what comes before this cursor.")]


N = TypeVar("N")


@strawberry.type(name="Edge", description="An entry of a list.")
class Edge(Generic[N]):
    cursor: str = strawberry.field(description="Its place in the list.")
    node: N = strawberry.field(description="What stands there.")


@strawberry.type(name="Slice", description="A page of a list.")
class Slice(Generic[N]):
    """What every connection has. The nodes of the schema are the rows of the page, under their declared type."""

    content: strawberry.Private[Page[Any]]

    @strawberry.field(description="The entries with their cursors.")
    def edges(self) -> list[Edge[N]]:
        return [Edge(cursor=self.content.cursor(row), node=row) for row in self.content.rows]

    @strawberry.field(description="The entries alone.")
    def nodes(self) -> list[N]:
        return list(self.content.rows)

    @strawberry.field(description="Where the page stands in its list.")
    def page_info(self) -> PageInfo:
        page = self.content
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.cursor(page.rows[0]) if page.rows else None,
            end_cursor=page.cursor(page.rows[-1]) if page.rows else None,
        )


@strawberry.type(name="Connection", description="A page of a list that can be counted.")
class Connection(Slice[N]):
    @strawberry.field(description="How many entries there are in all.")
    async def total_count(self) -> int:
        count: int = await self.content.total()
        return count
