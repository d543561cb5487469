"""uvicorn's HTTP, which writes an answer with one call of the kernel: one more costs as much as the rest of a small request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WholeProtocol(HttpToolsProtocol):
    """It writes the head and the body together."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = Joining(transport, self.loop)

    def handle_websocket_upgrade(self) -> None:
        """A websocket gets the transport as it is."""
        assert isinstance(self.transport, Joining)
        self.transport = self.transport.whole
        super().handle_websocket_upgrade()


class Joining(asyncio.Transport):
    """`whole`, with what is written in one turn of the loop written at its end."""

    def __init__(self, whole: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.whole = whole
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self.whole.is_closing():
            self.whole.writelines(held)

    def close(self) -> None:
        self._flush()
        self.whole.close()

    def is_closing(self) -> bool:
        return self.whole.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.whole.get_extra_info(name, default)

    def abort(self) -> None:
        self._held.clear()
        self.whole.abort()
