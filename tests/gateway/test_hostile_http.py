"""Bodies and addresses that nobody sends by mistake, against a real server on loopback."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from http_caller import GRAPHQL, JSON, Caller, calling
from structlog.testing import capture_logs
from toy_api import AUTHORIZED, Api


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling() as caller:
        yield caller


@pytest.fixture
def api(call: Caller) -> Api:
    return call.api


async def test_body_limit_holds_whatever_length_is_declared(call: Caller) -> None:
    reply = await call.post(b" " * 10_001)
    assert (reply.status, reply.code) == (413, "PAYLOAD_TOO_LARGE")

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    streamed = await call.send("POST", {**AUTHORIZED, **JSON}, stream())
    assert (streamed.status, streamed.code) == (413, "PAYLOAD_TOO_LARGE")
    assert (await call.get(query="{ hello }", operationName="x" * 10_001)).status == 413
    assert (await call.post({"query": "{ hello }"})).status == 200


async def test_a_declared_flood_is_refused_before_it_is_sent(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = "POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: 5000000000\r\n\r\n".encode())
    status = await asyncio.wait_for(reader.readline(), 1)
    writer.close()
    assert status.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_leaves_while_sending_is_no_error(api: Api) -> None:
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection("127.0.0.1", api.port)
        head = "POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: 500\r\n\r\n{{".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
    assert logs == []


def hostile_bodies() -> list[bytes]:
    texts = [
        "", "null", "1", '"x"', "[]", "[1]", '[{"query":"{ hello }"}]', "{}", '{"query":null}', '{"query":1}', "NaN", "{,}",
        '{"query":["{ hello }"]}', '{"query":"{ hello }","variables":[]}', '{"query":"{ hello }","variables":"{}"}',
        '{"query":"{ hello }","operationName":1}', '{"query":"{ hello }","extensions":[]}', '{"query":"{ hello }"',
        '{"documentId":1}', '{"documentId":["a"]}', '{"query":"{ hello }","documentId":"a"}', '{"documentId":null}',
        '{"query":"{ hello }","extensions":{"persistedQuery":1}}', '{"extensions":{"persistedQuery":{"version":2}}}',
        '{"query":"{ hello }","variables":{"n":' + "9" * 5_000 + "}}", '{"query":"{ hello }","variables":{"n":1e999}}',
        "[" * 5_000, "[" * 2_000 + "]" * 2_000, '{"a":' * 1_500 + "1" + "}" * 1_500, '{"query":"\\ud800"}', "\ufeff{}",
        '{"query":"query($v: JSON!){ echo(value: $v) }","variables":{"v":' + "[" * 200 + "]" * 200 + "}}",
        "true", "{ hello }", "query={hello}", "\x00", '{"query":"\\u0000"',
    ]  # fmt: skip
    return [*(text.encode() for text in texts), b'{"query":"\xff\xfe"}', b"\xff", b"\x1f\x8b\x08\x00", "{}".encode("utf-16")]


@pytest.mark.parametrize("body", hostile_bodies(), ids=lambda body: repr(body[:30]))
async def test_hostile_bodies(call: Caller, body: bytes) -> None:
    with capture_logs() as logs:
        reply = await call.post(body, accept=GRAPHQL)
    assert 400 <= reply.status < 500
    assert reply.code == "BAD_USER_INPUT"
    assert (logs, call.api.world.greeted) == ([], [])


async def test_deep_values_that_are_admitted_can_be_answered(call: Caller) -> None:
    deep: Any = []
    for _ in range(90):
        deep = [deep]
    assert await call.ask("query($v: JSON!) { echo(value: $v) }", v=deep) == {"data": {"echo": deep}}


def mangled(seed: int) -> bytes:
    """A request with bytes changed, cut, doubled or put in."""
    chance = random.Random(seed)
    seeds = [
        {"query": "query Q($n: String = \"a\") { hello(name: $n) ...F } fragment F on Query { again { subject } }"},
        {"query": "{ echo(value: {a: [1, 2, {b: null}]}) }", "variables": {"n": [1, {"x": 2.5}]}, "operationName": None},
        {"query": "mutation M { count }", "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
    ]  # fmt: skip
    text = bytearray(orjson.dumps(chance.choice(seeds)))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text))
        piece = chance.choice([b"", b"{", b"}", b'"', b"[", b"\\u0000", b"\xc3", b"...F", b"null", b"$", b"@skip", text[:at]])
        text[at : at + chance.randint(0, 3)] = piece
    return bytes(text)


async def test_mangled_requests_never_fail_the_server(call: Caller) -> None:
    with capture_logs() as logs:
        replies = [await call.post(mangled(seed), accept=GRAPHQL) for seed in range(300)]
    assert {reply.status for reply in replies} <= {200, 400, 413}
    assert sum(reply.status == 400 for reply in replies) > 200
    codes = {error["extensions"]["code"] for reply in replies for error in reply.json.get("errors", [])}
    assert codes <= {
        "BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "OPERATION_RESOLUTION_FAILURE",
        "PERSISTED_QUERY_NOT_FOUND", "PAYLOAD_TOO_LARGE",
    }  # fmt: skip
    assert logs == []


@pytest.mark.parametrize(
    "query",
    ["?query=%ff", "?query={hello}&query={hello}", "?query={hello}&variables=[", "?query={hello}&variables=1", "?query="],
)
async def test_hostile_urls(call: Caller, query: str) -> None:
    reply = await call.send("GET", {**AUTHORIZED, "accept": GRAPHQL}, query=query)
    assert (reply.status, set(reply.json)) == (400, {"errors"})
    assert call.api.world.greeted == []
