"""Receipts that wait, and which of them can be taken."""

from __future__ import annotations

import datetime as dt
import time

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models import ids, receipts
from models.base import now
from models.connectors import Connector
from models.messages import Attempt
from models.receipts import ANY, Receipt
from tests.models.test_queue import Bench, bench

__all__ = ["bench"]

HOUR = dt.timedelta(hours=1)


async def sent(bench: Bench, count: int) -> list[str]:
    """So many messages that a provider took, and calls by our own ids backwards."""
    made = await bench.put(count=count)
    async with bench.database.write() as session:
        await session.execute(insert(Attempt), [attempt(bench, message_id) for message_id in made])
    return made


def attempt(bench: Bench, message_id: str) -> dict[str, object]:
    return {
        "message_id": message_id,
        "number": 1,
        "workspace_id": bench.workspace_id,
        "connector_id": bench.lane_id,
        "started_at": now(),
        "external_id": message_id[::-1],
    }


def receipt(connector_id: str, name: str, reference: str | None = None, message_id: str | None = None) -> dict[str, object]:
    return {
        "id": ids.new_id(ids.RECEIPT),
        "connector_id": connector_id,
        "event_id": ids.new_id(ids.EVENT),
        "workspace_id": "wsp_1",
        "external_id": name,
        "reference": reference,
        "message_id": message_id,
        "status": "DELIVERED",
        "raw": {},
        "occurred_at": now(),
        "received_at": now(),
    }


async def known(session: AsyncSession, since: dt.timedelta = HOUR) -> list[tuple[str, str]]:
    return sorted(await receipts.parked_and_known(session, now() - since))


async def test_a_parked_receipt_is_known_by_name_or_by_reference(bench: Bench) -> None:
    first, second, third = await sent(bench, 3)
    lane_id = bench.lane_id
    await bench.set(Connector, channel_type="SMS")
    async with bench.database.write() as session:
        rows = [
            receipt(lane_id, first[::-1]),
            receipt(lane_id, first[::-1]),
            receipt(lane_id, second[::-1], message_id="msg_applied"),
            receipt(lane_id, "unknown"),
            receipt(lane_id, "late", reference=first),
            receipt("con_other", second[::-1]),
            receipt("con_other", "theirs", reference=first),
            receipt(ANY, third[::-1]),
            receipt(ANY, "anybody's", reference=first),
            receipt(ANY, "nobody's"),
        ]
        await session.execute(insert(Receipt), rows)
        found = [(ANY, "anybody's"), (ANY, third[::-1]), (lane_id, "late"), (lane_id, first[::-1])]
        assert await known(session) == sorted(found)
        assert await known(session, since=-HOUR) == []
        assert len(await receipts.parked_and_known(session, now() - HOUR, limit=3)) == 3


async def test_what_was_applied_before_costs_nothing(bench: Bench) -> None:
    """It is asked every second, and the table holds every receipt there was."""
    few, many = await _cost(bench, 100), await _cost(bench, 1_500)
    assert many <= 8 * few + 0.005


async def _cost(bench: Bench, count: int) -> float:
    """Seconds of processor time it takes to find nothing among so many receipts that were applied, the least of three."""
    sent_ones = await sent(bench, count)
    rows = [receipt(bench.lane_id, message_id, message_id=message_id) for message_id in sent_ones]
    async with bench.database.write() as session:
        await session.execute(insert(Receipt), rows)
        costs = []
        for _ in range(3):
            began = time.process_time()
            assert await known(session) == []
            costs.append(time.process_time() - began)
    return min(costs)
