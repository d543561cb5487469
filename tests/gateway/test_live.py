"""Live updates over graphql-transport-ws: what one named is told at once, and nothing is missed, doubled or shown to others."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from watching import CHANNELS, DELIVERIES, EVENTS, cursors, refusal, status

from gateway.auth import mint
from models.events import Event, Floor
from resolvers.events import scope_of
from tests.harness import Gateway, Socket, database_of, process, settings_for
from tests.sending import DELETE, change, frames, log_of, plug, send, settled

Json = Any


ROAD = ["QUEUED", "PROCESSING", "SENT", "DELIVERED"]


async def test_a_message_on_its_way(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(DELIVERIES)
        await asyncio.sleep(0.1)
        message_id = await send(gateway)
        told = await frames(stream, 4)
        assert [status(frame) for frame in told] == ROAD
        assert [frame["previousStatus"] for frame in told] == [None, *ROAD[:-1]]
        assert [frame["source"] for frame in told] == ["API", "DISPATCHER", "PROVIDER_RESPONSE", "PROVIDER_CALLBACK"]
        assert {frame["message"]["id"] for frame in told} == {message_id}
        assert await stream.silent()
    timeline = "query($id: ID!) { message(id: $id) { timeline { eventId cursor } } }"
    entries = (await gateway.gql(timeline, id=message_id))["message"]["timeline"]
    assert [(frame["id"], frame["cursor"]) for frame in told] == [(entry["eventId"], entry["cursor"]) for entry in entries]


async def test_what_is_named_begins_with_its_state(gateway: Gateway) -> None:
    made = await plug(gateway)
    message_id = await send(gateway)
    await settled(gateway, message_id, "DELIVERED")
    async with gateway.socket() as socket:
        deliveries = await socket.subscribe(DELIVERIES, messageIds=[message_id, message_id, "msg_none"])
        frame = await deliveries.next()
        assert (frame["message"], status(frame)) == ({"id": message_id, "to": "delivered", "status": "DELIVERED"}, "DELIVERED")
        channels = await socket.subscribe(CHANNELS, connectorIds=[made["id"]])
        frame = await channels.next()
        assert frame["connector"] == {"id": made["id"], "name": "sim"}
        assert frame["status"] == {"ready": True, "channel": {"stage": "ACTIVE"}}
        both = await socket.subscribe(EVENTS, filter={"subjectIds": [message_id, made["id"]]})
        assert [frame["type"] for frame in await frames(both, 2)] == ["channel.updated", "simulator.delivered"]
        for stream in (deliveries, channels, both):
            assert await stream.silent(0.1)
        await change(gateway, made["id"], name="renamed")
        frame = await channels.next()
        assert (frame["connector"]["name"], frame["cause"], frame["type"]) == ("renamed", "settings", "channel.updated")
        assert await deliveries.silent()
        nobody = await socket.subscribe(DELIVERIES)
        assert await nobody.silent()  # what names no object begins with what comes


async def test_a_state_is_shown_to_those_who_may_see_it(gateway: Gateway) -> None:
    made = await plug(gateway)
    message_id = await send(gateway)
    await settled(gateway, message_id, "DELIVERED")
    async with gateway.socket(gateway.token("read:sms")) as socket:
        for stream in (
            await socket.subscribe(DELIVERIES, messageIds=[message_id]),
            await socket.subscribe(DELIVERIES, messageIds=[made["id"]]),
            await socket.subscribe(EVENTS, filter={"subjectIds": [message_id, made["id"]]}),
        ):
            assert await stream.silent(0.15)
    async with gateway.socket(gateway.token("connectors:read")) as socket:
        stream = await socket.subscribe(EVENTS, filter={"subjectIds": [message_id, made["id"]]})
        assert (await stream.next())["type"] == "channel.updated"
        strange = await socket.subscribe(CHANNELS, connectorIds=[message_id])
        await send(gateway)
        assert await stream.silent() and await strange.silent(0.1)


async def test_from_every_cursor_on_without_gap_or_double(gateway: Gateway) -> None:
    await plug(gateway)
    for _ in range(4):
        await settled(gateway, await send(gateway), "DELIVERED")
    everything = await cursors(gateway)
    async with gateway.socket() as socket:
        streams = [await socket.subscribe(EVENTS, after=cursor) for cursor in everything]
        resumed = [[frame["cursor"] for frame in await frames(s, len(everything) - i - 1)] for i, s in enumerate(streams)]
        assert resumed == [everything[i + 1 :] for i in range(len(everything))]
        message_id = await send(gateway)
        await settled(gateway, message_id, "DELIVERED")
        live = [[frame["cursor"] for frame in await frames(stream, 4)] for stream in streams]
        assert live == [(await cursors(gateway))[-4:]] * len(streams)
        filtered = await socket.subscribe(DELIVERIES, after=everything[0], messageIds=[message_id])
        assert [status(frame) for frame in await frames(filtered, 4)] == ROAD
        assert await filtered.silent(0.1)


async def test_on_from_a_cursor_after_a_restart(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with database_of(settings):
        async with process(settings) as gateway:
            await plug(gateway)
            await settled(gateway, await send(gateway), "DELIVERED")
            async with gateway.socket() as socket:
                stream = await socket.subscribe(EVENTS, after=(await cursors(gateway))[2])
                first = [(await stream.next())["cursor"] for _ in range(2)]
            await settled(gateway, await send(gateway), "DELIVERED")
            everything = await cursors(gateway)
        async with process(settings) as gateway, gateway.socket() as socket:
            stream = await socket.subscribe(EVENTS, after=first[-1])
            rest = [frame["cursor"] for frame in await frames(stream, len(everything) - 5)]
            assert everything[3:5] == first and everything[5:] == rest
            await settled(gateway, await send(gateway), "DELIVERED")
            assert [frame["cursor"] for frame in await frames(stream, 4)] == (await cursors(gateway))[-4:]
            assert await stream.silent(0.1)


async def test_each_filter_of_deliveries(gateway: Gateway) -> None:
    one, two = await plug(gateway, "one"), await plug(gateway, "two")
    async with gateway.socket() as socket:
        by = {
            "connector": await socket.subscribe(DELIVERIES, connectorIds=[one["id"]]),
            "channel": await socket.subscribe(DELIVERIES, channels=["SIMULATOR"]),
            "other channel": await socket.subscribe(DELIVERIES, channels=["EMAIL", "SMS"]),
            "flow": await socket.subscribe(DELIVERIES, flow="OTP"),
            "status": await socket.subscribe(DELIVERIES, statuses=["SENT", "FAILED"]),
            "batch": await socket.subscribe(DELIVERIES, batchId="bat_none"),
            "none": await socket.subscribe(DELIVERIES, messageIds=[]),
        }
        await asyncio.sleep(0.1)
        first = await send(gateway, "no-receipt", connectorId=one["id"], flow="OTP")
        second = await send(gateway, "no-receipt", connectorId=two["id"])
        for message_id in (first, second):
            await settled(gateway, message_id, "SENT")
        expected = {"connector": [first] * 3, "channel": [first] * 3 + [second] * 3, "flow": [first] * 3}
        expected["status"] = [first, second]
        for name, stream in by.items():
            told = await frames(stream, len(expected.get(name, ())))
            assert sorted(frame["message"]["id"] for frame in told) == sorted(expected.get(name, ())), name
            assert await stream.silent(0.05), name


async def test_receipts_without_effect_are_no_deliveries(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:
        deliveries, everything = await socket.subscribe(DELIVERIES), await socket.subscribe(EVENTS)
        await asyncio.sleep(0.1)
        await send(gateway, "out-of-order")
        assert [status(frame) for frame in await frames(deliveries, 4)] == ROAD
        assert [frame["type"].partition(".")[2] for frame in await frames(everything, 5)][-1] == "receipt"
        assert await deliveries.silent()


async def test_each_filter_of_channels(gateway: Gateway) -> None:
    async with gateway.socket() as socket:
        everyone = await socket.subscribe(CHANNELS)
        simulators, mails = (
            await socket.subscribe(CHANNELS, channels=["SIMULATOR"]),
            await socket.subscribe(CHANNELS, channels=["EMAIL"]),
        )
        await asyncio.sleep(0.1)
        made = await plug(gateway)
        for stream in (everyone, simulators):
            told = await frames(stream, 2)
            assert [frame["type"] for frame in told] == ["channel.created", "channel.updated"]
            assert [frame["status"]["channel"]["stage"] for frame in told] == ["PROVISIONING", "ACTIVE"]
            assert [frame["previousStage"] for frame in told] == [None, "PROVISIONING"]
        other = await plug(gateway, "other")
        one = await socket.subscribe(CHANNELS, connectorIds=[made["id"]])
        await one.next()
        await gateway.gql(DELETE, id=other["id"])
        await gateway.gql(DELETE, id=made["id"])
        told = await frames(one, 2)
        assert [frame["status"]["channel"]["stage"] for frame in told] == ["DEPROVISIONING", "DEPROVISIONED"]
        assert await one.silent(0.1) and await mails.silent(0.05)


async def test_each_filter_of_events(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:
        wanted = {
            "message.sent": ["simulator.sent"],
            "simulator.*": ["simulator.queued", "simulator.processing", "simulator.sent", "simulator.delivered"],
            "simulator_delivered": ["simulator.delivered"],
            "channel.*": [],
        }
        streams = {text: await socket.subscribe(EVENTS, filter={"types": [text]}) for text in wanted}
        await asyncio.sleep(0.1)
        await settled(gateway, await send(gateway), "DELIVERED")
        for text, expected in wanted.items():
            assert [frame["type"] for frame in await frames(streams[text], len(expected))] == expected
            assert await streams[text].silent(0.05)
        error = await refusal(await socket.subscribe(EVENTS, filter={"types": ["x"] * 51}))
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        for stream in (
            await socket.subscribe(EVENTS, filter={"subjectIds": ["msg_x"] * 101}),
            await socket.subscribe(DELIVERIES, messageIds=["msg_x"] * 101),
            await socket.subscribe(CHANNELS, connectorIds=["con_x"] * 101),
        ):
            assert (await refusal(stream))["extensions"]["code"] == "BAD_USER_INPUT"


async def test_cursors_that_are_not_of_this_log(gateway: Gateway) -> None:
    await plug(gateway)
    await settled(gateway, await send(gateway), "DELIVERED")
    seal = gateway.application.means.cursors.seal
    other = await gateway.workspace("other")
    listed = "query { messages(first: 1) { pageInfo { endCursor } } }"
    foreign = (await gateway.gql(listed))["messages"]["pageInfo"]["endCursor"]
    head = len(await log_of(gateway))
    bad = [
        "",
        "x",
        "é" * 10,
        "A" * 9_000,
        foreign,
        seal(scope_of(other.id), (1,)),
        seal(scope_of(gateway.demo.id), (head + 1,)),
    ]
    async with gateway.socket() as socket:
        for cursor in bad:
            for query in (EVENTS, DELIVERIES, CHANNELS):
                error = await refusal(await socket.subscribe(query, after=cursor))
                assert error["extensions"]["code"] == "INVALID_CURSOR", cursor
        newest = await socket.subscribe(EVENTS, after=seal(scope_of(gateway.demo.id), (head,)))
        assert await newest.silent(0.1)


async def test_a_cursor_older_than_what_is_kept(gateway: Gateway) -> None:
    await plug(gateway)
    await settled(gateway, await send(gateway), "DELIVERED")
    everything = await cursors(gateway)
    mine = gateway.demo.id
    async with gateway.application.database.write() as session:
        await session.execute(delete(Event).where(Event.workspace_id == mine, Event.seq < 4))
        session.add(Floor(workspace_id=mine, oldest=4))
    async with gateway.socket() as socket:
        error = await refusal(await socket.subscribe(EVENTS, after=everything[0]))
        assert error["extensions"]["code"] == "RESYNC_REQUIRED"
        stream = await socket.subscribe(EVENTS, after=error["extensions"]["oldestCursor"])
        assert [frame["cursor"] for frame in await frames(stream, len(everything) - 3)] == everything[3:]
        kept = await socket.subscribe(EVENTS, after=everything[2])
        assert (await kept.next())["cursor"] == everything[3]


async def test_workspaces_hear_nothing_of_each_other(gateway: Gateway) -> None:
    mine = await plug(gateway)
    other = await gateway.workspace("other")
    stranger = gateway.token(workspace=other)
    theirs = await plug(gateway, token=stranger)
    sent = await send(gateway)
    await settled(gateway, sent, "DELIVERED")
    async with gateway.socket(stranger) as socket:
        streams = [
            await socket.subscribe(DELIVERIES, messageIds=[sent]),
            await socket.subscribe(DELIVERIES, connectorIds=[mine["id"]]),
            await socket.subscribe(DELIVERIES),
            await socket.subscribe(CHANNELS, connectorIds=[mine["id"]]),
            await socket.subscribe(EVENTS, filter={"subjectIds": [sent, mine["id"]]}),
            await socket.subscribe(EVENTS),
        ]
        await asyncio.sleep(0.1)
        await settled(gateway, await send(gateway), "DELIVERED")
        await change(gateway, mine["id"], name="renamed")
        for stream in streams:
            assert await stream.silent(0.1)
        own = await send(gateway, token=stranger, connectorId=theirs["id"])
        for stream in (streams[2], streams[5]):
            assert [frame["message"]["id"] for frame in await frames(stream, 4)] == [own] * 4


async def test_scopes(gateway: Gateway) -> None:
    for query, scopes, variables, needed in (
        (DELIVERIES, ["send:*", "connectors:*"], {}, "read:*"),
        (DELIVERIES, ["read:email"], {"channels": ["EMAIL", "SMS"]}, "read:sms"),
        (CHANNELS, ["read:*"], {}, "connectors:read"),
        (EVENTS, ["send:*"], {}, "read:*"),
    ):
        async with gateway.socket(gateway.token(*scopes)) as socket:
            error = await refusal(await socket.subscribe(query, **variables))
            assert (error["extensions"]["code"], error["extensions"]["requiredScope"]) == ("FORBIDDEN", needed)


async def test_one_hears_of_the_channels_one_may_read(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket(gateway.token("read:email")) as deaf, gateway.socket(gateway.token("read:simulator")) as hears:
        silent = [await deaf.subscribe(DELIVERIES), await deaf.subscribe(EVENTS)]
        told = await hears.subscribe(EVENTS)
        await asyncio.sleep(0.1)
        await settled(gateway, await send(gateway), "DELIVERED")
        await plug(gateway, "second")
        assert len(await frames(told, 4)) == 4
        for stream in (*silent, told):
            assert await stream.silent(0.1)


async def test_a_token_that_expires_closes_its_socket_within_a_second(gateway: Gateway) -> None:
    lifetime = dt.timedelta(seconds=2)
    token = mint(gateway.application.settings, gateway.demo.id, "tester", ["*"], lifetime)
    expires = int(time.time()) + 2
    async with gateway.socket(token) as socket:
        stream = await socket.subscribe(EVENTS)
        await asyncio.wait_for(socket.connection.wait_closed(), 5)
        assert (socket.connection.close_code, socket.connection.close_reason) == (4403, "The credentials have expired.")
        assert -0.2 <= time.time() - expires <= 1
        assert await stream.silent(0)


async def test_a_state_that_is_shared_is_not_an_old_one(gateway: Gateway) -> None:
    """A first frame and a resumed one tell of objects as they are, whoever was told what before."""
    made = await plug(gateway)
    query = "subscription($ids: [ID!]) { channelStatusChanged(connectorIds: $ids) { connector { name enabled } } }"
    async with gateway.socket() as socket:
        for name in ("a", "b", "c"):
            first = await socket.subscribe(query, ids=[made["id"]])
            await first.next()
            await change(gateway, made["id"], name=name)
            assert (await first.next())["connector"]["name"] == name
            again = await socket.subscribe(query, ids=[made["id"]])
            assert (await again.next())["connector"]["name"] == name


async def test_a_subscription_that_ends_while_messages_come(gateway: Gateway) -> None:
    await plug(gateway)
    async with gateway.socket() as socket:

        async def restless(socket: Socket) -> None:
            for _ in range(20):
                stream = await socket.subscribe(DELIVERIES)
                await asyncio.sleep(0.01)
                await stream.complete()

        sending = [send(gateway) for _ in range(10)]
        await asyncio.gather(restless(socket), *sending)
        stream = await socket.subscribe(DELIVERIES)
        await asyncio.sleep(0.3)
        message_id = await send(gateway)
        while (await stream.next())["message"]["id"] != message_id:
            pass
