"""The event log: dense numbers in commit order, and a filter that means the same in SQL and in Python."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from models import events, workspaces
from models.database import Database
from models.events import CHANNEL, MESSAGE, Event, Filter, Floor, NewEvent, Pattern
from models.workspaces import Workspace
from tests.harness import database_of, settings_for

TYPES = [
    (MESSAGE, "email.sent", "EMAIL"),
    (MESSAGE, "email.failed", "EMAIL"),
    (MESSAGE, "sms.sent", "SMS"),
    (MESSAGE, "sms.receipt", "SMS"),
    (MESSAGE, "whatsapp.delivered", "WHATSAPP"),
    (CHANNEL, "channel.created", "EMAIL"),
    (CHANNEL, "channel.updated", "SMS"),
]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = settings_for(tmp_path)
    async with database_of(settings):
        opened = Database(settings.database_url)
        yield opened
        await opened.close()


async def workspace(database: Database, name: str = "demo") -> Workspace:
    async with database.write() as session:
        return await workspaces.create(session, name)


def new(
    workspace_id: str, kind: str = MESSAGE, type: str = "sms.sent", channel: str = "SMS", subject: str = "msg_1"
) -> NewEvent:
    return NewEvent(workspace_id=workspace_id, kind=kind, type=type, subject_id=subject, channel_type=channel)


async def write(database: Database, *given: NewEvent) -> None:
    async with database.write() as session:
        for one in given:
            events.record(session, one)


async def numbers(database: Database, workspace_id: str) -> list[int]:
    async with database.read() as session:
        return [event.seq for event in await events.after(session, workspace_id, 0, 10_000)]


async def test_numbers_are_dense_and_per_workspace(database: Database) -> None:
    one, two = await workspace(database, "one"), await workspace(database, "two")

    async def writer() -> None:
        for _ in range(5):
            chosen = random.choice([[one.id], [two.id], [two.id, one.id], [one.id, one.id, two.id]])
            await write(database, *(new(workspace_id) for workspace_id in chosen))
            if random.random() < 0.3:
                with pytest.raises(LookupError):
                    async with database.write() as session:
                        events.record(session, new(one.id))
                        raise LookupError

    await asyncio.gather(*(writer() for _ in range(10)))
    for workspace_id in (one.id, two.id):
        found = await numbers(database, workspace_id)
        assert await events.newest(database.reader, workspace_id) == len(found)
        assert found == list(range(1, len(found) + 1)) and found
        async with database.read() as session:
            assert await events.head(session, workspace_id) == len(found)


async def test_a_reader_never_sees_a_gap(database: Database) -> None:
    mine = await workspace(database)
    done = asyncio.Event()

    async def reader() -> list[int]:
        seen: list[int] = []
        while not done.is_set() or len(seen) < 100:
            async with database.read() as session:
                seen += [event.seq for event in await events.after(session, mine.id, seen[-1] if seen else 0, 7)]
            await asyncio.sleep(0)
        return seen

    reading = asyncio.create_task(reader())
    await asyncio.gather(*(write(database, new(mine.id)) for _ in range(100)))
    done.set()
    assert await asyncio.wait_for(reading, 10) == list(range(1, 101))


async def test_a_workspace_that_is_not_there_has_no_log(database: Database) -> None:
    with pytest.raises(LookupError):
        await write(database, new("wsp_none"))
    async with database.read() as session:
        assert (await events.head(session, "wsp_none"), await events.oldest(session, "wsp_none")) == (0, 1)
        assert await events.newest(database.reader, "wsp_none") == 0
        assert await events.after(session, "wsp_none", 0, 10) == []


async def test_reading(database: Database) -> None:
    mine = await workspace(database)
    await write(database, *(new(mine.id, subject=f"msg_{i % 3}") for i in range(9)))
    async with database.read() as session:
        assert [event.seq for event in await events.after(session, mine.id, 4, 3)] == [5, 6, 7]
        assert [event.seq for event in await events.of_subjects(session, mine.id, ["msg_0", "msg_2"])] == [1, 3, 4, 6, 7, 9]
        newest = await events.latest_of(session, mine.id, "msg_1", 7)
        assert newest is not None and newest.seq == 5
        assert await events.latest_of(session, mine.id, "msg_1", 1) is None
        assert await events.latest_of(session, "wsp_other", "msg_1", 9) is None


async def test_a_filter_means_the_same_in_sql_and_in_python(database: Database) -> None:
    mine = await workspace(database)
    await write(database, *(new(mine.id, kind, type, channel) for kind, type, channel in TYPES))
    async with database.read() as session:
        everything = list(await events.after(session, mine.id, 0, 100))
    for text, expected in {
        "email.sent": ["email.sent"],
        "EMAIL_SENT": ["email.sent"],
        " sms.* ": ["sms.sent", "sms.receipt"],
        "sms_*": ["sms.sent", "sms.receipt"],
        "message.sent": ["email.sent", "sms.sent"],
        "message.re*": ["sms.receipt"],
        "channel.*": ["channel.created", "channel.updated"],
        "*.sent": [],
        "e%": [],
        "": [],
        "s*": ["sms.sent", "sms.receipt"],
        "channel.update": [],
    }.items():
        where = Filter(patterns=[Pattern.parse(text)], message_channels=["EMAIL", "SMS", "WHATSAPP"])
        assert [event.type for event in everything if where.matches(event)] == expected, text
    texts = [
        "*",
        "m*",
        "message*",
        "message.*",
        "message.",
        "message",
        "email.*",
        "e*.sent",
        "%",
        "_",
        "sms_",
        "c*",
        "*.*",
        ".",
    ]
    for text in texts:
        for channels, status in ((["SMS"], True), (["EMAIL", "SMS"], False), ([], True)):
            where = Filter(patterns=[Pattern.parse(text)], message_channels=channels, kinds=[CHANNEL] if status else [])
            async with database.read() as session:
                found = await events.page(session, mine.id, where, 0, 100)
            assert [event.seq for event in found] == [event.seq for event in everything if where.matches(event)], text


@given(st.text(max_size=30))
def test_any_text_is_a_pattern(text: str) -> None:
    pattern = Pattern.parse(text)
    event = Event(kind=MESSAGE, type="sms.sent", channel_type="SMS")
    assert pattern.matches(event) in (True, False)
    pattern.clause()


async def test_no_pattern_is_everything_and_none_is_nothing(database: Database) -> None:
    mine = await workspace(database)
    await write(database, *(new(mine.id, kind, type, channel) for kind, type, channel in TYPES))
    for patterns, count in ((None, 7), ([], 0)):
        where = Filter(patterns=patterns, message_channels=["EMAIL", "SMS", "WHATSAPP"])
        async with database.read() as session:
            assert len(await events.page(session, mine.id, where, 0, 100)) == count


async def test_the_oldest_number_is_remembered(database: Database) -> None:
    mine = await workspace(database)
    await write(database, *(new(mine.id) for _ in range(5)))
    async with database.write() as session:
        await session.execute(delete(Event).where(Event.workspace_id == mine.id, Event.seq < 4))
        session.add(Floor(workspace_id=mine.id, oldest=4))
    async with database.read() as session:
        assert await events.oldest(session, mine.id) == 4
    await write(database, new(mine.id))
    assert await numbers(database, mine.id) == [4, 5, 6]
