"""One statement for many rows. SQLAlchemy's own way looks at each value of each row several times; this is the shortest one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import Dialect, Insert, Table, Update, bindparam, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement's text, and for each of its parameters the member of a row it is taken from and how the driver wants it."""

    text: str
    parameters: tuple[tuple[str, Callable[[Any], Any] | None], ...]

    def bound(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple([row[name] if adapt is None else adapt(row[name]) for name, adapt in self.parameters])


async def insert_all(connection: AsyncConnection, table: Table, rows: Rows, columns: Mapping[str, str] | None = None) -> None:
    """Rows of one shape; `columns` tells where their members are called otherwise than their columns."""
    if rows:
        names = tuple((name, columns[name] if columns else name) for name in rows[0])
        prepared = _inserting(table, names, _Engine(connection.dialect))
        await connection.exec_driver_sql(prepared.text, [prepared.bound(row) for row in rows])


async def update_all(connection: AsyncConnection, table: Table, names: tuple[str, ...], rows: Rows) -> None:
    """Update each row that is named by its `names` with the rest of what is given; those of one shape in one statement."""
    shapes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        shapes.setdefault(tuple(row), []).append(row)
    for keys, alike in shapes.items():
        prepared = _updating(table, names, keys, _Engine(connection.dialect))
        await connection.exec_driver_sql(prepared.text, [prepared.bound(row) for row in alike])


def padded(values: Sequence[str]) -> list[str]:
    """`values` for a list in a statement, the last repeated up to a power of two: of few lengths, a database knows them all."""
    size = 1 << (len(values) - 1).bit_length() if values else 0
    return [*values, *[values[-1]] * (size - len(values))]


class _Engine:
    """A dialect, equal to every other of its kind."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Engine) and other.dialect.name == self.dialect.name

    def __hash__(self) -> int:
        return hash(self.dialect.name)


@cache
def _inserting(table: Table, names: tuple[tuple[str, str], ...], engine: _Engine) -> _Prepared:
    members = {column: name for name, column in names}
    made = insert(table).values({column: bindparam(column, type_=table.c[column].type) for column in members})
    prepared = _prepared(made, table, engine)
    return replace(prepared, parameters=tuple((members[column], adapt) for column, adapt in prepared.parameters))


@cache
def _updating(table: Table, names: tuple[str, ...], keys: tuple[str, ...], engine: _Engine) -> _Prepared:
    given = {key: bindparam(key, type_=table.c[key].type) for key in keys}
    mine = [table.c[name] == bindparam(f"k_{name}") for name in names]
    values = {key: value for key, value in given.items() if key not in names}
    return _prepared(update(table).where(*mine).values(values), table, engine)


def _prepared(statement: Insert | Update, table: Table, engine: _Engine) -> _Prepared:
    dialect = engine.dialect
    compiled = statement.compile(dialect=dialect)
    order = [name.removeprefix("k_") for name in compiled.positiontup or ()]
    adapted = {name: table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in order}
    return _Prepared(compiled.string, tuple((name, adapted[name]) for name in order))
