"""GraphQL over HTTP, as a plain ASGI application: https://graphql.github.io/graphql-over-http/draft/"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from graphql import OperationType
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.bodies import asks_nothing, parse_json, read_body, request_from_json, request_from_query
from gateway.negotiation import (
    EVENT_STREAM,
    GRAPHQL_RESPONSE,
    JSON,
    Accepted,
    accepted_types,
    check_content,
    takes_gzip,
    wants_page,
)
from gateway.origins import Origins
from gateway.refusals import METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, ClientGoneError, RefusalError, not_admitted, too_large
from gateway.replies import Reply
from gateway.streams import FRAMINGS, Stream, Streams
from gateway.tracing import request_id
from resolvers.problems import Problem
from resolvers.viewer import Viewer
from schema.answers import Answer, present_exception, refusal
from schema.documents import Operation, RefusedError, Request
from schema.engine import Engine, Prepared

Authenticate = Callable[[Mapping[str, str]], Awaitable[Viewer]]
MakeContext = Callable[[Viewer, Operation], object]
Meter = Callable[[Viewer, int], None]

_ALLOW = {"allow": "GET, POST, OPTIONS"}


def unmetered(_viewer: Viewer, _fields: int) -> None:
    """Everybody may ask for as much as they like."""


class GraphQLEndpoint:
    """Serves the GraphQL path. `page` is what a browser is shown there, without credentials; None shows nothing.

    `authenticate` is given the request's headers by lower-case name; `make_context` is called once for each operation.
    `meter` is told who asks for how many root fields, and may refuse with a Problem; `max_body` is in bytes, `origins` are the
    other sites whose pages may call, and `streams` hold the subscriptions it serves.
    """

    def __init__(
        self,
        engine: Engine,
        authenticate: Authenticate,
        make_context: MakeContext,
        page: ASGIApp | None = None,
        *,
        max_body: int = 262_144,
        origins: Iterable[str] = (),
        streams: Streams | None = None,
        meter: Meter = unmetered,
    ) -> None:
        self._engine = engine
        self._authenticate = authenticate
        self._make_context = make_context
        self._page = page
        self._max_body = max_body
        self._origins = Origins(origins)
        self.streams = Streams() if streams is None else streams
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if self._page is not None and _opens_page(scope, headers):
            await self._page(scope, receive, send)
            return
        name = request_id(headers.get("x-request-id"))
        structlog.contextvars.bind_contextvars(request_id=name)  # never unbound: a request has a task of its own
        reply = await self._reply(scope, headers, receive)
        if reply is not None:
            reply.headers.update({"x-request-id": name, **self._cors(scope["method"], headers)})
            await reply.send(receive, send)

    async def _reply(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Reply | Stream | None:
        """None when the client left before it had sent its request."""
        accepted = Accepted(JSON, None)
        try:
            if scope["method"] == "OPTIONS":
                return Reply(204, b"", dict(_ALLOW))
            _check_method(scope["method"])
            accepted = accepted_types(headers.get("accept"))
            reply = await self._serve(scope, headers, receive, accepted)
        except ClientGoneError:
            return None
        except RefusalError as error:
            answer = Answer(errors=[error.entry], executed=False)
            return _json_reply(error.status, answer, accepted, {**error.headers, **_retry_after([error.entry])})
        except Exception as error:
            return _json_reply(500, Answer(errors=present_exception(error), executed=False), accepted, {})
        if isinstance(reply, Reply) and takes_gzip(headers.get("accept-encoding")):
            await reply.compress()
        return reply

    async def _serve(self, scope: Scope, headers: Mapping[str, str], receive: Receive, accepted: Accepted) -> Reply | Stream:
        reads = scope["method"] == "GET"
        if not reads:
            check_content(headers.get("content-type"), headers.get("content-encoding"))
        viewer = await self._admit(headers)
        request = self._from_url(scope) if reads else await self._from_body(headers, receive)
        try:
            prepared = self._engine.prepare(request)
        except RefusedError as error:
            return self._once(refusal(error.errors), viewer, accepted)
        _check_kind(prepared.kind, reads, accepted)
        self._count(viewer, prepared)
        if prepared.kind is OperationType.SUBSCRIPTION or accepted.answer is None:
            self.streams.admit(viewer)
        if prepared.kind is OperationType.SUBSCRIPTION:
            answers = self._engine.subscribe(prepared, lambda: self._make_context(viewer, prepared.operation), viewer.audience)
            return self._stream(answers, viewer, accepted)
        return self._once(await self._engine.answer(prepared, self._make_context(viewer, prepared.operation)), viewer, accepted)

    def _once(self, answer: Answer, viewer: Viewer, accepted: Accepted) -> Reply | Stream:
        if accepted.answer is None:
            return self._stream(_only(answer), viewer, accepted)
        status = 400 if not answer.executed and accepted.answer == GRAPHQL_RESPONSE else 200
        return _json_reply(status, answer, accepted, _retry_after(answer.errors))

    def _stream(self, answers: AsyncGenerator[Answer], viewer: Viewer, accepted: Accepted) -> Stream:
        assert accepted.stream is not None
        return Stream(self.streams, FRAMINGS[accepted.stream], answers, viewer)

    async def _admit(self, headers: Mapping[str, str]) -> Viewer:
        try:
            return await self._authenticate(headers)
        except Problem as problem:
            raise not_admitted(problem, "authorization" in headers or "x-api-key" in headers) from None

    def _count(self, viewer: Viewer, prepared: Prepared) -> None:
        try:
            self._meter(viewer, prepared.root_fields)
        except Problem as problem:
            raise not_admitted(problem, sent_credentials=True) from None

    def _from_url(self, scope: Scope) -> Request:
        query_string: bytes = scope["query_string"]
        if len(query_string) > self._max_body:
            raise too_large(self._max_body)
        return request_from_query(query_string)

    async def _from_body(self, headers: Mapping[str, str], receive: Receive) -> Request:
        body = await read_body(receive, headers.get("content-length"), self._max_body)
        return request_from_json(parse_json(body))

    def _cors(self, method: str, headers: Mapping[str, str]) -> dict[str, str]:
        origin = headers.get("origin")
        asks_first = method == "OPTIONS" and "access-control-request-method" in headers
        return self._origins.preflight(origin) if asks_first else self._origins.headers(origin)


def _opens_page(scope: Scope, headers: Mapping[str, str]) -> bool:
    return scope["method"] == "GET" and wants_page(headers.get("accept")) and asks_nothing(scope["query_string"])


def _check_method(method: str) -> None:
    if method not in ("GET", "POST"):
        raise RefusalError(405, METHOD_NOT_ALLOWED, "Use GET or POST.", _ALLOW)


def _check_kind(kind: OperationType, reads: bool, accepted: Accepted) -> None:
    if kind is OperationType.SUBSCRIPTION and accepted.stream is None:
        message = f"Subscriptions need a websocket with graphql-transport-ws, or {EVENT_STREAM} among what is accepted."
        raise RefusalError(406, NOT_ACCEPTABLE, message)
    if reads and kind is OperationType.MUTATION:
        raise RefusalError(405, METHOD_NOT_ALLOWED, "Mutations need POST.", {"allow": "POST"})


async def _only(answer: Answer) -> AsyncGenerator[Answer]:
    yield answer


def _json_reply(status: int, answer: Answer, accepted: Accepted, headers: Mapping[str, str]) -> Reply:
    body = answer.encoded
    kind = {"content-type": f"{accepted.answer or JSON}; charset=utf-8", "content-length": str(len(body))}
    return Reply(status, body, {**headers, **kind})


def _retry_after(errors: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The longest wait, in whole seconds, that any of the errors asks for."""
    if not errors:
        return {}
    waits = [error["extensions"].get("retryAfter") for error in errors]
    seconds = [wait for wait in waits if isinstance(wait, int | float)]
    return {"retry-after": str(max(0, math.ceil(max(seconds))))} if seconds else {}
