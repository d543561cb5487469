"""The means an adapter is given to reach its provider, and the one HTTP call every HTTP adapter makes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from yarl import URL

from channels.egress import BlockedAddressError, Egress
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName

if TYPE_CHECKING:
    from channels.base import Report

BODY_LIMIT = 64 * 1024
TOTAL_TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's HTTP answer; the body is cut at BODY_LIMIT bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The parsed body. Raises ValueError on anything that is not JSON, however hostile."""
        return orjson.loads(self.body)

    @property
    def retry_after(self) -> float | None:
        """Seconds of the Retry-After header when it is a number (RFC 9110 §10.2.3); its date form is ignored."""
        value = self.headers.get("Retry-After", "").strip()
        return min(float(value), 3600.0) if value.isdecimal() and len(value) < 10 else None


@dataclass(frozen=True, slots=True)
class Wire:
    """`report` hands in a delivery receipt of this connector; `callback_url` is where the provider calls us, if it may."""

    http: aiohttp.ClientSession
    egress: Egress
    report: Callable[[Report], Awaitable[None]]
    callback_url: str | None = None

    async def call(
        self,
        exchange: Exchange,
        method: str,
        url: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: aiohttp.BasicAuth | None = None,
    ) -> Answer:
        """One request without redirects, 30 s at most. Raises SendError: not sent is TRANSIENT, lost after sending is
        UNKNOWN_OUTCOME, refused by the egress policy or not a usable URL is CONFIGURATION."""
        exchange.note("request", {"method": method, "url": url, "body": json if json is not None else form})
        started = time.perf_counter()
        try:
            async with (
                asyncio.timeout(TOTAL_TIMEOUT),
                self.http.request(
                    method,
                    checked_url(url),
                    data=orjson.dumps(json) if json is not None else form,
                    headers={**({"Content-Type": "application/json"} if json is not None else {}), **(headers or {})},
                    auth=auth,
                    allow_redirects=False,
                    trace_request_ctx=exchange,
                ) as response,
            ):
                body = await _read(response)
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError) as error:
            failure = _failure(error, exchange)
            exchange.add_stage(_broken_stage(exchange), False, started, failure.message)
            exchange.note("error", failure.message)
            raise failure from None
        exchange.add_stage(StageName.SUBMIT, True, started)
        exchange.provider_status = response.status
        answer = Answer(response.status, response.headers, body)
        exchange.note("response", {"status": answer.status, "body": _readable(answer)})
        return answer


def checked_url(text: str) -> URL:
    """`text` as an http(s) URL with a host and without credentials. Raises ValueError."""
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an http or https URL with a host")
    if url.user is not None or url.password is not None:
        raise ValueError("must not hold credentials")
    return url


def make_session(egress: Egress) -> aiohttp.ClientSession:
    """The process's one HTTP session: addresses checked at the socket, no cookies, no proxies from the environment."""
    trace = aiohttp.TraceConfig()
    trace.on_dns_resolvehost_start.append(_mark("resolve"))
    trace.on_dns_resolvehost_end.append(_stage("resolve", StageName.RESOLVE))
    trace.on_connection_create_start.append(_mark("connect"))
    trace.on_connection_create_end.append(_stage("connect", StageName.CONNECT))
    trace.on_request_headers_sent.append(_mark_sent)
    connector = aiohttp.TCPConnector(socket_factory=egress.make_socket, limit=500, limit_per_host=100, ttl_dns_cache=30)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=TOTAL_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[trace],
        headers={"User-Agent": "Patchbay/0.1"},
    )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16 * 1024):
        body += chunk
        if len(body) >= BODY_LIMIT:
            response.close()
            break
    return bytes(body[:BODY_LIMIT])


def _readable(answer: Answer) -> Any:
    """Parsed where it can be: redaction must see a text as it is, not as JSON escapes it."""
    try:
        return answer.json()
    except ValueError:
        return answer.body.decode("utf-8", "replace")


def _failure(error: Exception, exchange: Exchange) -> SendError:
    if isinstance(error, BlockedAddressError) or isinstance(error.__cause__, BlockedAddressError):
        return SendError(FailureKind.CONFIGURATION, "ADDRESS_BLOCKED", f"The address is refused: {_blocked(error)}.")
    if isinstance(error, (aiohttp.InvalidURL, ValueError)) and not exchange.sent:
        return SendError(FailureKind.CONFIGURATION, "INVALID_URL", "The provider's URL is not usable.")
    if exchange.sent:
        return SendError(
            FailureKind.UNKNOWN_OUTCOME,
            "ANSWER_LOST",
            f"The request was sent but its answer was lost ({type(error).__name__}).",
        )
    what = "did not answer in time" if isinstance(error, TimeoutError) else "could not be reached"
    return SendError(FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", f"The provider {what} ({type(error).__name__}).")


def _blocked(error: BaseException) -> str:
    while error.__cause__ is not None and not isinstance(error, BlockedAddressError):
        error = error.__cause__
    return str(error)


def _broken_stage(exchange: Exchange) -> StageName:
    return StageName.SUBMIT if exchange.sent else StageName.CONNECT


_Hook = Callable[[aiohttp.ClientSession, SimpleNamespace, Any], Awaitable[None]]


def _mark(name: str) -> _Hook:
    async def hook(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        setattr(context, name, time.perf_counter())

    return hook


def _stage(name: str, stage: StageName) -> _Hook:
    async def hook(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.add_stage(stage, True, getattr(context, name))

    return hook


async def _mark_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    context.trace_request_ctx.sent = True
