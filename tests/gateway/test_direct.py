"""Frames on the wire: as the websocket library would have written them, and only where nothing has to wait."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from toy_api import AUTHORIZED, Api, serving
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from gateway.direct import Gate, Inbox
from gateway.frames import next_frame, wire_frame
from schema.answers import Answer


@pytest.mark.parametrize("size", [0, 80, 125, 126, 60_000, 65_535, 70_000])
def test_a_frame_is_what_the_library_would_have_written(size: int) -> None:
    answer = Answer({"text": "é" + "x" * size})
    reader = StreamReader()
    reader.feed_data(wire_frame('a"1', answer.tail))
    parsing = Frame.parse(reader.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    frame: Frame = parsed.value.value
    assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
    assert bytes(frame.data).decode() == next_frame('a"1', answer.text)
    assert orjson.loads(frame.data) == {"id": 'a"1', "type": "next", "payload": answer.body()}


def test_the_bytes_all_subscribers_share_are_made_once() -> None:
    answer = Answer({"a": 1})
    assert answer.tail is answer.tail


async def test_a_gate_holds_all_who_wait_until_it_opens() -> None:
    gate = Gate()
    await gate.wait()
    gate.clear()
    gate.clear()
    assert not gate.is_set()
    waiting = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    assert gate.is_set()
    assert await asyncio.gather(*waiting[1:]) == [None, None]


async def test_an_inbox_keeps_the_order_and_loses_nothing() -> None:
    inbox = Inbox()
    inbox.put_nowait(1)
    inbox.put_nowait(2)
    assert ([await inbox.get(), await inbox.get()], inbox.empty()) == ([1, 2], True)
    left = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    reading = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put_nowait(3)
    inbox.put_nowait(4)
    assert await reading == 3
    assert await inbox.get() == 4


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_both_ways_say_the_same(compression: str | None) -> None:
    """A server that compresses cannot be given finished frames; ours does not, unless told to."""
    async with serving(Api()) as api:
        protocol = "graphql-transport-ws"
        address = api.url.replace("http", "ws")
        async with connect(address, subprotocols=[protocol], compression=compression) as socket:  # type: ignore[list-item]
            await socket.send(orjson.dumps({"type": "connection_init", "payload": AUTHORIZED}).decode())
            await socket.recv()
            await socket.send(orjson.dumps({"id": "1", "type": "subscribe", "payload": {"query": "{ hello }"}}).decode())
            said = [orjson.loads(await socket.recv()) for _ in range(2)]
    assert said == [{"id": "1", "type": "next", "payload": {"data": {"hello": "hello world"}}}, {"id": "1", "type": "complete"}]
