"""Where customers' webhooks go: which URLs may be given, and the one request that is made to them.

An address is checked where the socket is made, so a name that first leads to a public address and then to a private one
leads nowhere. The check of a new URL is there to say no early.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import re
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from channels.answers import Answer
from channels.egress import BlockedAddressError, Egress
from channels.exchange import Exchange
from channels.http import Http, Request
from channels.wire import checked_url, is_blocked
from models.base import now

LONGEST_URL = 2_000
PATTERN = re.compile(r"https://([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}(/[^\s]*)?")
RULE = "must be https, at a host with a domain name, without port and credentials, as in https://shop.example.com/hooks"
PRIVATE = "leads to an address that is not public"
RESOLVE_SECONDS = 3.0
TOTAL_SECONDS = 15.0
CONNECT_SECONDS = 5.0
CONNECTIONS, CONNECTIONS_PER_HOST = 500, 100
EXCERPT = 500
GONE = 410  # the receiver wants nothing any more
LONGEST_RETRY_AFTER = 86_400.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a receiver did with one request. `error` is None when it took it; `retry_after` is in seconds. What `is_ours` is not
    held against the receiver, and what `is_final` is not tried again."""

    duration_ms: float
    status_code: int | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after: float | None = None
    is_ours: bool = False
    is_final: bool = False


class Receivers:
    """`allow_http` lets receivers be at http URLs, at addresses and at any port; `resolver` looks names up."""

    def __init__(
        self,
        egress: Egress,
        allow_http: bool,
        resolver: AbstractResolver | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._egress = egress
        self._allow_http = allow_http
        self._resolver = resolver
        self._total_seconds = total_seconds
        self._http: Http | None = None

    async def start(self) -> None:
        self._resolver = self._resolver or ThreadedResolver()
        self._http = Http(self._egress, self._resolver, CONNECTIONS, CONNECTIONS_PER_HOST)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def check(self, url: str) -> None:
        """Raise ValueError, with the rule, for a URL that no webhook may have. A name that cannot be looked up now is left
        to the delivery."""
        if len(url) > LONGEST_URL or not url.isprintable() or "#" in url:
            raise ValueError(f"has at most {LONGEST_URL} printable characters, without a fragment")
        if self._allow_http:
            where = checked_url(url)
        elif PATTERN.fullmatch(url):
            where = URL(url)
        else:
            raise ValueError(RULE)
        for address in await self._addresses(where):
            try:
                self._egress.check(address)
            except BlockedAddressError:
                raise ValueError(PRIVATE) from None

    async def _addresses(self, url: URL) -> list[str]:
        assert self._resolver is not None and url.host is not None
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolver.resolve(url.host, url.port or 443, socket.AF_UNSPEC)
        except (OSError, ValueError):
            return []
        return [each["host"] for each in found]

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], secrets: Iterable[str], private: Iterable[str]
    ) -> Outcome:
        """Hand over a request. `secrets` and `private` texts are kept out of what is told of the answer."""
        assert self._http is not None
        begun = time.perf_counter()
        given = {"Content-Type": "application/json", **headers}
        try:
            request = Request("POST", checked_url(url), given, body)
            answer = await self._http.request(request, self._total_seconds, CONNECT_SECONDS)
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError) as error:
            return Outcome(_elapsed(begun), error=self._failure(error))
        hidden = Exchange(tuple(secrets), tuple(private))
        excerpt = hidden.redact(answer.body.decode("utf-8", "replace"))[:EXCERPT] or None
        refusal, is_gone = _refusal(answer), answer.status == GONE
        return Outcome(_elapsed(begun), answer.status, refusal, excerpt, _retry_after(answer), is_final=is_gone)

    def _failure(self, error: Exception) -> str:
        if is_blocked(error):
            return "The receiver's host is not at a public address."
        if isinstance(error, TimeoutError):
            return f"The receiver did not answer within {self._total_seconds:g} s."
        if isinstance(error, aiohttp.ClientSSLError):
            return f"No secure connection to the receiver ({type(error).__name__})."
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"The receiver could not be reached ({type(error).__name__})."
        return f"The receiver did not answer as HTTP does ({type(error).__name__})."


def _elapsed(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 3)


def _refusal(answer: Answer) -> str | None:
    if answer.ok:
        return None
    if 300 <= answer.status < 400:
        return f"The receiver answered {answer.status}: redirects are not followed."
    return f"The receiver answered {answer.status}."


def _retry_after(answer: Answer) -> float | None:
    """Seconds of the Retry-After header, in either of its forms (RFC 9110 §10.2.3), a day at most."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal() and len(value) < 10:
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    wait = (at.replace(tzinfo=at.tzinfo or dt.UTC) - now()).total_seconds()
    return min(max(0.0, wait), LONGEST_RETRY_AFTER)
