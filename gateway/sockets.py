"""GraphQL over websockets: subscriptions, queries and mutations by graphql-transport-ws, on plain ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import structlog
from starlette.types import Receive, Scope, Send

from gateway.connection import Connection, Patience
from gateway.direct import EXTENSION
from gateway.frames import SUBPROTOCOL
from gateway.http import Authenticate, MakeContext, Meter, unmetered
from gateway.origins import Origins
from gateway.tracing import request_id
from resolvers.viewer import Viewer
from schema.engine import Engine

_GOODBYE_SECONDS = 5.0


class GraphQLSockets:
    """Serves websockets on the GraphQL path.

    `authenticate` is given the string values of the `connection_init` payload by lower-case name, and the viewer's
    `expires_at` ends the socket; `make_context` is called once for each operation and each event. Times are in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        authenticate: Authenticate,
        make_context: MakeContext,
        *,
        origins: Iterable[str] = (),
        patience: Patience | None = None,
        meter: Meter = unmetered,
    ) -> None:
        self._engine = engine
        self._authenticate = authenticate
        self._make_context = make_context
        self._origins = Origins(origins)
        self._patience = patience or Patience()
        self._meter = meter
        self._open: set[Connection] = set()
        self._closing = False
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def operations(self) -> int:
        """How many operations run on all sockets."""
        return sum(connection.operations for connection in self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if not self._admits(scope):
            await send({"type": "websocket.close", "code": 1008})
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4406, "reason": "Only graphql-transport-ws is spoken here."})
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        await self._serve(receive, send, scope.get("extensions", {}).get(EXTENSION))

    def _admits(self, scope: Scope) -> bool:
        """Whether it may come in, and by what name the log knows it."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        name = request_id(headers.get("x-request-id"))
        structlog.contextvars.bind_contextvars(request_id=name)  # never unbound: a socket has a task of its own
        return not self._closing and self._origins.admits(headers.get("origin"), headers.get("host"))

    async def _serve(self, receive: Receive, send: Send, write: Callable[[bytes], bool] | None) -> None:
        means = (self._engine, self._authenticate, self._make_context, self._meter)
        connection = Connection(*means, self._patience, receive, send, write)
        self._open.add(connection)
        try:
            with suppress(OSError):  # the client is gone
                await connection.run()
        finally:
            self._open.discard(connection)
            if not self._open:
                self._left.set()

    @property
    def viewers(self) -> Iterator[Viewer]:
        """Who is connected; one with several sockets comes several times."""
        return (connection.viewer for connection in self._open if connection.viewer is not None)

    def close_where(self, matches: Callable[[Viewer], bool], reason: str) -> None:
        """Close the sockets of some viewers (4403): of a key that was revoked, of a role that changed."""
        for connection in list(self._open):
            if connection.viewer is not None and matches(connection.viewer):
                connection.close(4403, reason)

    async def close_all(self) -> None:
        """Tell every client to come back elsewhere (1012), accept no more, and wait until the sockets are closed."""
        self._closing = True
        for connection in list(self._open):
            connection.close(1012, "The server is restarting.")
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                while self._open:
                    self._left.clear()
                    await self._left.wait()
