"""Keyset pages: a cursor is the position of a row in an order, so pages survive inserts and cost the same at any depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

Position = tuple[Any, ...]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of an ordered list. One row more than `size` is read, to know whether there is more."""

    size: int
    after: Position | None = None
    before: Position | None = None
    backwards: bool = False
    offset: int = 0

    def apply(self, found: Select[Any], columns: Sequence[Any], descending: bool) -> Select[Any]:
        """`found` in order, cut to the window."""
        if self.after is not None:
            found = found.where(_beyond(columns, self.after, descending))
        if self.before is not None:
            found = found.where(_beyond(columns, self.before, not descending))
        down = descending is not self.backwards
        order = [column.desc() if down else column.asc() for column in columns]
        return found.order_by(*order).limit(self.size + 1).offset(self.offset)

    def trim(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows in the list's own order; keeps the one row too many, at the end that was cut."""
        return list(reversed(rows)) if self.backwards else rows


def _beyond(columns: Sequence[Any], position: Position, descending: bool) -> ColumnElement[bool]:
    """Rows that come after `position`: (a > x) or (a = x and b > y) or …, which every engine can answer from an index."""
    alternatives = []
    for i, column in enumerate(columns):
        further = column < position[i] if descending else column > position[i]
        alternatives.append(and_(*(columns[j] == position[j] for j in range(i)), further))
    return or_(*alternatives)


def contains(column: InstrumentedAttribute[Any], query: str) -> ColumnElement[bool]:
    """Case-insensitive substring, `%` and `_` meaning themselves."""
    return column.icontains(query, autoescape=True)
