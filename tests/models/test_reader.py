"""Rows read in one step are what the session would have read, and a read that turns out long does not hold up its thread."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import bindparam, inspect, text

from models import messages
from models.messages import Message
from models.paging import Window
from models.reader import KEPT, Query, Reader
from tests.harness import POSTGRESQL, Gateway
from tests.resolvers.test_message_lists import gateway as gateway  # one that sends nothing
from tests.resolvers.test_message_lists import store

VALUES = [
    {"to": "+1", "details": {"a": [1, None]}, "media": [{"url": "x"}], "segments": 2, "is_pinned": True},
    {"to": "+2", "subject": 'é"', "failure": {"code": "X"}, "status": "FAILED"},
    {"to": "+3"},
]
EVERYTHING = Query(Message, lambda found: found.where(text("1=1")))


async def test_a_row_has_the_attributes_of_an_entity(gateway: Gateway) -> None:
    await store(gateway, *VALUES)
    database, workspace_id = gateway.application.database, gateway.demo.id
    rows = await messages.newest(database.reader, workspace_id, Window(10))
    async with gateway.read() as session:
        entities = await messages.page(session, workspace_id, messages.Filter(), Window(10))
    keys = [attribute.key for attribute in inspect(Message).column_attrs]
    assert [[getattr(row, key) for key in keys] for row in rows] == [[getattr(e, key) for key in keys] for e in entities]
    assert all(isinstance(row, Message) for row in rows)
    with pytest.raises(AttributeError):
        rows[0].status = "SENT"


@pytest.mark.parametrize("backwards", [False, True])
async def test_windows(gateway: Gateway, backwards: bool) -> None:
    ids = await store(gateway, *({"to": str(i)} for i in range(6)))
    database = gateway.application.database
    for window in (
        Window(2, backwards=backwards),
        Window(2, after=(ids[4],), backwards=backwards),
        Window(2, before=(ids[1],), backwards=backwards),
        Window(9, (ids[5],), (ids[0],), backwards),
    ):
        found = await messages.newest(database.reader, gateway.demo.id, window)
        async with gateway.read() as session:
            expected = await messages.page(session, gateway.demo.id, messages.Filter(), window)
        assert [row.id for row in found] == [row.id for row in expected]


async def test_another_workspaces_rows_are_missing(gateway: Gateway) -> None:
    other = await gateway.workspace("other")
    (message_id,) = await store(gateway, {"to": "+1"}, workspace=other)
    found = gateway.application.database.reader
    assert await messages.shown(found, gateway.demo.id, message_id) is None
    assert await messages.newest(found, gateway.demo.id, Window(5)) == []
    shown = await messages.shown(found, other.id, message_id)
    assert shown is not None
    assert shown.id == message_id


async def test_what_was_committed_is_seen_at_once(gateway: Gateway) -> None:
    for i in range(5):
        await store(gateway, {"to": str(i)})
        found = await messages.newest(gateway.application.database.reader, gateway.demo.id, Window(1))
        assert found[0].to == str(i)


@pytest.mark.skipif(bool(POSTGRESQL), reason="only SQLite reads in its caller's thread")
async def test_a_long_read_is_left_to_the_engines_threads(gateway: Gateway) -> None:
    await store(gateway, *({"to": str(i)} for i in range(60)))
    impatient = Reader(gateway.application.database._readers, longest=0)
    assert impatient._near is not None
    assert len(impatient._near.fetch("SELECT id FROM message LIMIT 5", ()) or ()) == 5
    assert impatient._near.fetch("SELECT a.id FROM message a, message b", ()) is None
    assert len(await impatient.all(EVERYTHING)) == 60
    impatient.close()


@pytest.mark.skipif(bool(POSTGRESQL), reason="only SQLite reads in its caller's thread")
async def test_the_connection_cannot_write(gateway: Gateway) -> None:
    await store(gateway, {"to": "+1"})
    found = gateway.application.database.reader
    assert found._near is not None
    assert found._near.fetch("DELETE FROM message", ()) is None
    assert len(await asyncio.gather(*(found.all(EVERYTHING) for _ in range(20)))) == 20
    assert [row.to for row in await found.all(EVERYTHING)] == ["+1"]


async def test_what_is_given_must_be_named(gateway: Gateway) -> None:
    one = Query(Message, lambda found: found.where(Message.id == bindparam("id")))
    assert await gateway.application.database.reader.first(one, id="msg_none") is None
    with pytest.raises(KeyError):
        await gateway.application.database.reader.first(one)


async def test_a_row_has_the_columns_that_were_asked_for(gateway: Gateway) -> None:
    (message_id,) = await store(gateway, VALUES[1])
    reader, columns = gateway.application.database.reader, frozenset({"subject", "created_at", "no column"})
    row = await messages.shown(reader, gateway.demo.id, message_id, columns)
    whole = await messages.shown(reader, gateway.demo.id, message_id)
    assert row is not None and whole is not None
    assert isinstance(row, Message)
    assert (row.subject, row.created_at) == ('é"', whole.created_at)
    with pytest.raises(AttributeError):
        _ = row.to


async def test_few_statements_are_kept(gateway: Gateway) -> None:
    (message_id,) = await store(gateway, VALUES[0])
    reader = gateway.application.database.reader
    keys = [attribute.key for attribute in inspect(Message).column_attrs]
    query = Query(Message, lambda found: found.where(text("1=1")))
    for first in keys:
        for second in keys[:12]:
            found = await reader.first(query, frozenset({"id", first, second}))
            assert found is not None and found.id == message_id
    assert len(query._compiled) <= KEPT
