"""How many messages are accepted a second over HTTP: one by one, and a thousand to a call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import orjson

from bench.installation import Engine, address_of, installation, twilio
from bench.sinks import sink
from bench.table import Row

CLIENTS = 64
BATCH_CLIENTS = 4


async def measure(engines: list[Engine], seconds: float, batch: int = 1_000) -> AsyncIterator[Row]:
    for engine in engines:
        with sink() as provider:
            async with installation(engine) as ours:
                (connector_id,) = await ours.plug(twilio(provider))
                with ours.process("serve", "--no-worker") as process:
                    target = [address_of(process), ours.token, connector_id]
                    single, p50, p99 = _load(*target, str(CLIENTS), str(seconds), "1")
                    together, _, slowest = _load(*target, str(BATCH_CLIENTS), str(seconds), str(batch))
        measured = f"accept, {engine.name}"
        yield Row(measured, f"messageSend, {CLIENTS} clients", single, "/s")
        yield Row(measured, "its answer, p50", p50, "ms")
        yield Row(measured, "its answer, p99", p99, "ms")
        yield Row(measured, f"messageSendBatch of {batch:,}", together, "/s", together / single, "messageSend", "≥ 10")
        yield Row(measured, "its answer, p99", slowest, "ms")


def _load(*arguments: str) -> tuple[float, float, float]:
    """A process of its own, so that the clients do not slow the server down more than they must."""
    command = [sys.executable, "-m", "bench.load", *arguments]
    rate, p50, p99 = orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout)
    return rate, p50, p99
