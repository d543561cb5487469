"""Many subscribers on one process, in a process of their own: `python -m bench.fans URL TOKEN SOCKETS EVENTS CONNECTOR PID`.

Raw sockets that count frames by their bytes, so that the server is what is measured. Prints as JSON: deliveries a second while
`EVENTS` messages are sent back to back, the microseconds of processor time process PID spent on each of these, sending and
accepting the messages included, the 99th percentile of a delivery's delay in milliseconds when they come one at a time, and how
much the memory of PID grew for each idle socket, in KiB.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import aiohttp
import orjson
import uvloop

from bench.load import SEND, percentile

SUBSCRIBE = "subscription { deliveryUpdated { status message { id status to } } }"
QUIET = 1.0
LIMIT = 60.0


def frame(message: object) -> bytes:
    """A masked text frame; the mask is all zeros."""
    data = orjson.dumps(message)
    head = bytes((0x81, 0x80 | len(data))) if len(data) < 126 else bytes((0x81, 0xFE)) + len(data).to_bytes(2, "big")
    return head + bytes(4) + data


class Fans:
    """What all sockets have received."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.received = 0
        self.at: list[float] = []
        self._changed = asyncio.Event()

    def told(self) -> None:
        self._changed.set()

    async def acknowledge(self, number: int) -> None:
        await self._until(lambda: self.acknowledged >= number)

    async def receive(self, number: int) -> None:
        await self._until(lambda: self.received >= number)

    async def _until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not met():
                self._changed.clear()
                await self._changed.wait()


class Fan(asyncio.Protocol):
    """One subscriber."""

    def __init__(self, fans: Fans, address: str, token: str) -> None:
        self._fans = fans
        self._address = address
        self._token = token
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /graphql HTTP/1.1",
            f"Host: {self._address}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: graphql-transport-ws",
        )
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        if not self._open and b"\r\n\r\n" in data:
            self._open = True
            self._transport.write(frame({"type": "connection_init", "payload": {"authorization": f"Bearer {self._token}"}}))
        if b'"connection_ack"' in data:
            self._transport.write(frame({"id": "1", "type": "subscribe", "payload": {"query": SUBSCRIBE}}))
            self._fans.acknowledged += 1
            self._fans.told()
        if b'"type":"ping"' in data:
            self._transport.write(frame({"type": "pong"}))
        if came := data.count(b'"deliveryUpdated"'):
            self._fans.received += came
            self._fans.at.append(time.perf_counter())
            self._fans.told()


async def run(
    url: str, token: str, sockets: int, events: int, connector_id: str, pid: int
) -> tuple[float, float, float, float]:
    loop, fans, place = asyncio.get_running_loop(), Fans(), urlsplit(url)
    before = resident(pid)
    transports = []
    for _ in range(sockets):
        transport, _fan = await loop.create_connection(lambda: Fan(fans, place.netloc, token), place.hostname, place.port)
        transports.append(transport)
    await fans.acknowledge(sockets)
    await asyncio.sleep(QUIET)
    idle = (resident(pid) - before) / sockets
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def send() -> None:
            body = {"query": SEND, "variables": {"input": {"to": "customer", "connectorId": connector_id, "body": "hi"}}}
            async with http.post(f"{url}/graphql", data=orjson.dumps(body)) as response:
                answer = orjson.loads(await response.read())
                assert not answer.get("errors") and not answer["data"]["messageSend"]["userErrors"], answer

        delays: list[float] = []
        for _ in range(5):
            fans.at.clear()
            expected, begun = fans.received + sockets, time.perf_counter()
            await send()
            await fans.receive(expected)
            delays += [at - begun for at in fans.at]
        expected, begun, used = fans.received + sockets * events, time.perf_counter(), processor(pid)
        for _ in range(events):
            await send()
        await fans.receive(expected)
        rate = sockets * events / (fans.at[-1] - begun)
        cost = (processor(pid) - used) * 1000 / (sockets * events)
    for transport in transports:
        transport.abort()
    return rate, cost, percentile(delays, 99), idle


def processor(pid: int) -> float:
    """Milliseconds of processor time a process has used: fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """KiB of memory a process has, as Linux counts it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    url, token, sockets, events, connector_id, pid = sys.argv[1:]
    told = uvloop.run(run(url, token, int(sockets), int(events), connector_id, int(pid)))
    print(orjson.dumps(told).decode())
