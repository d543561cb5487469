"""A client of graphql-transport-ws that a test leads by the hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import websockets
from toy_api import AUTHORIZED, Api
from websockets.asyncio.client import ClientConnection, connect

from gateway.connection import Patience

PROTOCOL = "graphql-transport-ws"
QUICK = Patience(init_timeout=0.1, ping_interval=30, max_message=10_000, max_operations=5)


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), 5))

    async def init(self, **payload: Any) -> None:
        await self.say({"type": "connection_init", "payload": payload or dict(AUTHORIZED)})
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, name: str, query: str, **rest: Any) -> None:
        await self.say({"id": name, "type": "subscribe", "payload": {"query": query, **rest}})

    async def next(self, name: str) -> Any:
        message = await self.hear()
        assert (message["id"], message["type"]) == (name, "next")
        return message["payload"]

    async def error(self, name: str) -> Any:
        message = await self.hear()
        assert (message["id"], message["type"]) == (name, "error")
        (entry,) = message["payload"]
        return entry

    async def closed(self) -> tuple[int | None, str | None]:
        """The code and reason of the close, after whatever was still to hear."""
        with contextlib.suppress(websockets.ConnectionClosed):
            async with asyncio.timeout(5):
                while True:
                    await self.socket.recv()
        return self.socket.close_code, self.socket.close_reason

    async def is_alive(self) -> bool:
        await self.say({"type": "ping", "payload": {"still": "there"}})
        return bool(await self.hear() == {"type": "pong", "payload": {"still": "there"}})


@contextlib.asynccontextmanager
async def visiting(
    api: Api, subprotocol: str | None = PROTOCOL, origin: str | None = None, **rest: Any
) -> AsyncIterator[Client]:
    protocols = [subprotocol] if subprotocol else None
    url = api.url.replace("http", "ws")
    async with connect(url, subprotocols=protocols, origin=origin, close_timeout=1, compression=None, **rest) as socket:
        yield Client(socket)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
