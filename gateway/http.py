"""GraphQL over HTTP, as a plain ASGI application: https://graphql.github.io/graphql-over-http/draft/"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
from graphql import OperationType
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.bodies import asks_nothing, parse_json, read_body, request_from_json, request_from_query
from gateway.negotiation import GRAPHQL_RESPONSE, JSON, answer_type, check_content, wants_page
from gateway.origins import Origins
from gateway.refusals import METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, ClientGoneError, RefusalError, not_admitted, too_large
from gateway.tracing import request_id
from resolvers.problems import Problem
from resolvers.viewer import Viewer
from schema.answers import Answer, present_exception, refusal
from schema.documents import RefusedError, Request
from schema.engine import Engine

Authenticate = Callable[[Mapping[str, str]], Awaitable[Viewer]]
MakeContext = Callable[[Viewer], object]

_ALLOW = {"allow": "GET, POST, OPTIONS"}
_SECURITY = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"Accept, Origin"),
    (b"x-content-type-options", b"nosniff"),
)
_DRAINED_BYTES = 16 * 1024 * 1024
_DRAINED_SECONDS = 2.0


class GraphQLEndpoint:
    """Serves the GraphQL path. `page` is what a browser is shown there, without credentials; None shows nothing.

    `authenticate` is given the request's headers by lower-case name; `make_context` is called once for each operation.
    `max_body` is in bytes, `origins` are the other sites whose pages may call.
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
    ) -> None:
        self._engine = engine
        self._authenticate = authenticate
        self._make_context = make_context
        self._page = page
        self._max_body = max_body
        self._origins = Origins(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if self._page is not None and _opens_page(scope, headers):
            await self._page(scope, receive, send)
            return
        name = request_id(headers.get("x-request-id"))
        with structlog.contextvars.bound_contextvars(request_id=name):
            reply = await self._reply(scope, headers, receive)
        if reply is not None:
            reply.headers.update({"x-request-id": name, **self._cors(scope["method"], headers)})
            await reply.send(receive, send)

    async def _reply(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Reply | None:
        """None when the client left before it had sent its request."""
        media_type = JSON
        try:
            if scope["method"] == "OPTIONS":
                return Reply(204, b"", dict(_ALLOW))
            _check_method(scope["method"])
            media_type = answer_type(headers.get("accept"))
            answer = await self._serve(scope, headers, receive)
            status = 400 if not answer.executed and media_type == GRAPHQL_RESPONSE else 200
            return _json_reply(status, answer, media_type, _retry_after(answer.errors))
        except ClientGoneError:
            return None
        except RefusalError as error:
            headers_out = {**error.headers, **_retry_after([error.entry])}
            return _json_reply(error.status, Answer(errors=[error.entry], executed=False), media_type, headers_out)
        except Exception as error:
            return _json_reply(500, Answer(errors=present_exception(error), executed=False), media_type, {})

    async def _serve(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Answer:
        reads = scope["method"] == "GET"
        if not reads:
            check_content(headers.get("content-type"), headers.get("content-encoding"))
        viewer = await self._admit(headers)
        request = self._from_url(scope) if reads else await self._from_body(headers, receive)
        try:
            prepared = self._engine.prepare(request)
        except RefusedError as error:
            return refusal(error.errors)
        _check_kind(prepared.kind, reads)
        return await self._engine.execute(prepared, self._make_context(viewer))

    async def _admit(self, headers: Mapping[str, str]) -> Viewer:
        try:
            return await self._authenticate(headers)
        except Problem as problem:
            raise not_admitted(problem, "authorization" in headers or "x-api-key" in headers) from None

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


class Reply:
    """An HTTP response: status, body and header fields by lower-case name."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def send(self, receive: Receive, send: Send) -> None:
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        unread = self.status == 413
        if unread:
            fields.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": [*_SECURITY, *fields]})
        await send({"type": "http.response.body", "body": self.body, "more_body": unread})
        if unread:
            await _drain(receive)
            await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    """Throw away what is still coming: closing at once would reset the connection before the client reads the answer."""
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAINED_SECONDS):
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
    except TimeoutError:
        return


def _opens_page(scope: Scope, headers: Mapping[str, str]) -> bool:
    return scope["method"] == "GET" and wants_page(headers.get("accept")) and asks_nothing(scope["query_string"])


def _check_method(method: str) -> None:
    if method not in ("GET", "POST"):
        raise RefusalError(405, METHOD_NOT_ALLOWED, "Use GET or POST.", _ALLOW)


def _check_kind(kind: OperationType, reads: bool) -> None:
    if kind is OperationType.SUBSCRIPTION:
        raise RefusalError(406, NOT_ACCEPTABLE, "Subscriptions need a websocket with graphql-transport-ws.")
    if reads and kind is not OperationType.QUERY:
        raise RefusalError(405, METHOD_NOT_ALLOWED, "Mutations need POST.", {"allow": "POST"})


def _json_reply(status: int, answer: Answer, media_type: str, headers: Mapping[str, str]) -> Reply:
    body = answer.text.encode()
    kind = {"content-type": f"{media_type}; charset=utf-8", "content-length": str(len(body))}
    return Reply(status, body, {**headers, **kind})


def _retry_after(errors: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The longest wait, in whole seconds, that any of the errors asks for."""
    waits = [error["extensions"].get("retryAfter") for error in errors]
    seconds = [wait for wait in waits if isinstance(wait, int | float)]
    return {"retry-after": str(max(0, math.ceil(max(seconds))))} if seconds else {}
