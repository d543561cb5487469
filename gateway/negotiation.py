"""What the client sends and what it wants to get, as its headers say."""

from __future__ import annotations

from gateway.refusals import NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE, RefusalError

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"

_ANSWERS = {GRAPHQL_RESPONSE: GRAPHQL_RESPONSE, JSON: JSON, "application/*": JSON, "*/*": JSON}


def answer_type(accept: str | None) -> str:
    """The media type to answer in. Raise RefusalError (406) if the client takes none of ours.

    Of types wanted equally, application/graphql-response+json comes first: its status codes say more.
    """
    if not accept:
        return JSON
    wanted = [(quality, _ANSWERS[kind]) for kind, quality in _preferences(accept) if kind in _ANSWERS and quality > 0]
    if not wanted:
        message = f"The answer is {GRAPHQL_RESPONSE} or {JSON}; subscriptions need a websocket."
        raise RefusalError(406, NOT_ACCEPTABLE, message)
    return max(wanted, key=lambda pair: (pair[0], pair[1] == GRAPHQL_RESPONSE))[1]


def wants_page(accept: str | None) -> bool:
    """Whether a browser asks for something to show."""
    return any(kind == "text/html" and quality > 0 for kind, quality in _preferences(accept or ""))


def check_content(content_type: str | None, content_encoding: str | None) -> None:
    """Raise RefusalError (415) unless the body is uncompressed JSON in UTF-8."""
    kind, *parameters = (piece.strip().lower() for piece in (content_type or "").split(";"))
    charsets = {text.removeprefix("charset=").strip('"') for text in parameters if text.startswith("charset=")}
    if kind != JSON or not charsets <= {"utf-8", "utf8"}:
        raise RefusalError(415, UNSUPPORTED_MEDIA_TYPE, f"Send {JSON} in UTF-8.", {"accept-post": JSON})
    if (content_encoding or "identity").strip().lower() != "identity":
        raise RefusalError(415, UNSUPPORTED_MEDIA_TYPE, "Send the body uncompressed.", {"accept-encoding": "identity"})


def _preferences(accept: str) -> list[tuple[str, float]]:
    return [_preference(part) for part in accept.split(",") if part.strip()]


def _preference(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((text[2:].strip() for text in parameters if text.startswith("q=")), "1")
    try:
        return kind, float(quality)
    except ValueError:
        return kind, 0.0
