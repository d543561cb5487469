"""A small schema behind the real endpoint, the real sockets and a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import strawberry
import uvicorn
from starlette.types import Receive, Scope, Send
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON

from gateway.connection import Patience
from gateway.direct import DirectProtocol
from gateway.http import GraphQLEndpoint
from gateway.sockets import GraphQLSockets
from gateway.streams import Streams
from gateway.whole import WholeProtocol
from resolvers.problems import Problem, Problems, RequestErrorCode, UserErrorCode
from resolvers.viewer import Viewer
from schema.documents import Documents
from schema.engine import Engine

TOKEN = "Bearer good"
AUTHORIZED = {"authorization": TOKEN}


@dataclass
class World:
    """What the resolvers see and leave behind."""

    counter: int = 0
    closed_sources: int = 0
    drained: int = 0
    greeted: list[str] = field(default_factory=list)
    bell: asyncio.Event = field(default_factory=asyncio.Event)


class Context:
    def __init__(self, viewer: Viewer, world: World) -> None:
        self.viewer = viewer
        self.world = world
        self.counters: DataLoader[str, int] = DataLoader(self._load)

    async def _load(self, names: list[str]) -> list[int]:
        return [self.world.counter for _ in names]


Info = strawberry.Info[Context, None]


@strawberry.type
class Reading:
    number: int

    @strawberry.field
    async def loaded(self, info: Info) -> int:
        return await info.context.counters.load("counter")


@dataclass
class SharedReading:
    number: int
    share_key: str


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, info: Info, name: str = "world") -> str:
        info.context.world.greeted.append(name)
        return f"hello {name}"

    @strawberry.field
    def subject(self, info: Info) -> str:
        return info.context.viewer.subject

    @strawberry.field
    def echo(self, value: JSON) -> JSON:
        return value

    @strawberry.field
    async def boom(self) -> int | None:
        raise RuntimeError("the password is hunter2")

    @strawberry.field
    def crooked(self) -> int | None:
        return "not a number"  # type: ignore[return-value]

    @strawberry.field
    def unwritable(self) -> JSON | None:
        return object()

    @strawberry.field
    def throttled(self) -> int | None:
        raise Problem(RequestErrorCode.RATE_LIMITED, "Too many requests.", retryAfter=2.5)

    @strawberry.field
    def invalid(self) -> int | None:
        raise Problems([Problem(UserErrorCode.VALIDATION_ERROR, "First."), Problem(UserErrorCode.INVALID_STATE, "Second.")])

    @strawberry.field
    def again(self) -> Query:
        return Query()

    @strawberry.field
    def items(self, first: int | None = None) -> list[Query]:
        return [Query() for _ in range(first or 1)]


@strawberry.type
class Mutation:
    @strawberry.mutation
    def count(self, info: Info) -> int:
        info.context.world.counter += 1
        return info.context.world.counter


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def countdown(self, start: int) -> AsyncGenerator[int]:
        for number in range(start, 0, -1):
            yield number

    @strawberry.subscription
    async def readings(self, info: Info) -> AsyncGenerator[Reading]:
        for number in range(3):
            info.context.world.counter += 1
            yield Reading(number=number)

    @strawberry.subscription
    async def forever(self, info: Info) -> AsyncGenerator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            info.context.world.closed_sources += 1

    @strawberry.subscription
    async def torrent(self, info: Info, size: int = 1) -> AsyncGenerator[str]:
        while True:
            info.context.world.drained += 1
            yield "x" * size

    @strawberry.subscription
    async def shared(self, info: Info) -> AsyncGenerator[Reading]:
        await info.context.world.bell.wait()
        yield SharedReading(number=1, share_key="event-1")  # type: ignore[misc]

    @strawberry.subscription
    async def behind(self) -> AsyncGenerator[int]:
        yield 1
        raise Problem(RequestErrorCode.RESYNC_REQUIRED, "Start over.", oldest="evt_9")

    @strawberry.subscription
    async def broken(self) -> AsyncGenerator[int]:
        yield 1
        raise RuntimeError("the password is hunter2")

    @strawberry.subscription
    async def forbidden(self) -> AsyncGenerator[int]:
        raise Problem(RequestErrorCode.FORBIDDEN, "This needs a scope.")
        yield 1


class Doorman:
    """Admits the token `good`, and `lasting <seconds>` for so long."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def authenticate(self, headers: Mapping[str, str]) -> Viewer:
        self.asked.append(dict(headers))
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token.startswith(("good", "lasting", "crash", "throttled")):
            raise Problem(RequestErrorCode.UNAUTHENTICATED, "The credentials are missing or wrong.")
        if token == "crash":
            raise RuntimeError("the password is hunter2")
        if token == "throttled":
            raise Problem(RequestErrorCode.RATE_LIMITED, "Too many attempts.", retryAfter=7)
        expiry = None
        if token.startswith("lasting"):
            expiry = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=float(token.split()[1]))
        return Viewer(token, "wsp_1", "org_1", frozenset({"*"}), expires_at=expiry)


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<!doctype html>"})


class Api:
    """The whole of it, as one ASGI application."""

    def __init__(
        self,
        *,
        origins: tuple[str, ...] = (),
        patience: Patience | None = None,
        max_body: int = 262_144,
        streams: Streams | None = None,
    ) -> None:
        schema = strawberry.Schema(Query, Mutation, Subscription)
        self.world = World()
        self.doorman = Doorman()
        self.engine = Engine(schema, Documents(schema._schema))
        doors: tuple[Any, ...] = (
            self.engine,
            self.doorman.authenticate,
            lambda viewer, _operation: Context(viewer, self.world),
        )
        self.http = GraphQLEndpoint(*doors, page, max_body=max_body, origins=origins, streams=streams)
        self.sockets = GraphQLSockets(*doors, origins=origins, patience=patience)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.sockets if scope["type"] == "websocket" else self.http)(scope, receive, send)


@contextlib.asynccontextmanager
async def serving(api: Api) -> AsyncIterator[Api]:
    """The application on a free port of loopback."""
    config = uvicorn.Config(
        api, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", ws=DirectProtocol,
        http=WholeProtocol, timeout_graceful_shutdown=5,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()  # not serve(): its main loop only looks every 100 ms whether to stop
    api.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        await asyncio.gather(api.sockets.close_all(), api.http.streams.close_all())
        await _stop(server)


async def _stop(server: uvicorn.Server) -> None:
    """As `shutdown`, which always sleeps 100 ms; that is kept for where connections are still open."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            while server.server_state.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    if server.server_state.connections:
        await server.shutdown()
    for listener in server.servers:
        listener.close()
