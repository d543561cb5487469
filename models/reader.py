"""Short reads of the hot path: statements compiled once, rows that are converted where they are looked at, one step each.

On SQLite a short read runs where it is asked for, for handing it to another thread costs several times as much as the read.
One that turns out longer than LONGEST, or meets a lock, is stopped there and done by the engine's threads instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Dialect, Float, Select, select
from sqlalchemy import inspect as inspected
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import ColumnProperty
from sqlalchemy.types import TypeEngine

from models.base import Base
from models.sqlite import LONGEST, STEP

M = TypeVar("M", bound=Base)

KEPT = 256  # statements of a query, one for each set of columns it is asked for

Convert = Callable[[Any], Any]
Columns = frozenset[str] | None
"""The attributes of a mapped class that are read; None for all."""


class Query(Generic[M]):
    """Selects rows of a mapped class; `narrow` says which, naming what is given at each run with `bindparam`."""

    def __init__(self, mapped: type[M], narrow: Callable[[Select[Any]], Select[Any]]) -> None:
        self._mapped = mapped
        self._narrow = narrow
        self._compiled: dict[tuple[str, Columns], Compiled] = {}

    def compiled(self, dialect: Dialect, columns: Columns) -> Compiled:
        key = dialect.name, columns
        if key not in self._compiled:
            if len(self._compiled) >= KEPT:
                self._compiled.clear()
            every = inspected(self._mapped).column_attrs
            asked = [attribute for attribute in every if columns is None or attribute.key in columns]
            statement = self._narrow(select(*(attribute.columns[0] for attribute in asked)))
            self._compiled[key] = Compiled(self._mapped, asked, statement, dialect)
        return self._compiled[key]


class Look:
    """Selects columns of any tables; `statement` is given whether several machines may use the database."""

    def __init__(self, statement: Callable[[bool], Select[Any]]) -> None:
        self._statement = statement
        self._compiled: dict[str, Plain] = {}

    def compiled(self, dialect: Dialect) -> Plain:
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = Plain(self._statement(dialect.name == "postgresql"), dialect)
        return self._compiled[dialect.name]


class Statement:
    """A statement in one engine's words."""

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        made = statement.compile(dialect=dialect)
        names = cast("list[str] | None", getattr(made, "positiontup", None)) or []
        types = {name: made.binds[name].type.dialect_impl(dialect) for name in names}
        self.sql = str(made)
        self._given: list[tuple[str, Convert | None]] = [(name, types[name].bind_processor(dialect)) for name in names]
        self._fixed = {name: made.binds[name].value for name in names if not made.binds[name].required}

    def values(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        all_given = {**self._fixed, **given}
        return tuple(all_given[name] if convert is None else convert(all_given[name]) for name, convert in self._given)


class Compiled(Statement):
    """One whose rows have attributes of a mapped class."""

    def __init__(
        self, mapped: type[Base], asked: Sequence[ColumnProperty[Any]], statement: Select[Any], dialect: Dialect
    ) -> None:
        super().__init__(statement, dialect)
        self.row = _row_of(mapped, asked, dialect)


class Plain(Statement):
    """One whose rows are tuples."""

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        super().__init__(statement, dialect)
        self._converts = [_result(column.type, dialect) for column in statement.selected_columns]

    def row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple([value if convert is None else convert(value) for value, convert in zip(row, self._converts, strict=True)])


def _result(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """What makes a value of what the driver gives; for a float nothing does, and PostgreSQL's types would ask for its code."""
    return None if isinstance(kind, Float) else kind.dialect_impl(dialect).result_processor(dialect, None)


def _row_of(mapped: type[Base], asked: Sequence[ColumnProperty[Any]], dialect: Dialect) -> type[tuple[Any, ...]]:
    """A tuple with attributes of the mapped class, each converted when it is read; to `isinstance` it is of that class."""
    attributes: dict[str, Any] = {"__slots__": (), "__class__": mapped}
    for i, attribute in enumerate(asked):
        convert = _result(attribute.columns[0].type, dialect)
        attributes[attribute.key] = property(itemgetter(i) if convert is None else _converting(i, convert))
    return type(f"{mapped.__name__}Row", (tuple,), attributes)


def _converting(i: int, convert: Convert) -> Convert:
    return lambda row: convert(row[i])


class Reader:
    """Runs queries over an engine that only reads."""

    def __init__(self, engine: AsyncEngine, longest: int = LONGEST) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT") if engine.name != "sqlite" else engine
        path = engine.url.database if engine.name == "sqlite" else None
        self._near = _Near(path, longest) if path and path != ":memory:" else None

    async def all(self, query: Query[M], columns: Columns = None, **given: Any) -> list[M]:
        """The rows, read only. Columns of `M`, those asked for, are the attributes of a row; nothing else of `M` is."""
        compiled = query.compiled(self._engine.dialect, columns)
        return [cast(M, compiled.row(row)) for row in await self._rows(compiled, given)]

    async def look(self, look: Look, **given: Any) -> list[tuple[Any, ...]]:
        """The rows."""
        compiled = look.compiled(self._engine.dialect)
        return [compiled.row(row) for row in await self._rows(compiled, given)]

    async def _rows(self, statement: Statement, given: Mapping[str, Any]) -> Sequence[Any]:
        values = statement.values(given)
        found: Sequence[Any] | None = self._near.fetch(statement.sql, values) if self._near else None
        return await self._far(statement.sql, values) if found is None else found

    async def _far(self, sql: str, values: tuple[Any, ...]) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            return (await connection.exec_driver_sql(sql, values)).all()

    async def first(self, query: Query[M], columns: Columns = None, **given: Any) -> M | None:
        """The first row, if there is one."""
        found = await self.all(query, columns, **given)
        return found[0] if found else None

    def close(self) -> None:
        if self._near is not None:
            self._near.close()


class _Near:
    """A connection in the caller's own thread, opened at its first use, which never waits."""

    def __init__(self, path: str, longest: int) -> None:
        self._path = path
        self._longest = longest
        self._connection: sqlite3.Connection | None = None
        self._steps = 0

    def fetch(self, sql: str, values: tuple[Any, ...]) -> list[Any] | None:
        """The rows; None where this would take too long, or a lock is in the way."""
        self._steps = 0
        try:
            with closing(self._open().execute(sql, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.OperationalError:
            return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            made = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            made.execute("PRAGMA query_only=ON")
            made.set_progress_handler(self._count, STEP)
            self._connection = made
        return self._connection

    def _count(self) -> bool:
        self._steps += 1
        return self._steps > self._longest

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
