"""Subscribers who asked alike are told together: each all of it, in order, whoever else comes, goes or is slow."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import websockets
from sqlalchemy import update
from watching import CHANNELS, DELIVERIES, EVENTS, cursors, refusal, status

from models.events import Counter
from tests.harness import Gateway, eventually
from tests.sending import change, frames, plug, script, send, settled


async def test_two_hundred_see_the_same_in_the_same_order_for_the_work_of_one(gateway: Gateway) -> None:
    made = await plug(gateway)
    shares = gateway.application.engine.shares
    async with gateway.socket() as one, gateway.socket() as two, gateway.socket(gateway.token("read:*")) as three:
        alike = [await socket.subscribe(DELIVERIES) for socket in (one, two) for _ in range(90)]
        other = [await three.subscribe(DELIVERIES) for _ in range(20)]  # other scopes: another audience
        await asyncio.sleep(0.5)
        before = shares.executions
        sent = await asyncio.gather(*(send(gateway, "no-receipt", connectorId=made["id"]) for _ in range(5)))
        told = [
            [(frame["cursor"], frame["message"]["id"], status(frame)) for frame in await frames(s, 15)] for s in alike + other
        ]
        assert all(one_told == told[0] for one_told in told)
        assert {message_id for _, message_id, _ in told[0]} == set(sent)
        executions = shares.executions - before
        assert 30 <= executions <= 45  # 15 events for two audiences; 200 × 15 would be 3000


async def test_a_slow_reader_holds_nobody_up(gateway: Gateway) -> None:
    made = await plug(gateway)
    address = gateway.url.replace("http", "ws") + "/graphql"
    subprotocol = websockets.Subprotocol("graphql-transport-ws")
    async with (
        websockets.connect(address, subprotocols=[subprotocol], max_queue=1, close_timeout=0.1) as slow,
        gateway.socket() as quick,
    ):
        await slow.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {gateway.token()}"}}))
        await slow.recv()
        for i in range(50):
            await slow.send(json.dumps({"id": f"{i}", "type": "subscribe", "payload": {"query": DELIVERIES}}))
        stream = await quick.subscribe(DELIVERIES)
        await asyncio.sleep(0.3)
        metadata = {**script(), "padding": "x" * 10_000}
        sent = await asyncio.gather(*(send(gateway, connectorId=made["id"], metadata=metadata) for _ in range(20)))
        began = time.perf_counter()
        told = await frames(stream, 60, seconds=5)
        assert {frame["message"]["id"] for frame in told} == set(sent)
        assert time.perf_counter() - began < 5


async def test_a_slow_reader_misses_nothing_and_is_told_in_order(gateway: Gateway) -> None:
    made = await plug(gateway)
    query = "subscription { deliveryUpdated { cursor message { body } } }"
    async with reluctant(gateway) as slow, gateway.socket() as quick:
        await slow.send(json.dumps({"id": "slow", "type": "subscribe", "payload": {"query": query}}))
        stream = await quick.subscribe(query)
        await met(lambda: gateway.application.sockets.operations == 2 and running("_operate") == 0)
        for _ in range(4):
            large = {"connectorId": made["id"], "body": "x" * 90_000}
            await asyncio.gather(*(send(gateway, "no-receipt", **large) for _ in range(15)))
        told = [frame["cursor"] for frame in await frames(stream, 180, seconds=30)]
        assert running("_catch_up") == 1
        assert [await following(slow) for _ in range(180)] == told
        await met(lambda: running("_catch_up") == 0)
        await send(gateway, "no-receipt", connectorId=made["id"])
        assert [await following(slow) for _ in range(3)] == [frame["cursor"] for frame in await frames(stream, 3)]
        assert len(gateway.application.engine.groups) == 1


@asynccontextmanager
async def reluctant(gateway: Gateway) -> AsyncIterator[websockets.ClientConnection]:
    """A client, admitted, that buffers as little as it can."""
    listener = urlsplit(gateway.url)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((listener.hostname, listener.port))
    plain.setblocking(False)
    protocol = websockets.Subprotocol("graphql-transport-ws")
    address = gateway.url.replace("http", "ws") + "/graphql"
    async with websockets.connect(address, sock=plain, subprotocols=[protocol], max_queue=1, close_timeout=0.1) as slow:
        await slow.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {gateway.token()}"}}))
        await slow.recv()
        yield slow


async def following(client: websockets.ClientConnection) -> str:
    """The cursor of the next delivery this client is told of."""
    async with asyncio.timeout(10):
        while (frame := json.loads(await client.recv()))["type"] == "ping":
            pass
    return str(frame["payload"]["data"]["deliveryUpdated"]["cursor"])


async def met(condition: Callable[[], bool]) -> None:
    async def probe() -> bool:
        return condition()

    await eventually(probe)


def running(step: str) -> int:
    """How many tasks of sockets are at this step."""
    return sum(f"Connection.{step}" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_whoever_comes_while_events_flow_gets_all_that_follow(gateway: Gateway) -> None:
    made = await plug(gateway)
    beginning = (await cursors(gateway))[-1]
    async with gateway.socket() as socket:
        founder = await socket.subscribe(EVENTS)
        await asyncio.sleep(0.1)
        sending = asyncio.create_task(one_by_one(gateway, made["id"], 40))
        since, late = [], []
        for i in range(20):
            since.append(await socket.subscribe(EVENTS, after=beginning))
            late.append(await socket.subscribe(EVENTS))
            if i % 3 == 0:
                await since.pop(0).complete()
                await late.pop(0).complete()
            await asyncio.sleep(0.02)
        await founder.complete()
        last = await sending
        await settled(gateway, last, "SENT")
        await change(gateway, made["id"], name="marked")
        log = (await cursors(gateway))[(await cursors(gateway)).index(beginning) + 1 :]
        assert len(log) == 121
        for stream in since:
            assert [frame["cursor"] for frame in await frames(stream, 121)] == log
        for stream in late:
            seen = [(await stream.next())["cursor"]]
            while seen[-1] != log[-1]:
                seen.append((await stream.next())["cursor"])
            assert seen == log[-len(seen) :]
        assert len(gateway.application.engine.groups) == 1  # from wherever they came


async def one_by_one(gateway: Gateway, connector_id: str, number: int) -> str:
    """Messages sent one after the other; the last of them."""
    for _ in range(number):
        sent = await send(gateway, "no-receipt", connectorId=connector_id)
    return sent


async def test_who_asked_for_different_events_shares_those_that_both_are_told_of(gateway: Gateway) -> None:
    made, other = await plug(gateway), await plug(gateway, "other")
    engine = gateway.application.engine
    async with gateway.socket() as socket:
        asked: list[Any] = [{}, {"connectorIds": [made["id"]]}, {"statuses": ["QUEUED"]}, {"connectorIds": [other["id"]]}]
        streams = [await socket.subscribe(DELIVERIES, **variables) for variables in asked]
        await met(lambda: gateway.application.sockets.operations == 4 and running("_operate") == 0)
        assert len(engine.groups) == 4
        before = engine.shares.executions
        await send(gateway, "no-receipt", connectorId=made["id"])
        everything = await frames(streams[0], 3)
        assert await frames(streams[1], 3) == everything
        assert await frames(streams[2], 1) == everything[:1]
        assert await streams[3].silent()
        assert engine.shares.executions - before == 3


async def test_who_waits_costs_no_task(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:
        await socket.subscribe(EVENTS)
        await met(lambda: gateway.application.sockets.operations == 1 and running("_operate") == 0)
        before = len(asyncio.all_tasks())
        streams = [await socket.subscribe(EVENTS) for _ in range(50)]
        await met(lambda: gateway.application.sockets.operations == 51 and running("_operate") == 0)
        assert len(asyncio.all_tasks()) == before
        await settled(gateway, await send(gateway), "DELIVERED")
        told = [await frames(stream, 4) for stream in streams]
        assert told == [told[0]] * 50


async def test_all_who_wait_are_told_when_events_are_lost(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:
        streams = [await socket.subscribe(EVENTS) for _ in range(5)]
        await met(lambda: gateway.application.sockets.operations == 5 and running("_operate") == 0)
        async with gateway.application.database.write() as session:
            await session.execute(update(Counter).where(Counter.workspace_id == gateway.demo.id).values(seq=Counter.seq + 3))
        await send(gateway)
        for stream in streams:
            error = await refusal(stream)
            assert error["extensions"].keys() == {"code", "httpStatus", "oldestCursor"}
            assert error["extensions"]["code"] == "RESYNC_REQUIRED"
        assert (len(gateway.application.engine.groups), gateway.application.sockets.operations) == (0, 0)
        again = await socket.subscribe(EVENTS)
        await met(lambda: gateway.application.sockets.operations == 1 and running("_operate") == 0)
        await send(gateway)
        assert (await again.next())["__typename"] == "DeliveryUpdated"


async def test_the_end_of_the_log_completes_who_waits(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(EVENTS)
        await met(lambda: gateway.application.sockets.operations == 1 and running("_operate") == 0)
        await gateway.application.tails.close()
        assert (await stream.frame())["type"] == "complete"
        assert gateway.application.sockets.operations == 0


async def test_leaving_leaves_nothing_behind(gateway: Gateway) -> None:
    await plug(gateway)
    application = gateway.application
    async with gateway.socket() as socket:
        for _ in range(3):
            streams = [await socket.subscribe(query) for query in (DELIVERIES, CHANNELS, EVENTS) for _ in range(10)]
            await met(lambda: application.sockets.operations == 30 and running("_operate") == 0)
            tail = application.tails.get(gateway.demo.id)
            assert tail is not None and tail.followers == 3  # ten who asked alike have one place in the log
            assert (len(application.engine.groups), application.sockets.operations) == (3, 30)
            for stream in streams:
                await stream.complete()

            async def left() -> bool:
                return application.tails.get(gateway.demo.id) is None

            await eventually(left)

    assert len(application.engine.groups) == 0

    async def gone() -> bool:
        return not any(_is_of_a_socket(task) for task in asyncio.all_tasks()) and len(application.sockets) == 0

    await eventually(gone)


def _is_of_a_socket(task: asyncio.Task[Any]) -> bool:
    return task.get_name().startswith(("tail-", "group")) or "Connection." in repr(task.get_coro())


async def test_a_socket_that_breaks_leaves_nothing_behind(gateway: Gateway) -> None:
    async with gateway.socket() as socket:
        for _ in range(10):
            await socket.subscribe(EVENTS)
        await asyncio.sleep(0.1)
        assert gateway.application.tails.get(gateway.demo.id) is not None
        socket.connection.transport.abort()

        async def left() -> bool:
            return gateway.application.tails.get(gateway.demo.id) is None and len(gateway.application.sockets) == 0

        await eventually(left)
