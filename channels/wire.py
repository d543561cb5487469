"""The means an adapter is given to reach its provider, and the one HTTP call every HTTP adapter makes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import aiohttp
import orjson
from pydantic import AfterValidator
from yarl import URL

from channels.answers import Answer
from channels.egress import BlockedAddressError, Egress
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName

if TYPE_CHECKING:
    from channels.base import Report

BODY_LIMIT = 64 * 1024
TOTAL_TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0

Form = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Wire:
    """`report` hands in a delivery receipt of this connector; `callback_url` is where the provider calls us, if it may.

    The timeouts are in seconds; the total one covers waiting for a connection, the request and the whole answer.
    """

    http: aiohttp.ClientSession
    egress: Egress
    report: Callable[[Report], Awaitable[None]]
    callback_url: str | None = None
    total_timeout: float = TOTAL_TIMEOUT
    connect_timeout: float = CONNECT_TIMEOUT

    async def call(
        self,
        exchange: Exchange,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request without redirects. Raises SendError: not sent is TRANSIENT, lost after sending is UNKNOWN_OUTCOME,
        refused by the egress policy or not a usable URL is CONFIGURATION, not to be encoded is CONTENT."""
        pairs = list(form) if form is not None else None
        exchange.sent = False
        exchange.note("request", {"method": method, "url": url, "query": query, "content": _fields(pairs) if pairs else json})
        data, kind = _encoded(json, pairs)
        trip = _Trip(exchange, time.perf_counter())
        try:
            async with (
                asyncio.timeout(self.total_timeout),
                self.http.request(
                    method,
                    checked_url(url).update_query(query) if query else checked_url(url),
                    data=data,
                    headers={**kind, **(headers or {})},
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout),
                    trace_request_ctx=trip,
                ) as response,
            ):
                answer = Answer(response.status, response.headers, await _read(response))
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError) as error:
            stage, failure = _broken_stage(error, exchange), _failure(error, exchange)
        else:
            exchange.add_stage(StageName.SUBMIT, True, trip.started)
            exchange.provider_status = answer.status
            exchange.note("response", {"status": answer.status, "content": _readable(answer)})
            return answer
        exchange.add_stage(stage, False, trip.started, failure.message)
        exchange.note("error", failure.message)
        raise failure  # not inside `except`: aiohttp's errors hold the URL, which may hold a token


def checked_url(text: str) -> URL:
    """`text` as an http(s) URL with a host and without credentials. Raises ValueError."""
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an http or https URL with a host")
    if url.user is not None or url.password is not None:
        raise ValueError("must not hold credentials")
    return url


def _base_url(text: str) -> str:
    url = checked_url(text)
    if url.query_string or url.fragment:
        raise ValueError("must end with its path: no query, no fragment")
    return text.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""Where a provider's API lives; paths are appended to it."""


def make_session(egress: Egress) -> aiohttp.ClientSession:
    """The process's one HTTP session: addresses checked at the socket, no cookies, no proxies from the environment."""
    trace = aiohttp.TraceConfig()
    trace.on_dns_resolvehost_start.append(_begin)
    trace.on_dns_resolvehost_end.append(_end(StageName.RESOLVE))
    trace.on_connection_create_start.append(_begin)
    trace.on_connection_create_end.append(_end(StageName.CONNECT))
    trace.on_request_headers_sent.append(_mark_sent)
    connector = aiohttp.TCPConnector(socket_factory=egress.make_socket, limit=500, limit_per_host=100, ttl_dns_cache=30)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=TOTAL_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[trace],
        headers={"User-Agent": "Patchbay/0.1", "Accept-Encoding": "identity"},
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16 * 1024):
        body += chunk
        if len(body) >= BODY_LIMIT:
            response.close()
            break
    return bytes(body[:BODY_LIMIT])


def _encoded(json: Any, form: Form | None) -> tuple[bytes | None, dict[str, str]]:
    try:
        if json is not None:
            return orjson.dumps(json), {"Content-Type": "application/json"}
        if form is not None:
            return urlencode(list(form)).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    except (TypeError, ValueError):
        refusal = SendError(FailureKind.CONTENT, "NOT_ENCODABLE", "The message holds text or values that cannot be encoded.")
    else:
        return None, {}
    raise refusal


def _fields(form: Form) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in form:
        fields[name] = [*fields[name], value] if isinstance(fields.get(name), list) else [value]
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _readable(answer: Answer) -> Any:
    """Parsed where it can be: redaction must see a text as it is, not as JSON escapes it."""
    try:
        return answer.json()
    except ValueError:
        return answer.body.decode("utf-8", "replace")


def _failure(error: Exception, exchange: Exchange) -> SendError:
    name = type(error).__name__
    if isinstance(error, BlockedAddressError) or isinstance(error.__cause__, BlockedAddressError):
        return SendError(FailureKind.CONFIGURATION, "ADDRESS_BLOCKED", "The provider's host is not at a public address.")
    if exchange.sent:
        lost = f"The request was sent but its answer was lost ({name})."
        return SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", lost)
    if isinstance(error, aiohttp.ClientSSLError):
        return SendError(FailureKind.TRANSIENT, "TLS_FAILED", f"No secure connection to the provider ({name}).")
    if isinstance(error, ValueError):  # aiohttp.InvalidURL is one
        return SendError(FailureKind.CONFIGURATION, "INVALID_URL", "The provider's URL is not usable.")
    what = "did not answer in time" if isinstance(error, TimeoutError) else "could not be reached"
    return SendError(FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", f"The provider {what} ({name}).")


def _broken_stage(error: Exception, exchange: Exchange) -> StageName:
    if exchange.sent:
        return StageName.SUBMIT
    if isinstance(error, aiohttp.ClientSSLError):
        return StageName.TLS
    return StageName.RESOLVE if isinstance(error, aiohttp.ClientConnectorDNSError) else StageName.CONNECT


@dataclass(slots=True)
class _Trip:
    """One request as aiohttp's trace sees it; `started` is when its present stage began."""

    exchange: Exchange
    started: float


_Hook = Callable[[aiohttp.ClientSession, SimpleNamespace, Any], Awaitable[None]]


async def _begin(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    context.trace_request_ctx.started = time.perf_counter()


def _end(stage: StageName) -> _Hook:
    async def hook(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        trip: _Trip = context.trace_request_ctx
        trip.exchange.add_stage(stage, True, trip.started)
        trip.started = time.perf_counter()

    return hook


async def _mark_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    trip: _Trip = context.trace_request_ctx
    trip.exchange.sent = True
    trip.started = time.perf_counter()
