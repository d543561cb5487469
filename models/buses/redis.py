"""Hints over Redis."""

from __future__ import annotations

import asyncio

from broadcaster import BroadcastBackend, Event
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from models.bell import CHANNEL, CONNECT_TIMEOUT, LOST, PUBLISH_TIMEOUT


class RedisBackend(BroadcastBackend):
    """Unlike broadcaster's own it leaves no task behind when it cannot connect, and says so when the connection is lost."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            retry=Retry(NoBackoff(), 0),
            socket_timeout=PUBLISH_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
        )
        self._ears = self._client.pubsub(ignore_subscribe_messages=True)
        self._listening = asyncio.Event()

    async def connect(self) -> None:
        try:
            await self._ears.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        await self._ears.aclose()  # type: ignore[no-untyped-call]
        await self._client.aclose()

    async def subscribe(self, group: str) -> None:
        await self._ears.subscribe(group)
        self._listening.set()

    async def unsubscribe(self, group: str) -> None:
        """The connection is about to be closed, and may not answer."""

    async def publish(self, channel: str, message: str) -> None:
        await self._client.publish(channel, message)

    async def next_published(self) -> Event:
        await self._listening.wait()
        try:
            while (message := await self._ears.get_message(timeout=None)) is None:
                pass
        except (RedisError, OSError):
            self._listening.clear()
            return Event(CHANNEL, LOST)
        return Event(message["channel"], message["data"])
