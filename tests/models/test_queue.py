"""The queue, statement by statement, on a real database."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models import busy, ids, lanes, queue, waiting, workers, workspaces
from models.base import now
from models.connectors import Connector
from models.database import Database
from models.lanes import Lane
from models.messages import Attempt, Message
from models.queue import Again, Claim, Job
from tests.harness import database_of, settings_for

LEASE = dt.timedelta(seconds=60)
SECOND = dt.timedelta(seconds=1)


class Bench:
    """A workspace with one connector and its lane."""

    def __init__(self, database: Database, workspace_id: str, lane_id: str) -> None:
        self.database = database
        self.workspace_id = workspace_id
        self.lane_id = lane_id

    async def put(self, priority: int = queue.NORMAL, count: int = 1, **given: Any) -> list[str]:
        made = [ids.new_id(ids.MESSAGE) for _ in range(count)]
        async with self.database.write() as session:
            session.add_all(self._message(message_id) for message_id in made)
            await session.flush()
            for message_id in made:
                await queue.enqueue(session, self.workspace_id, message_id, self.lane_id, priority, **given)
        return made

    def _message(self, message_id: str) -> Message:
        return Message(
            id=message_id,
            workspace_id=self.workspace_id,
            channel_type="SIMULATOR",
            flow="STANDARD",
            priority="NORMAL",
            status="QUEUED",
            to="x",
            media=[],
            fallbacks=[],
            route=[],
            is_pinned=False,
            created_at=now(),
            updated_at=now(),
        )

    async def claim(
        self,
        limit: int = 100,
        urgent: int = 100,
        worker: str = "w",
        lease: dt.timedelta = LEASE,
        suspect: bool = False,
    ) -> list[Claim]:
        async with self.database.write() as session:
            return await queue.claim(session, self.lane_id, worker, limit, urgent, lease, suspect)

    async def jobs(self) -> dict[str, Job]:
        async with self.database.read() as session:
            return {job.message_id: job for job in await session.scalars(select(Job))}

    async def set(self, table: Any, **values: Any) -> None:
        async with self.database.write() as session:
            await session.execute(update(table).where(table.id == self.lane_id).values(**values))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    settings = settings_for(tmp_path)
    async with database_of(settings):
        database = Database(settings.database_url)
        async with database.write() as session:
            workspace = await workspaces.create(session, "demo")
            connector = await plugged(session, workspace.id, per_second=None)
        yield Bench(database, workspace.id, connector.id)
        await database.close()


async def plugged(session: AsyncSession, workspace_id: str, per_second: float | None) -> Connector:
    at = now()
    connector = Connector(
        id=ids.new_id(ids.CONNECTOR),
        workspace_id=workspace_id,
        name=ids.new_id("name"),
        channel_type="SIMULATOR",
        provider="SIMULATOR",
        template_ref="simulator:1",
        priority=0,
        enabled=True,
        routing_key=ids.new_id("rk"),
        config={},
        secrets={},
        revision=1,
        config_revision=1,
        config_updated_at=at,
        is_verified=True,
        channel_id=ids.new_id(ids.CHANNEL),
        stage="ACTIVE",
        component_status="OK",
        status_updated_at=at,
        circuit="CLOSED",
        created_at=at,
        updated_at=at,
    )
    session.add(connector)
    await session.flush()
    await lanes.open(session, workspace_id, connector.id, per_second)
    return connector


async def test_a_claim_stores_the_attempt_and_holds_the_job(bench: Bench) -> None:
    (message_id,) = await bench.put()
    (claim,) = await bench.claim()
    assert claim == Claim(message_id, bench.workspace_id, bench.lane_id, attempt=1, tries=0, fence=1)
    job = (await bench.jobs())[message_id]
    assert (job.state, job.worker, job.attempts, job.fence) == (queue.LEASED, "w", 1, 1)
    assert job.lease_until is not None and now() < job.lease_until <= now() + LEASE
    async with bench.database.read() as session:
        (attempt,) = await session.scalars(select(Attempt))
    assert (attempt.message_id, attempt.number, attempt.outcome, attempt.finished_at) == (message_id, 1, None, None)
    assert await bench.claim() == []


async def test_first_in_first_out_and_the_urgent_before(bench: Bench) -> None:
    bulk, normal = await bench.put(queue.BULK, 2), await bench.put(queue.NORMAL, 2)
    high, otp = await bench.put(queue.HIGH), await bench.put(queue.OTP, 2)
    order = []
    while claims := await bench.claim(limit=1, urgent=1):
        order += [claim.message_id for claim in claims]
    assert order == [*otp, *high, *normal, *bulk]


async def test_a_worker_has_one_suspect_at_a_time(bench: Bench) -> None:
    first, second, third = await bench.put(queue.SUSPECT, 3)
    normal = await bench.put(count=2)
    assert [claim.message_id for claim in await bench.claim()] == normal
    (mine,) = await bench.claim(suspect=True)
    assert await bench.claim(suspect=True) == []
    (anothers,) = await bench.claim(worker="v", suspect=True)
    assert [mine.message_id, anothers.message_id] == [first, second]
    async with bench.database.write() as session:
        await queue.put_back(session, [Again(message_id=first, lane_id=bench.lane_id, run_at=None, tries=1)])
    assert [claim.message_id for claim in await bench.claim(suspect=True)] == [first]
    async with bench.database.write() as session:
        await queue.finish(session, [first])
    assert [claim.message_id for claim in await bench.claim(limit=0, suspect=True)] == [third]


async def test_a_suspect_is_one_until_its_job_is_done(bench: Bench) -> None:
    (message_id,) = await bench.put()
    await bench.claim()
    async with bench.database.write() as session:
        lane_id, again = bench.lane_id, Again(message_id=message_id, lane_id=bench.lane_id, run_at=None, tries=1)
        await queue.put_back(session, [replace(again, is_suspect=True)])
    (lane,) = await busy.busy_lanes(bench.database.reader)
    assert (lane.id, lane.top) == (lane_id, queue.SUSPECT)
    async with bench.database.write() as session:
        await waiting.hasten(session, bench.workspace_id, message_id, queue.HIGH, None)
    assert await bench.claim() == []
    (claim,) = await bench.claim(suspect=True)
    assert (claim.message_id, claim.attempt) == (message_id, 2)


async def test_a_suspect_keeps_to_the_limits_of_its_lane(bench: Bench) -> None:
    (suspect,) = await bench.put(queue.SUSPECT)
    (otp,) = await bench.put(queue.OTP)
    await bench.put(count=2)
    await bench.set(Lane, per_second=2.0, burst=2, tokens=2.0, tokens_at=now(), paused_until=now() + 60 * SECOND)
    assert await bench.claim(suspect=True) == []
    await bench.set(Lane, paused_until=None)
    assert {claim.message_id for claim in await bench.claim(suspect=True)} == {otp, suspect}


async def test_nobody_gets_a_job_twice(bench: Bench) -> None:
    put = await bench.put(count=60)
    claims = await asyncio.gather(*(bench.claim(limit=7, worker=f"w{i}") for i in range(20)))
    taken = [claim.message_id for many in claims for claim in many]
    while more := await bench.claim():
        taken += [claim.message_id for claim in more]
    assert sorted(taken) == put


async def test_no_more_in_flight_than_the_lane_takes(bench: Bench) -> None:
    await bench.set(Lane, max_in_flight=10)
    await bench.put(count=30)
    await bench.put(queue.OTP, 5)
    first = await bench.claim()
    assert len(first) <= 10 and await bench.claim() == []
    async with bench.database.write() as session:
        await queue.finish(session, [claim.message_id for claim in first[:3]])
    assert len(await bench.claim()) <= 3


async def test_a_throttled_lane(bench: Bench) -> None:
    await bench.set(Lane, per_second=5.0, burst=5, tokens=5.0, tokens_at=now())
    await bench.put(count=20)
    assert len(await bench.claim()) == 5
    assert await bench.claim() == []
    await asyncio.sleep(0.45)
    assert 1 <= len(await bench.claim()) <= 3


async def test_lanes_that_rest_are_left_alone(bench: Bench) -> None:
    await bench.put()
    for table, values, undo in (
        (Lane, {"paused_until": now() + 60 * SECOND}, {"paused_until": None}),
        (Lane, {"open_until": now() + 60 * SECOND}, {"open_until": None}),
        (Connector, {"enabled": False}, {"enabled": True}),
        (Connector, {"deleted_at": now()}, {"deleted_at": None}),
    ):
        await bench.set(table, **values)
        assert await bench.claim() == [], values
        await bench.set(table, **undo)
    await bench.set(Lane, paused_until=now() - SECOND)
    assert len(await bench.claim()) == 1


async def test_only_the_holder_may_decide(bench: Bench) -> None:
    (message_id,) = await bench.put()
    (first,) = await bench.claim(lease=-SECOND)
    async with bench.database.write() as session:
        assert await queue.held(session, [first]) == {message_id}
        await queue.put_back(session, [Again(message_id=message_id, lane_id=bench.lane_id, run_at=None, tries=1)])
    (second,) = await bench.claim()
    assert (second.attempt, second.tries, second.fence) == (2, 1, 2)
    async with bench.database.write() as session:
        assert await queue.held(session, [first]) == set()
        assert await queue.held(session, [first, second]) == {message_id}
        await queue.finish(session, [message_id])
        assert await queue.held(session, [second]) == set()
    assert await bench.jobs() == {}


async def test_what_was_lost(bench: Bench) -> None:
    """Leases that ended, and those of workers whose heart does not beat."""
    await bench.put(count=3)
    async with bench.database.write() as session:
        for worker in ("slow", "alive"):
            await workers.beat(session, worker)
    (late,) = await bench.claim(limit=1, worker="slow", lease=-SECOND)
    (dead,) = await bench.claim(limit=1, worker="dead")
    (alive,) = await bench.claim(limit=1, worker="alive")

    async def lost(before: dt.datetime | None, worker: str) -> list[Claim]:
        async with bench.database.write() as session:
            return sorted(await queue.lost(session, before, worker), key=lambda claim: claim.message_id)

    assert await lost(now(), "me") == [late, dead]
    assert await lost(None, "me") == [late, dead, alive]
    assert await lost(None, "alive") == [late, dead]


async def test_scheduled_jobs_wait_for_their_time(bench: Bench) -> None:
    (later,) = await bench.put(run_at=now() + 60 * SECOND)
    (due,) = await bench.put(run_at=now() - SECOND)
    assert await bench.claim() == []
    next_due = await busy.next_due(bench.database.reader)
    assert next_due is not None and next_due < now()
    async with bench.database.write() as session:
        assert await queue.promote(session) == [(bench.workspace_id, due)]
        assert await queue.promote(session) == []
    assert [claim.message_id for claim in await bench.claim()] == [due]
    assert (await bench.jobs())[later].state == queue.SCHEDULED


async def test_overdue_jobs_are_taken_out_unless_they_are_on_their_way(bench: Bench) -> None:
    (flying,) = await bench.put(expires_at=now() + 0.2 * SECOND)
    await bench.claim()
    (late,) = await bench.put(expires_at=now() - SECOND)
    (late_scheduled,) = await bench.put(expires_at=now() - SECOND, run_at=now() + SECOND)
    (early,) = await bench.put(expires_at=now() + 60 * SECOND)
    await asyncio.sleep(0.25)
    async with bench.database.write() as session:
        found = await queue.overdue(session)
    assert sorted(message_id for _, message_id in found) == sorted([late, late_scheduled])
    assert set(await bench.jobs()) == {flying, early}


async def test_busy_lanes_are_those_with_ready_jobs_the_most_urgent_first(bench: Bench) -> None:
    async with bench.database.write() as session:
        others = [(await plugged(session, bench.workspace_id, None)).id for _ in range(3)]
    benches = [bench, *(Bench(bench.database, bench.workspace_id, lane_id) for lane_id in others)]
    await benches[0].put(queue.BULK, 5)
    await benches[1].put(queue.OTP)
    await benches[2].put(queue.HIGH, run_at=now() + 60 * SECOND)
    found = await busy.busy_lanes(bench.database.reader)
    assert [(lane.id, lane.top) for lane in found] == [(others[0], queue.OTP), (bench.lane_id, queue.BULK)]
