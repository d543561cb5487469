"""HTTP requests over aiohttp's connections.

aiohttp resolves, connects, speaks TLS, keeps connections and parses answers. What its ClientSession does around that for any
client there may be (redirects, cookies, proxies, kinds of payload, a task to write each body) costs as much again as all of
this, and would be done for every message.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from channels.answers import Answer
from channels.egress import Egress

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

DEFAULTS = {"user-agent": "User-Agent: Patchbay/0.1", "accept": "Accept: */*", "accept-encoding": "Accept-Encoding: identity"}
FRAMING = frozenset({"host", "connection", "content-length", "transfer-encoding"})  # who sets them can make two requests of one
SAFE = frozenset({"GET", "HEAD"})
BODY_LIMIT = 64 * 1024
KEEP_ADDRESSES_SECONDS = 30
ORIGINS = 1_000
SWITCHING_PROTOCOLS = 101

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_UNSENDABLE = re.compile(r"[\0\r\n]")


@dataclass(frozen=True, slots=True)
class Request:
    """Of the answer's body, `body_limit` bytes are kept."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None
    body_limit: int = BODY_LIMIT


class Trip(Trace):
    """Is told of the steps of a request: those of aiohttp's Trace while a connection is made, and `leave`."""

    def leave(self) -> None:
        """From now on bytes of the request may have left."""


class Http:
    """Requests without redirects, cookies and proxies. Addresses are checked at the socket. Closed by `close`, or as a context
    manager."""

    def __init__(
        self, egress: Egress, resolver: AbstractResolver | None = None, limit: int = 0, limit_per_host: int = 0
    ) -> None:
        """`limit` is of connections, 0 of which is none; who finds no free one waits for it."""
        self._connector = aiohttp.TCPConnector(
            limit=limit,
            limit_per_host=limit_per_host,
            socket_factory=egress.make_socket,
            resolver=resolver,
            ttl_dns_cache=KEEP_ADDRESSES_SECONDS,
        )
        self._origins: dict[URL, aiohttp.ClientRequest] = {}

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connector.close()

    async def request(self, request: Request, total_timeout: float, connect_timeout: float, trip: Trip | None = None) -> Answer:
        """The answer, all of it within `total_timeout` seconds, waiting for a connection included. Raises OSError,
        aiohttp.ClientError, TimeoutError, and ValueError for what cannot stand in a header."""
        written = _written(request)
        async with asyncio.timeout(total_timeout):
            try:
                return await self._exchange(request, written, connect_timeout, trip)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                if request.method not in SAFE or isinstance(error, aiohttp.ClientConnectorError):
                    raise
            # A kept connection may have been closed by the other side as it was taken.
            return await self._exchange(request, written, connect_timeout, trip)

    async def _exchange(self, request: Request, written: bytes, connect_timeout: float, trip: Trip | None) -> Answer:
        traces: list[Trace] = [] if trip is None else [trip]
        connection = await self._connector.connect(self._origin(request.url), traces, _connecting_within(connect_timeout))
        is_whole = False
        try:
            protocol = _writing(connection, written)
            if trip is not None:
                trip.leave()
            message, content = await _read_head(protocol)
            body, is_whole = await _read_body(content, request.body_limit)
        finally:
            if is_whole:
                connection.release()
            else:
                connection.close()
        return Answer(message.code, message.headers, body)

    def _origin(self, url: URL) -> aiohttp.ClientRequest:
        """What the connector needs to know of a request: where it goes."""
        origin = url.origin()
        found = self._origins.get(origin)
        if found is None:
            if len(self._origins) >= ORIGINS:
                self._origins.clear()
            found = self._origins[origin] = aiohttp.ClientRequest("GET", origin, loop=asyncio.get_running_loop())
        return found


def _written(request: Request) -> bytes:
    """A request as it goes over the wire (RFC 9112). Raises ValueError."""
    lines = [f"{request.method} {request.url.raw_path_qs} HTTP/1.1", f"Host: {_host(request.url)}", *_fields(request.headers)]
    body = request.body or b""
    if body or request.method not in SAFE:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _fields(headers: Mapping[str, str]) -> Iterator[str]:
    given = {name.lower() for name in headers}
    if not given.isdisjoint(FRAMING):
        raise ValueError("the framing of a request is not the caller's to set")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or _UNSENDABLE.search(value):
            raise ValueError(f"the header {name!r} cannot be sent")
        yield f"{name}: {value}"
    yield from (line for name, line in DEFAULTS.items() if name not in given)


def _host(url: URL) -> str:
    host = (url.host_subcomponent or "").rstrip(".")
    return host if url.is_default_port() else f"{host}:{url.port}"


def _writing(connection: Connection, written: bytes) -> ResponseHandler:
    """Hand the request to the connection and make it ready for the answer. Raises aiohttp.ClientOSError when nothing left."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection is closing")
    protocol.set_response_params(read_until_eof=True)
    transport.write(written)
    return protocol


async def _read_head(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """The answer that is none of those "in between" (RFC 9110 §15.2)."""
    try:
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code < 200 or message.code == SWITCHING_PROTOCOLS:
                return message, content
    except HttpProcessingError as error:
        problem = type(error).__name__
    raise aiohttp.ClientPayloadError(f"no HTTP answer ({problem})")


async def _read_body(content: StreamReader, limit: int) -> tuple[bytes, bool]:
    """As much of the body as is wanted, and whether that was all of it."""
    if content.is_eof() and content.total_bytes <= limit:
        return content.read_nowait(), True
    kept = bytearray()
    while chunk := await content.readany():
        kept += chunk
        if len(kept) >= limit:
            return bytes(kept[:limit]), False
    return bytes(kept), True


@cache
def _connecting_within(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=seconds)
