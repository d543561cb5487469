"""Cursors: opaque, signed, bound to their list."""

from __future__ import annotations

import base64
import datetime as dt
import os

import pytest

from models.vault import Vault
from resolvers.cursors import LONGEST, Cursors
from resolvers.problems import Problem, RequestErrorCode

KEY, OLD = os.urandom(32), os.urandom(32)
CURSORS = Cursors(Vault({"k": KEY}, "k"))
AT = dt.datetime(2026, 2, 21, 10, 0, 0, 123456, dt.UTC)
POSITION = (0, AT, "con_1")


def refusal(cursor: str, scope: str = "list") -> Problem:
    with pytest.raises(Problem) as caught:
        CURSORS.open(scope, cursor, ["before"])
    return caught.value


def test_a_cursor_brings_back_its_position() -> None:
    cursor = CURSORS.seal("list", POSITION)
    assert CURSORS.open("list", cursor) == POSITION
    assert cursor.isascii() and not set(cursor) & set("+/=")


def test_every_changed_bit_is_noticed() -> None:
    raw = base64.urlsafe_b64decode(CURSORS.seal("list", POSITION) + "==")
    for i in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[i // 8] ^= 1 << i % 8
        assert refusal(base64.urlsafe_b64encode(forged).decode().rstrip("=")).code is RequestErrorCode.INVALID_CURSOR


@pytest.mark.parametrize("text", ["", "x", "é", "\0", "....", "%00", "a" * LONGEST, "a" * (LONGEST + 1), "AAAA" * 8])
def test_what_is_no_cursor_is_refused_naming_the_argument(text: str) -> None:
    problem = refusal(text)
    assert (problem.code, problem.message, problem.field, problem.http_status) == (
        RequestErrorCode.INVALID_CURSOR,
        "The cursor is not one of this list.",
        ["before"],
        400,
    )


def test_a_cursor_of_another_list_is_refused() -> None:
    assert refusal(CURSORS.seal("other", POSITION)).code is RequestErrorCode.INVALID_CURSOR


def test_a_scope_cannot_run_over_into_the_position() -> None:
    cursor = CURSORS.seal("list\n[1]", (2,))
    assert refusal(cursor, "list").code is RequestErrorCode.INVALID_CURSOR


def test_a_cursor_survives_a_change_of_keys_but_not_the_loss_of_its_own() -> None:
    cursor = Cursors(Vault({"old": OLD}, "old")).seal("list", POSITION)
    assert Cursors(Vault({"k": KEY, "old": OLD}, "k")).open("list", cursor) == POSITION
    assert refusal(cursor).code is RequestErrorCode.INVALID_CURSOR
