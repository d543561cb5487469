"""Clients that send as fast as they are answered, in a process of their own.

`python -m bench.load URL TOKEN CONNECTOR CLIENTS SECONDS BATCH` prints as JSON how many messages a second were accepted, and
the 50th and 99th percentile of an answer in milliseconds. BATCH 1 is `messageSend`, more is `messageSendBatch`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp
import orjson
import uvloop

from bench.installation import SENDER

SEND = """mutation($input: MessageSendInput!) {
  messageSend(input: $input) { message { id status } userErrors { code message } } }"""
BATCH = """mutation($input: MessageSendBatchInput!) {
  messageSendBatch(input: $input) { batch { id total } userErrors { code message } } }"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, and for how long."""

    url: str
    token: str
    connector_id: str
    clients: int
    seconds: float
    batch: int

    def body(self, numbers: Iterator[int]) -> bytes:
        messages = [self._message(next(numbers)) for _ in range(self.batch)]
        given: dict[str, Any] = messages[0] if self.batch == 1 else {"messages": messages}
        return orjson.dumps({"query": SEND if self.batch == 1 else BATCH, "variables": {"input": given}})

    def _message(self, i: int) -> dict[str, Any]:
        return {
            "to": f"+1415555{i % 10_000:04}",
            "connectorId": self.connector_id,
            "senderId": SENDER,
            "body": f"Your parcel {i} is on its way.",
        }


async def run(load: Load) -> tuple[float, float, float]:
    numbers, taken = count(), list[float]()
    headers = {"Authorization": f"Bearer {load.token}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=load.clients)
    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:

        async def client() -> None:
            while time.perf_counter() - started < load.seconds:
                asked = time.perf_counter()
                async with http.post(f"{load.url}/graphql", data=load.body(numbers)) as response:
                    answer = orjson.loads(await response.read())
                ((_, payload),) = answer["data"].items()
                if payload["userErrors"]:
                    raise RuntimeError(str(payload["userErrors"][:3]))
                taken.append(time.perf_counter() - asked)

        await asyncio.gather(*(client() for _ in range(load.clients)))
    elapsed = time.perf_counter() - started
    return len(taken) * load.batch / elapsed, percentile(taken, 50), percentile(taken, 99)


def percentile(seconds: list[float], share: int) -> float:
    """In milliseconds."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


if __name__ == "__main__":
    url, token, connector_id, clients, duration, size = sys.argv[1:]
    print(orjson.dumps(uvloop.run(run(Load(url, token, connector_id, int(clients), float(duration), int(size))))).decode())
