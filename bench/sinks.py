"""A provider and a mail server that cost next to nothing, in a process of their own: what is measured is the sender.

`python -m bench.sinks SECONDS` prints its two ports as JSON. Every HTTP request is answered SECONDS after it came; a mail at
once. GET /count tells what has arrived, GET /arrivals when each message marked `otp-<number>` did.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_MARK = re.compile(rb"otp-(\d+)")
_TAKEN = {
    "account_sid": "AC00000000000000000000000000000000",
    "api_version": "2010-04-01",
    "body": "Your parcel is on its way.",
    "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
    "date_sent": None,
    "date_updated": "Thu, 24 Aug 2023 05:01:45 +0000",
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "+15005550006",
    "messaging_service_sid": None,
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": None,
    "status": "queued",
    "subresource_uris": {"media": "/2010-04-01/Accounts/AC0/Messages/SM0/Media.json"},
    "to": "+14155550100",
}


@dataclass(slots=True)
class Seen:
    """What has arrived; times are of the machine's monotonic clock, in seconds."""

    count: int = 0
    first: float = 0.0
    arrivals: dict[str, float] = field(default_factory=dict)

    def arrived(self) -> int:
        """The number of the message that just came."""
        self.count += 1
        if self.count == 1:
            self.first = time.monotonic()
        return self.count


class Http(asyncio.Protocol):
    """One connection of an HTTP client that waits for its answers."""

    def __init__(self, seen: Seen, latency: float) -> None:
        self._seen = seen
        self._latency = latency
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = _LENGTH.search(head)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET "):
            self._reply(200, self._told(head.split(b" ", 2)[1].decode()))
            return
        number = self._seen.arrived()
        if mark := _MARK.search(body):
            self._seen.arrivals[mark[1].decode()] = time.monotonic()
        reply = (201, {"sid": f"SM{number:032x}", **_TAKEN})
        asyncio.get_running_loop().call_later(self._latency, self._reply, *reply)

    def _told(self, path: str) -> Any:
        if path == "/count":
            return {"count": self._seen.count, "first": self._seen.first}
        if path == "/arrivals":
            return self._seen.arrivals
        if "IncomingPhoneNumbers" in path:
            return {"incoming_phone_numbers": [{"capabilities": {"sms": True}}]}
        return {"status": "active"}

    def _reply(self, status: int, content: Any) -> None:
        body = orjson.dumps(content)
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


class Mailbox(asyncio.Protocol):
    """One connection of a mail client."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._buffer = b""
        self._in_mail = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n.\r\n" if self._in_mail else b"\r\n")) >= 0:
            line, self._buffer = self._buffer[:end], self._buffer[end + (5 if self._in_mail else 2) :]
            self._transport.write(self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        if self._in_mail:
            self._in_mail = False
            return b"250 taken as %d\r\n" % self._seen.arrived()
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink\r\n250-8BITMIME\r\n250 SIZE 10000000\r\n"
        if verb == b"DATA":
            self._in_mail = True
            return b"354 go on\r\n"
        return b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n"


async def _serve(latency: float) -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()
    web, mail = _listener("0.0.0.0"), _listener("127.0.0.1")
    await loop.create_server(lambda: Http(seen, latency), sock=web)
    await loop.create_server(lambda: Mailbox(seen), sock=mail)
    print(orjson.dumps([web.getsockname()[1], mail.getsockname()[1]]).decode(), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def _listener(host: str) -> socket.socket:
    return socket.create_server((host, 0), backlog=1024)


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink. Every address 127.x.y.z reaches its HTTP port, so that one sink can be several hosts."""

    http_port: int
    smtp_port: int

    def url(self, host: int = 1) -> str:
        return f"http://127.0.0.{host}:{self.http_port}"

    def count(self) -> int:
        return int(self._get("/count")["count"])

    def first(self) -> float:
        """When the first message came."""
        return float(self._get("/count")["first"])

    def arrivals(self) -> dict[int, float]:
        return {int(number): at for number, at in self._get("/arrivals").items()}

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url() + path, timeout=10) as response:
            return orjson.loads(response.read())


@contextmanager
def sink(latency: float = 0.0) -> Iterator[Sink]:
    """A sink of its own, which ends with the block."""
    command = [sys.executable, "-m", "bench.sinks", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield Sink(*orjson.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1])))
