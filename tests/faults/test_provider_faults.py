"""What providers do wrong: every fault has its one consequence, and nothing is handed over twice that may have arrived."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.load import ACCEPTED, TWILIO
from tests.harness import Gateway
from tests.lab import approve
from tests.provider_server import Garbage, ProviderServer, Reply, Reset
from tests.sending import plug, send, settled

pytestmark = pytest.mark.fault

SORRY = Reply(429, {"code": 20429, "message": "Too many requests", "status": 429}, headers={"Retry-After": "1"})
BUSY = Reply(503, {"code": 20503, "message": "Busy", "status": 503})


@pytest.mark.parametrize(
    ("fault", "status", "outcomes"),
    [
        (Reply(500, body=b"oops"), "UNKNOWN", ["UNKNOWN"]),
        (Garbage(), "UNKNOWN", ["UNKNOWN"]),
        (Reply(201, body=b"[" * 50_000), "UNKNOWN", ["UNKNOWN"]),
        (Reply(201, body=b"x" * 1_000_000), "UNKNOWN", ["UNKNOWN"]),
        (Reset(), "UNKNOWN", ["UNKNOWN"]),
        (Reply(302, headers={"Location": "http://127.0.0.1:1/"}), "FAILED", ["FAILED"]),
        (Reply(400, {"code": 21211, "message": "Invalid 'To'", "status": 400}), "FAILED", ["FAILED"]),
        (Reply(401, {"code": 20003, "message": "Authenticate", "status": 401}), "FAILED", ["FAILED"]),
        (SORRY, "SENT", ["THROTTLED", "SENT"]),
        (BUSY, "SENT", ["RETRY", "SENT"]),
    ],
    ids=["500", "garbage", "deep", "huge", "reset", "redirect", "refused", "unauthorized", "429", "503"],
)
async def test_a_fault_has_its_one_consequence(gateway: Gateway, fault: Any, status: str, outcomes: list[str]) -> None:
    async with ProviderServer(default=ACCEPTED) as provider:
        connector = await plug(gateway, "twilio", config={"twilio": {**TWILIO, "baseUrl": provider.url}})
        provider.requests.clear()
        provider.answer(fault)
        sender = await approve(gateway)
        message_id = await send(gateway, "+447700900123", connectorId=connector["id"], flow="OTP", senderId=sender)
        found = await settled(gateway, message_id, status, seconds=15)
        assert [attempt["outcome"] for attempt in found["attempts"]] == outcomes
        assert len(provider.requests) == len(outcomes)


async def test_a_dead_connector_does_not_hold_up_the_others(gateway: Gateway) -> None:
    async with ProviderServer(default=ACCEPTED) as healthy, ProviderServer(default=ACCEPTED) as dead:
        good = await plug(gateway, "good", config={"twilio": {**TWILIO, "baseUrl": healthy.url}})
        bad = await plug(gateway, "bad", config={"twilio": {**TWILIO, "baseUrl": dead.url}})
        dead.answer(*[Reply(503, {"code": 20503, "message": "Busy", "status": 503}, delay=2.0)] * 40)
        sender = await approve(gateway)
        for _ in range(30):
            await send(gateway, "+447700900123", connectorId=bad["id"], senderId=sender)
        message_id = await send(gateway, "+447700900123", connectorId=good["id"], senderId=sender)
        await settled(gateway, message_id, "SENT", seconds=2)
