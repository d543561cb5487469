"""A provider that tells of messages it took, as a process: `python -m bench.callers URL SECRET FIRST COUNT CLIENTS RATE`.

Raw connections that stay open send a status callback, signed as Twilio signs, for each of COUNT messages from number FIRST on:
RATE a second together, or with RATE 0 as fast as they are answered. Everything is signed before the clock starts. Prints as
JSON how many a second were answered, and the 50th and 99th percentile of an answer in milliseconds, counted from when its call
was due.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import orjson
import uvloop

from bench.load import percentile

STORED = b"HTTP/1.1 204 "


def calls(url: str, secret: str, numbers: range) -> list[bytes]:
    """The whole request for each message: the fields Twilio sends, and what it signs."""
    where = urlsplit(url)
    made = []
    for number in numbers:
        fields = _fields(f"SM{number:032x}")
        signed = url + "".join(name + value for name, value in sorted(fields.items()))
        signature = base64.b64encode(hmac.digest(secret.encode(), signed.encode(), "sha1")).decode()
        body = urlencode(fields)
        head = (
            f"POST {where.path} HTTP/1.1",
            f"Host: {where.netloc}",
            "User-Agent: TwilioProxy/1.1",
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8",
            f"Content-Length: {len(body)}",
            f"X-Twilio-Signature: {signature}",
            "I-Twilio-Idempotency-Token: 00000000-0000-0000-0000-000000000000",
            "Accept: */*",
        )
        made.append("\r\n".join((*head, "", body)).encode())
    return made


def _fields(sid: str) -> dict[str, str]:
    return {
        "AccountSid": "AC00000000000000000000000000000000",
        "ApiVersion": "2010-04-01",
        "From": "+15005550006",
        "MessageSid": sid,
        "MessageStatus": "delivered",
        "RawDlrDoneDate": "2308240501",
        "SmsSid": sid,
        "SmsStatus": "delivered",
        "To": "+14155550100",
    }


async def run(url: str, requests: list[bytes], clients: int, rate: float) -> tuple[float, float, float]:
    where, waiting, taken = urlsplit(url), iter(enumerate(requests)), list[float]()
    opened = [await asyncio.open_connection(where.hostname, where.port) for _ in range(clients)]
    began = time.perf_counter()
    await asyncio.gather(*(_client(reader, writer, waiting, began, rate, taken) for reader, writer in opened))
    elapsed = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
    return len(taken) / elapsed, percentile(taken, 50), percentile(taken, 99)


async def _client(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    waiting: Iterator[tuple[int, bytes]],
    began: float,
    rate: float,
    taken: list[float],
) -> None:
    for number, request in waiting:
        due = began + number / rate if rate else time.perf_counter()
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(STORED):
            raise RuntimeError(answer.decode())
        taken.append(time.perf_counter() - due)


if __name__ == "__main__":
    url, secret, first, number, connections, pace = sys.argv[1:]
    made = calls(url, secret, range(int(first), int(first) + int(number)))
    print(orjson.dumps(uvloop.run(run(url, made, int(connections), float(pace)))).decode())
