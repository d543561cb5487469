"""The mapped base class and the column types both engines share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import JSON, DateTime, Dialect, MetaData, Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

NAIVE = "a naive time has no place in the database"


class Instant(TypeDecorator[dt.datetime]):
    """An aware UTC time. SQLite keeps it as a text without an offset, so it is made aware again on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(NAIVE)
        return value if value.tzinfo is dt.UTC else value.astimezone(dt.UTC)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Instead of SQLAlchemy's, which writes a text field by field."""
        return _written if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], dt.datetime | None] | None:
        """Instead of SQLAlchemy's, which makes every time twice: naive, and then aware."""
        return _aware if dialect.name == "sqlite" else None


def _written(value: dt.datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(NAIVE)
    return value.astimezone(dt.UTC).isoformat(" ", "microseconds")[:-6]


def _aware(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(f"{text}+00:00")


JsonObject = dict[str, Any]
JsonList = list[dict[str, Any]]
_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dt.datetime: Instant(), JsonObject: _Json, JsonList: _Json}


def now() -> dt.datetime:
    """The present, in UTC."""
    return dt.datetime.now(dt.UTC)


def table_of(mapped: type[Base]) -> Table:
    """The table behind a mapped class, for statements that run once for many rows."""
    return cast(Table, mapped.__table__)
