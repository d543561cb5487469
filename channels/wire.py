"""The means an adapter is given to reach its provider, and the one HTTP call every HTTP adapter makes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
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
from channels.http import BODY_LIMIT, Http, Request, Trip

if TYPE_CHECKING:
    from channels.base import Inbound, Report

TOTAL_TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0

Form = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Wire:
    """`report` hands in a delivery receipt of this connector, or a message to it, that came by no callback; returns once it is
    stored. `callback_url` is where the provider calls us, if it may.

    The timeouts are in seconds; the total one covers waiting for a connection, the request and the whole answer.
    """

    http: Http
    egress: Egress
    report: Callable[[Report | Inbound], Awaitable[None]]
    callback_url: str | None = None
    total_timeout: float = TOTAL_TIMEOUT
    connect_timeout: float = CONNECT_TIMEOUT

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be written down of it: the key in the address where the provider calls us."""
        return (self.callback_url.rpartition("/")[2],) if self.callback_url else ()

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
        body_limit: int = BODY_LIMIT,
    ) -> Answer:
        """One request without redirects. Raises SendError: not sent is TRANSIENT, lost after sending is UNKNOWN_OUTCOME,
        refused by the egress policy or not a usable URL is CONFIGURATION, not to be encoded is CONTENT. Of the answer's body,
        `body_limit` bytes are kept."""
        pairs = list(form) if form is not None else None
        exchange.sent = False
        exchange.note("request", {"method": method, "url": url, "query": query, "content": _fields(pairs) if pairs else json})
        data, kind = _encoded(json, pairs)
        trip = _Trip(exchange)
        try:
            where = checked_url(url).update_query(query) if query else checked_url(url)
            request = Request(method, where, {**kind, **(headers or {})}, data, body_limit)
            answer = await self.http.request(request, self.total_timeout, self.connect_timeout, trip)
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


def is_blocked(error: Exception) -> bool:
    """The egress policy refused the address."""
    return isinstance(error, BlockedAddressError) or isinstance(error.__cause__, BlockedAddressError)


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
    if is_blocked(error):
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


class _Trip(Trip):
    """Times the stages of making a connection, when one is made, and of the request."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.started = time.perf_counter()

    def leave(self) -> None:
        self._exchange.sent = True
        self._begin()

    async def send_dns_resolvehost_start(self, host: str) -> None:
        self._begin()

    async def send_dns_resolvehost_end(self, host: str) -> None:
        self._end(StageName.RESOLVE)

    async def send_connection_create_start(self) -> None:
        self._begin()

    async def send_connection_create_end(self) -> None:
        self._end(StageName.CONNECT)

    async def _nothing(self, host: str = "") -> None:
        pass

    send_connection_queued_start = send_connection_queued_end = send_connection_reuseconn = _nothing
    send_dns_cache_hit = send_dns_cache_miss = _nothing

    def _begin(self) -> None:
        self.started = time.perf_counter()

    def _end(self, stage: StageName) -> None:
        self._exchange.add_stage(stage, True, self.started)
        self._begin()
