"""uvicorn's websockets, made for thousands of subscribers: frames go straight to the transport, and who waits takes little
memory."""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

EXTENSION = "patchbay.websocket.frame"


class Gate:
    """An `asyncio.Event` that exists only while it is unset: it takes a kilobyte, and nearly every socket can be written to."""

    __slots__ = ("_shut",)

    def __init__(self) -> None:
        self._shut: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._shut is None

    def clear(self) -> None:
        self._shut = self._shut or asyncio.Event()

    def set(self) -> None:
        if self._shut is not None:
            self._shut.set()
        self._shut = None

    async def wait(self) -> None:
        if self._shut is not None:
            await self._shut.wait()


class Inbox:
    """As much of an `asyncio.Queue`, which takes three kilobytes, as one reader needs."""

    __slots__ = ("_arrived", "_messages")

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._arrived: asyncio.Future[None] | None = None

    def empty(self) -> bool:
        return not self._messages

    def put_nowait(self, message: Any) -> None:
        self._messages.append(message)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def get(self) -> Any:
        while not self._messages:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        return self._messages.pop(0)


class DirectProtocol(WebSocketsSansIOProtocol):
    """They offer in `scope["extensions"]` to write frames that are ready for the wire."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.queue = Inbox()  # type: ignore[assignment]
        self.writable = Gate()  # type: ignore[assignment]

    def write_frame(self, frame: bytes) -> bool:
        """Write it, unless the client is slower than its buffer or gone: then send what it says as ASGI does, and wait."""
        if not self.writable.is_set() or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    async def run_asgi(self) -> None:
        """A compressed connection has frames of its own."""
        if not self.conn.extensions:
            offered: dict[Any, Any] = self.scope.setdefault("extensions", {})
            offered[EXTENSION] = self.write_frame
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """Headers are let go once the socket is accepted: nobody looks at them again, and they would stay as long as it."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.request.headers.clear()
            self.response.headers.clear()
            self.scope["headers"] = []
