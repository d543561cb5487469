"""What the client sends and what it wants to get, as its headers say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gateway.refusals import NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE, RefusalError

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"

_ANSWERS = {GRAPHQL_RESPONSE: GRAPHQL_RESPONSE, JSON: JSON, "application/*": JSON, "*/*": JSON}
_REMEMBERED = 256  # headers: each client sends the same ones all its life


@dataclass(frozen=True, slots=True)
class Accepted:
    """The media types to use for one answer, and for a stream of them. None where the client takes none of ours."""

    answer: str | None
    stream: str | None


@dataclass(frozen=True, slots=True)
class _Wish:
    """One entry of an Accept header."""

    kind: str
    parameters: dict[str, str]

    @property
    def quality(self) -> float:
        try:
            return float(self.parameters.get("q", "1"))
        except ValueError:
            return 0.0

    @property
    def is_stream(self) -> bool:
        """A multipart body means several things; ours is Apollo's way to send subscriptions."""
        return self.kind == EVENT_STREAM or (self.kind == MULTIPART and self.parameters.get("subscriptionspec") == "1.0")


@lru_cache(_REMEMBERED)
def accepted_types(accept: str | None) -> Accepted:
    """Raise RefusalError (406) if the client takes none of ours.

    Of types wanted equally, application/graphql-response+json comes first, because its status codes say more, and
    text/event-stream before multipart/mixed.
    """
    if not accept:
        return Accepted(JSON, None)
    wishes = [wish for wish in _wishes(accept) if wish.quality > 0]
    answers = [(wish.quality, _ANSWERS[wish.kind]) for wish in wishes if wish.kind in _ANSWERS]
    streams = [(wish.quality, wish.kind) for wish in wishes if wish.is_stream]
    if not answers and not streams:
        message = f"The answer is {GRAPHQL_RESPONSE} or {JSON}; subscriptions may take {EVENT_STREAM}."
        raise RefusalError(406, NOT_ACCEPTABLE, message)
    answer = max(answers, key=lambda pair: (pair[0], pair[1] == GRAPHQL_RESPONSE), default=(0, None))[1]
    stream = max(streams, key=lambda pair: (pair[0], pair[1] == EVENT_STREAM), default=(0, None))[1]
    return Accepted(answer, stream)


def wants_page(accept: str | None) -> bool:
    """Whether a browser asks for something to show."""
    return any(wish.kind == "text/html" and wish.quality > 0 for wish in _wishes(accept or ""))


@lru_cache(_REMEMBERED)
def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether the answer may be compressed: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3"""
    named = {wish.kind: wish.quality for wish in _wishes(accept_encoding or "")}
    return named.get("gzip", named.get("*", 0.0)) > 0


@lru_cache(_REMEMBERED)
def check_content(content_type: str | None, content_encoding: str | None) -> None:
    """Raise RefusalError (415) unless the body is uncompressed JSON in UTF-8."""
    kind, *parameters = (piece.strip().lower() for piece in (content_type or "").split(";"))
    charsets = {text.removeprefix("charset=").strip('"') for text in parameters if text.startswith("charset=")}
    if kind != JSON or not charsets <= {"utf-8", "utf8"}:
        raise RefusalError(415, UNSUPPORTED_MEDIA_TYPE, f"Send {JSON} in UTF-8.", {"accept-post": JSON})
    if (content_encoding or "identity").strip().lower() != "identity":
        raise RefusalError(415, UNSUPPORTED_MEDIA_TYPE, "Send the body uncompressed.", {"accept-encoding": "identity"})


def _wishes(header: str) -> list[_Wish]:
    return [_wish(part) for part in header.split(",") if part.strip()]


def _wish(part: str) -> _Wish:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    pairs = (text.partition("=") for text in parameters)
    return _Wish(kind, {name.strip(): value.strip().strip('"') for name, _, value in pairs})
