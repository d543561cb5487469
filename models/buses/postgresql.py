"""Hints over PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

import asyncio

import asyncpg  # type: ignore[import-untyped]
from broadcaster import BroadcastBackend, Event

from models.bell import CHANNEL, LOST


class PostgresBackend(BroadcastBackend):
    """Unlike broadcaster's own it says so when the connection is lost, and never waits for a server that is."""

    _connection: asyncpg.Connection

    def __init__(self, url: str) -> None:
        self._url = url
        self._heard: asyncio.Queue[Event] = asyncio.Queue()

    async def connect(self) -> None:
        self._connection = await asyncpg.connect(self._url)
        self._connection.add_termination_listener(lambda _: self._heard.put_nowait(Event(CHANNEL, LOST)))

    async def disconnect(self) -> None:
        self._connection.terminate()

    async def subscribe(self, group: str) -> None:
        await self._connection.add_listener(group, self._hear)

    async def unsubscribe(self, group: str) -> None:
        """The connection is about to be closed, and may not answer."""

    async def publish(self, channel: str, message: str) -> None:
        await self._connection.execute("SELECT pg_notify($1, $2)", channel, message)

    async def next_published(self) -> Event:
        return await self._heard.get()

    def _hear(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._heard.put_nowait(Event(channel, str(payload)))
