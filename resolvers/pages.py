"""Pages of a list: Relay's arguments or page and pageSize, refused clearly rather than clamped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from models.paging import Window
from resolvers.cursors import Cursors
from resolvers.problems import Problem, RequestErrorCode

DEFAULT, MOST = 10, 100


class OrderDirection(StrEnum):
    ASC = "ASC"
    DESC = "DESC"


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageArguments:
    """As the client gave them; None is absent."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    page: int | None = None
    page_size: int | None = None

    def window(self, cursors: Cursors, scope: str) -> Window:
        """Raises BAD_USER_INPUT or INVALID_CURSOR, naming the argument."""
        self._check()
        if self.page is not None or self.page_size is not None:
            size = self.page_size or DEFAULT
            return Window(size, offset=((self.page or 1) - 1) * size)
        return Window(
            size=self._size(),
            after=cursors.open(scope, self.after, ["after"]) if self.after is not None else None,
            before=cursors.open(scope, self.before, ["before"]) if self.before is not None else None,
            backwards=self.last is not None,
        )

    def _size(self) -> int:
        given = self.last if self.last is not None else self.first
        return DEFAULT if given is None else given

    def _check(self) -> None:
        relay = (self.first, self.after, self.last, self.before)
        if (self.page is not None or self.page_size is not None) and any(given is not None for given in relay):
            raise _refusal("Give page and pageSize, or first, after, last and before; not both.", "page")
        if self.first is not None and self.last is not None:
            raise _refusal("Give first or last, not both.", "last")
        for name, value, least, most in (
            ("first", self.first, 0, MOST),
            ("last", self.last, 0, MOST),
            ("pageSize", self.page_size, 1, MOST),
            ("page", self.page, 1, 1_000_000),
        ):
            if value is not None and not least <= value <= most:
                raise _refusal(f"{name} must be from {least} to {most}.", name)


def _refusal(message: str, field: str) -> Problem:
    return Problem(RequestErrorCode.BAD_USER_INPUT, message, [field])


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows; their cursors are made, and `total` is counted, only when they are asked for."""

    rows: Sequence[Row]
    cursor: Callable[[Row], str]
    has_next: bool
    has_previous: bool
    total: Callable[[], Any]
    page: int | None = None
    page_size: int | None = None


def cut(
    found: Sequence[Row],
    window: Window,
    arguments: PageArguments,
    seal: Callable[[Row], str],
    total: Callable[[], Any],
) -> Page[Row]:
    """A page from the rows a window found, of which one may be too many."""
    more = len(found) > window.size
    rows = found[1:] if more and window.backwards else found[: window.size]
    paged = arguments.page is not None or arguments.page_size is not None
    return Page(
        rows=rows,
        cursor=seal,
        has_next=window.before is not None if window.backwards else more,
        has_previous=more if window.backwards else window.after is not None or window.offset > 0,
        total=total,
        page=(arguments.page or 1) if paged else None,
        page_size=window.size if paged else None,
    )
