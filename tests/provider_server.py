"""A loopback HTTP server that plays any provider: it records what it was sent and answers from a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from channels.base import Inbound, Report
from channels.egress import Egress
from channels.http import Http
from channels.wire import CONNECT_TIMEOUT, TOTAL_TIMEOUT, Wire


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived. `path` is as it was on the wire, percent signs and all; header names are lower-case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)


@dataclass(frozen=True)
class Reply:
    """An answer: `json` wins over `body`. With `stall` the body stops half-way and the line stays silent."""

    status: int = 200
    json: Any = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    stall: bool = False

    def content(self) -> bytes:
        return json.dumps(self.json).encode() if self.json is not None else self.body


@dataclass(frozen=True)
class Garbage:
    """Bytes that are no HTTP, then the end of the connection."""

    data: bytes = b"\x00\xff not HTTP at all\r\n\r\n"


@dataclass(frozen=True)
class Silence:
    """The request is read and never answered."""


@dataclass(frozen=True)
class Reset:
    """The connection is reset: when it is made, or after the request was read."""

    on_connect: bool = False


Action = Reply | Garbage | Silence | Reset | Callable[[Recorded], Reply]


class ProviderServer:
    """`async with ProviderServer() as provider`: `provider.url` is its base URL.

    A request is answered by the first that is there: the next action of `on(method, path, …)`, the next of `script`,
    then `default`. The last action given to `on` stays; the script is used up.
    """

    def __init__(self, *script: Action, default: Action | None = None) -> None:
        self.script: deque[Action] = deque(script)
        self.default: Action = default or Reply(500, {"unscripted": True})
        self.requests: list[Recorded] = []
        self.connections = 0
        self._routes: dict[tuple[str, str], deque[Action]] = {}
        self._closing = asyncio.Event()
        self._http = web.Server(self._handle, access_log=None)
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> ProviderServer:
        self._listener = await asyncio.get_running_loop().create_server(self._protocol, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener
        self._closing.set()
        self._listener.close()
        await self._http.shutdown(timeout=0.05)  # what is kept alive is waited for that long

    @property
    def port(self) -> int:
        assert self._listener
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, *actions: Action) -> None:
        """Add to the script."""
        self.script.extend(actions)

    def on(self, method: str, path: str, *actions: Action) -> None:
        """Answer requests for this path (without its query) with these actions in turn, then for ever with the last."""
        self._routes[method, path] = deque(actions)

    def _protocol(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if self.script and self.script[0] == Reset(on_connect=True):
            self.script.popleft()
            return _Refuser()
        return self._http()

    def _next(self, request: Recorded) -> Action:
        if route := self._routes.get((request.method, request.path)):
            return route.popleft() if len(route) > 1 else route[0]
        return self.script.popleft() if self.script else self.default

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        recorded = await _record(request)
        self.requests.append(recorded)
        action = self._next(recorded)
        if callable(action):
            action = action(recorded)
        return await self._act(request, action)

    async def _act(self, request: web.BaseRequest, action: Any) -> web.StreamResponse:
        match action:
            case Reply():
                return await self._reply(request, action)
            case Garbage(data):
                assert request.transport
                request.transport.write(data)
                request.transport.close()
            case Silence():
                await self._closing.wait()
            case Reset():
                _reset(request.transport)
        return web.Response()

    async def _reply(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        await asyncio.sleep(reply.delay)
        kind = {} if reply.json is None else {"Content-Type": "application/json"}
        if not reply.stall:
            return web.Response(status=reply.status, body=reply.content(), headers={**kind, **reply.headers})
        response = web.StreamResponse(status=reply.status, headers={**kind, **reply.headers})
        response.content_length = len(reply.content()) + 1
        await response.prepare(request)
        await response.write(reply.content())
        await self._closing.wait()
        return response


async def _record(request: web.BaseRequest) -> Recorded:
    headers = {name.lower(): value for name, value in request.headers.items()}
    path = request.raw_path.partition("?")[0]
    return Recorded(request.method, path, dict(request.query), headers, await request.read())


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """Close with RST: without lingering the peer sees a reset, not an end."""
    assert isinstance(transport, asyncio.Transport)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Refuser(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _reset(transport)


def patience(action: Action) -> float:
    """A total timeout in seconds: short where the answer never comes, else long enough for a busy machine."""
    return 0.3 if isinstance(action, Silence) or (isinstance(action, Reply) and (action.stall or action.delay)) else 10.0


@contextlib.asynccontextmanager
async def open_wire(
    egress: Egress | None = None,
    *,
    callback_url: str | None = None,
    total_timeout: float = TOTAL_TIMEOUT,
    connect_timeout: float = CONNECT_TIMEOUT,
    reports: list[Report | Inbound] | None = None,
) -> AsyncIterator[Wire]:
    """A wire with a session of its own that may reach loopback, unless `egress` says otherwise."""
    kept = reports if reports is not None else []

    async def report(one: Report | Inbound) -> None:
        kept.append(one)

    egress = egress or Egress(allow_private=True)
    async with Http(egress) as http:
        yield Wire(http, egress, report, callback_url, total_timeout, connect_timeout)
