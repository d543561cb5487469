"""A provider's call to us, before anybody believes it, and the tools to find out whether to.

Everything here is a pure function of the callback and a secret, so that an adapter's `authenticate` can be tested against
recorded calls. Signatures are compared in constant time and always over the raw bytes.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import orjson

from channels.answers import Document

TOLERANCE = dt.timedelta(minutes=5)
MOST_FIELDS = 1000

D = TypeVar("D", bound=Document)


class Refusal(Enum):
    """Why a callback is turned away: the HTTP status and the sentence the caller is told, and nothing more."""

    NOT_ENABLED = 404, "This callback is not enabled."
    NOT_AUTHENTIC = 401, "The signature or token is missing or wrong."
    WRONG_VERIFY_TOKEN = 403, "The verify token is wrong."
    STALE = 401, "The timestamp is missing or more than five minutes away."
    MALFORMED = 400, "The body cannot be read."

    @property
    def status(self) -> int:
        return int(self.value[0])

    @property
    def sentence(self) -> str:
        return str(self.value[1])


class CallbackRefusedError(Exception):
    """The callback is turned away; nothing of it is taken, nothing of it is quoted."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


@dataclass(frozen=True)
class Callback:
    """One HTTP request of a provider. `url` is the address as the provider called it, with its query, behind whatever proxy:
    some sign it. `headers` have lower-case names; `body` is at most 256 kB and not parsed yet; `received_at` is aware."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: dt.datetime

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The last value of each parameter in the URL."""
        return dict(pairs_of(urlsplit(self.url).query))

    @cached_property
    def form(self) -> Mapping[str, str]:
        """The last value of each field of a form body. Raises CallbackRefusedError(MALFORMED)."""
        return dict(self.form_pairs)

    @cached_property
    def form_pairs(self) -> list[tuple[str, str]]:
        """Every field of a form body, in order, empty and repeated ones too. Raises CallbackRefusedError(MALFORMED)."""
        try:
            return pairs_of(self.body.decode("ascii"))
        except UnicodeDecodeError:
            raise CallbackRefusedError(Refusal.MALFORMED) from None

    @cached_property
    def json(self) -> Any:
        """The parsed body. Raises CallbackRefusedError(MALFORMED)."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise CallbackRefusedError(Refusal.MALFORMED) from None

    def read(self, model: type[D]) -> D:
        """The JSON body as `model`. Raises CallbackRefusedError(MALFORMED)."""
        try:
            return model.model_validate(self.json)
        except ValueError:
            raise CallbackRefusedError(Refusal.MALFORMED) from None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider is answered once its callback is stored; most want an empty 200."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None


OK = Reply()


def pairs_of(text: str) -> list[tuple[str, str]]:
    """The fields of a query or form. Raises CallbackRefusedError(MALFORMED)."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise CallbackRefusedError(Refusal.MALFORMED) from None


def signed(secret: str | bytes, data: bytes, algorithm: str = "sha256") -> bytes:
    """The HMAC of `data` (RFC 2104)."""
    return hmac.digest(secret.encode() if isinstance(secret, str) else secret, data, algorithm)


def is_same(expected: str, given: str | None) -> bool:
    """Whether what was given is what was expected; takes the same time wherever they differ. Nothing is never the same."""
    return hmac.compare_digest(expected.encode(), (given or "").encode("utf-8", "replace")) and expected != ""


def require(expected: str, given: str | None, refusal: Refusal = Refusal.NOT_AUTHENTIC) -> None:
    """Refuse unless what was given is what was expected."""
    if not is_same(expected, given):
        raise CallbackRefusedError(refusal)


def require_recent(timestamp: str | None, callback: Callback, tolerance: dt.timedelta = TOLERANCE) -> None:
    """Refuse as STALE unless `timestamp`, in Unix seconds, is within `tolerance` of the callback's arrival."""
    if timestamp is None or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        raise CallbackRefusedError(Refusal.STALE)
    if abs(callback.received_at.timestamp() - int(timestamp)) > tolerance.total_seconds():
        raise CallbackRefusedError(Refusal.STALE)
