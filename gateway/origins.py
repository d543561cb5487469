"""Which web pages may talk to us."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

_ALLOWED_HEADERS = "accept, authorization, content-type, x-api-key, x-request-id"
_EXPOSED_HEADERS = "retry-after, x-request-id"
_PREFLIGHT_SECONDS = "600"


class Origins:
    """Other origins whose pages may call: `https://app.example.com`, or `*` for all."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def __contains__(self, origin: str) -> bool:
        return "*" in self._allowed or origin.lower() in self._allowed

    def admits(self, origin: str | None, host: str | None) -> bool:
        """Whether a websocket may be opened: by what is no browser, a page of our own host, or a listed origin."""
        return origin is None or origin in self or _host_of(origin) == (host or "").lower()

    def headers(self, origin: str | None) -> dict[str, str]:
        """What lets the page read an answer; nothing for a page that may not."""
        if origin is None or origin not in self:
            return {}
        return {"access-control-allow-origin": origin, "access-control-expose-headers": _EXPOSED_HEADERS}

    def preflight(self, origin: str | None) -> dict[str, str]:
        """What lets the page send a request."""
        if not (headers := self.headers(origin)):
            return {}
        return {
            **headers,
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": _ALLOWED_HEADERS,
            "access-control-max-age": _PREFLIGHT_SECONDS,
        }


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
