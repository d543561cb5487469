"""Frames that are not of the protocol, against a real server on loopback."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator

import pytest
import websockets
from socket_client import QUICK, until, visiting
from structlog.testing import capture_logs
from toy_api import Api, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving(Api(patience=QUICK)) as running:
        yield running


HOSTILE = [
    "null", "1", '"x"', "[]", "[1]", "{}", "", "{", "NaN", "[" * 5_000, '{"a":' * 1_500 + "1" + "}" * 1_500, b"{}", b"\xff",
    '{"type":1}', '{"type":null}', '{"type":"x"}', '{"type":["ping"]}', '{"type":"start"}', '{"type":"connection_ack"}',
    '{"type":"' + "x" * 9_000 + '"}', '{"type":"ping","payload":[]}', '{"type":"pong","payload":"x"}',
    '{"type":"ping","payload":1}',
    '{"type":"connection_init","payload":[]}', '{"type":"connection_init","payload":"x"}', '{"type":"subscribe"}',
    '{"type":"subscribe","id":""}', '{"type":"subscribe","id":1}', '{"type":"subscribe","id":{},"payload":{"query":"{a}"}}',
    '{"type":"subscribe","id":"a"}', '{"type":"subscribe","id":"a","payload":"{ hello }"}', '{"type":"complete"}',
    '{"type":"subscribe","id":"a","payload":{"query":1}}', '{"type":"subscribe","id":"a","payload":{"query":null}}',
    '{"type":"subscribe","id":"a","payload":{"query":"{a}","variables":[]}}', '{"type":"complete","id":[]}',
    '{"type":"subscribe","id":"a","payload":{"query":"{a}","operationName":{}}}', '{"type":"\\ud800"}',
    '{"type":"subscribe","id":"a","payload":{"query":"{a}","extensions":1}}', '{"type":"complete","id":"' + "x" * 129 + '"}',
]  # fmt: skip


@pytest.mark.parametrize("initialised", [False, True])
async def test_hostile_frames_close_4400(api: Api, initialised: bool) -> None:
    with capture_logs() as logs:
        for frame in HOSTILE:
            async with visiting(api) as client:
                if initialised:
                    await client.init()
                await client.say(frame)
                code, reason = await client.closed()
                assert (code, frame) == (4400, frame)
                assert reason
    assert (logs, api.world.greeted) == ([], [])


def mangled(seed: int) -> str:
    chance = random.Random(seed)
    text = chance.choice(
        [
            '{"type":"connection_init","payload":{"authorization":"Bearer good"}}',
            '{"type":"subscribe","id":"a","payload":{"query":"subscription { countdown(start: 2) }","variables":{"n":[1]}}}',
            '{"type":"subscribe","id":"b","payload":{"query":"{ hello again { subject } }","operationName":null}}',
            '{"type":"complete","id":"a"}',
            '{"type":"ping","payload":{"a":null}}',
        ]
    )
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(text))
        piece = chance.choice(["", "{", "}", '"', "[", "\\u0000", "é", "null", ":", ",", "$", text[:at]])
        text = text[:at] + piece + text[at + chance.randint(0, 3) :]
    return text


async def test_random_frames_never_fail_the_server(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    codes = set()
    with capture_logs() as logs:
        for seed in range(300):
            async with visiting(api) as client:
                with contextlib.suppress(websockets.ConnectionClosed):
                    if seed % 3:
                        await client.init()
                    for step in range(3):
                        await client.say(mangled(1_000 * step + seed))
                    await client.say("the end")
                codes.add((await client.closed())[0])
        await until(lambda: len(api.sockets) == 0)
    assert codes == {4400, 4401, 4403, 4409, 4429} & codes
    assert 4400 in codes
    assert logs == []
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
