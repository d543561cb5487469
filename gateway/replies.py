"""What is sent back over HTTP."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping

from starlette.types import Message, Receive, Send

SMALLEST_COMPRESSED = 1_024  # bytes; below, gzip saves no packet
LARGEST_INLINE = 65_536  # bytes; compressing more would hold the others up for a millisecond
_LEVEL = 1  # half of the time of the default, for a tenth more bytes
_DRAINED_BYTES = 16 * 1024 * 1024
_DRAINED_SECONDS = 2.0
_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"Accept, Accept-Encoding, Origin"),
    (b"x-content-type-options", b"nosniff"),
)


class Reply:
    """An HTTP response: status, body and header fields by lower-case name."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def compress(self) -> None:
        """Pack a body that is worth it. Its length betrays nothing: without cookies, no other site can ask in a user's name."""
        if len(self.body) < SMALLEST_COMPRESSED:
            return
        if len(self.body) > LARGEST_INLINE:
            self.body = await asyncio.to_thread(gzip.compress, self.body, _LEVEL)
        else:
            self.body = gzip.compress(self.body, _LEVEL)
        self.headers |= {"content-encoding": "gzip", "content-length": str(len(self.body))}

    async def send(self, receive: Receive, send: Send) -> None:
        unread = self.status == 413
        if unread:
            self.headers["connection"] = "close"
        await send(beginning(self.status, self.headers))
        await send({"type": "http.response.body", "body": self.body, "more_body": unread})
        if unread:
            await _drain(receive)
            await send({"type": "http.response.body", "body": b""})


def beginning(status: int, headers: Mapping[str, str]) -> Message:
    """The ASGI message a response begins with."""
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": [*_ALWAYS, *fields]}


async def _drain(receive: Receive) -> None:
    """Throw away what is still coming: closing at once would reset the connection before the client reads the answer."""
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAINED_SECONDS):
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
    except TimeoutError:
        return
