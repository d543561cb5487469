"""Times as SQLite keeps them: a text that sorts, always in UTC, and made aware again."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy.dialects import sqlite

from models.base import Instant

CEST = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (dt.datetime(2026, 2, 21, 10, 0, tzinfo=dt.UTC), "2026-02-21 10:00:00.000000"),
        (dt.datetime(2026, 2, 21, 10, 0, 0, 7, CEST), "2026-02-21 08:00:00.000007"),
        (None, None),
    ],
)
def test_a_time_is_kept_and_read(value: dt.datetime | None, kept: str | None) -> None:
    bind, read = Instant().bind_processor(sqlite.dialect()), Instant().result_processor(sqlite.dialect(), None)
    assert bind is not None and read is not None
    assert bind(value) == kept
    found = read(kept)
    assert found == value and (found is None or found.tzinfo is dt.UTC)


def test_a_naive_time_has_no_place() -> None:
    bind = Instant().bind_processor(sqlite.dialect())
    assert bind is not None
    with pytest.raises(ValueError, match=r"^a naive time has no place in the database$"):
        bind(dt.datetime(2026, 2, 21, 10, 0))
