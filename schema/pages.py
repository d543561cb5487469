"""The arguments of a list, and Relay's page information from a page of rows."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from resolvers.pages import Page
from schema.base import PageInfo

First = Annotated[int | None, strawberry.argument(description="How many from the beginning: 0 to 100, 10 when left out.")]
After = Annotated[str | None, strawberry.argument(description="Only what comes behind this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many from the end: 0 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="Only what comes before this cursor.")]


def page_info(page: Page[Any]) -> PageInfo:
    return PageInfo(
        has_next_page=page.has_next,
        has_previous_page=page.has_previous,
        start_cursor=page.cursors[0] if page.cursors else None,
        end_cursor=page.cursors[-1] if page.cursors else None,
    )
