"""graphql-transport-ws, against a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from socket_client import QUICK, Client, until, visiting
from structlog.testing import capture_logs
from toy_api import Api, serving

from gateway.connection import Patience


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving(Api(origins=("https://console.example",), patience=QUICK)) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    async with visiting(api) as visitor:
        yield visitor


async def test_subscription_runs_to_its_end(client: Client) -> None:
    await client.init()
    await client.subscribe("a", "subscription($n: Int!) { countdown(start: $n) }", variables={"n": 2})
    assert await client.next("a") == {"data": {"countdown": 2}}
    assert await client.next("a") == {"data": {"countdown": 1}}
    assert await client.hear() == {"id": "a", "type": "complete"}


async def test_queries_and_mutations_run_too(client: Client) -> None:
    await client.init()
    await client.subscribe("q", "query A { subject } query B { hello }", operationName="A")
    assert await client.next("q") == {"data": {"subject": "good"}}
    assert await client.hear() == {"id": "q", "type": "complete"}
    await client.subscribe("q", "mutation { count }")
    assert await client.next("q") == {"data": {"count": 1}}
    assert await client.hear() == {"id": "q", "type": "complete"}


async def test_every_event_has_a_context_of_its_own(client: Client) -> None:
    await client.init()
    await client.subscribe("r", "subscription { readings { number loaded } }")
    seen = [await client.next("r") for _ in range(3)]
    assert [answer["data"]["readings"] for answer in seen] == [{"number": n, "loaded": n + 1} for n in range(3)]


async def test_complete_ends_the_source_and_frees_the_id(api: Api, client: Client) -> None:
    await client.init()
    for count in 1, 2:
        await client.subscribe("f", "subscription { forever }")
        assert await client.next("f") == {"data": {"forever": 0}}
        await client.say({"id": "f", "type": "complete"})
        await until(lambda count=count: api.world.closed_sources == count)
    await client.say({"id": "never", "type": "complete"})
    assert await client.is_alive()


async def test_leaving_ends_the_source(api: Api) -> None:
    with capture_logs() as logs:
        async with visiting(api) as client:
            await client.init()
            await client.subscribe("f", "subscription { forever }")
            await client.next("f")
        await until(lambda: api.world.closed_sources == 1)
        await until(lambda: len(api.sockets) == 0)
    assert logs == []


async def test_init_payload_is_the_credentials(api: Api, client: Client) -> None:
    await client.init(Authorization="Bearer good", nested={"a": 1}, number=1)
    assert api.doorman.asked == [{"authorization": "Bearer good"}]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"authorization": "Bearer wrong"}, "The credentials are missing or wrong."),
        ({}, "The credentials are missing or wrong."),
        (None, "The credentials are missing or wrong."),
        ({"authorization": "Bearer throttled"}, "Too many attempts."),
    ],
)
async def test_refused_credentials(client: Client, payload: Any, reason: str) -> None:
    await client.say({"type": "connection_init", "payload": payload})
    assert await client.closed() == (4403, reason)


async def test_failing_authentication_asks_to_come_back(client: Client) -> None:
    with capture_logs() as logs:
        await client.say({"type": "connection_init", "payload": {"authorization": "Bearer crash"}})
        assert await client.closed() == (1013, "Try again later.")
    assert [line["event"] for line in logs] == ["internal_error"]


async def test_a_socket_does_not_outlive_its_token(api: Api, client: Client) -> None:
    started = time.monotonic()
    await client.init(authorization="Bearer lasting 0.3")
    await client.subscribe("f", "subscription { forever }")
    await client.next("f")
    assert await client.closed() == (4403, "The credentials have expired.")
    assert 0.25 < time.monotonic() - started < 1
    assert api.world.closed_sources == 1


async def test_subscribe_before_init(api: Api, client: Client) -> None:
    await client.subscribe("a", "{ hello }")
    assert await client.closed() == (4401, "Unauthorized")
    assert api.world.greeted == []


async def test_no_init_in_time(client: Client) -> None:
    assert await client.closed() == (4408, "Connection initialisation timeout")


async def test_an_initialised_socket_stays(client: Client) -> None:
    await client.init()
    await asyncio.sleep(0.2)
    assert await client.is_alive()


async def test_second_init(client: Client) -> None:
    await client.init()
    await client.say({"type": "connection_init"})
    assert await client.closed() == (4429, "Too many initialisation requests")


async def test_duplicate_id(api: Api, client: Client) -> None:
    await client.init()
    await client.subscribe("é" * 100, "subscription { forever }")
    await client.next("é" * 100)
    await client.subscribe("é" * 100, "{ hello }")
    code, reason = await client.closed()
    assert code == 4409
    assert reason is not None
    assert reason.startswith("Subscriber for éé")
    assert len(reason.encode()) in (122, 123)
    assert api.world.greeted == []


@pytest.mark.parametrize("subprotocol", ["graphql-ws", "soap", None])
async def test_other_subprotocols(api: Api, subprotocol: str | None) -> None:
    async with visiting(api, subprotocol) as client:
        assert await client.closed() == (4406, "Only graphql-transport-ws is spoken here.")


async def test_origins(api: Api) -> None:
    for origin in None, f"http://127.0.0.1:{api.port}", "https://console.example":
        async with visiting(api, origin=origin) as client:
            await client.init()
    for origin in "https://evil.example", "null", f"http://127.0.0.1:{api.port + 1}", "http://[":
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with visiting(api, origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_ping_and_pong(client: Client) -> None:
    await client.say({"type": "ping"})
    assert await client.hear() == {"type": "pong"}
    await client.say({"type": "ping", "payload": {"a": [1]}})
    assert await client.hear() == {"type": "pong", "payload": {"a": [1]}}
    await client.say({"type": "pong", "payload": {"a": 1}})
    assert await client.is_alive()


async def test_own_pings_and_silent_clients() -> None:
    async with serving(Api(patience=Patience(ping_interval=0.1))) as api, visiting(api) as polite, visiting(api) as silent:
        await polite.init()
        await silent.init()
        for _ in range(4):
            assert await polite.hear() == {"type": "ping"}
            await polite.say({"type": "pong"})
        assert await silent.closed() == (4499, "The client does not answer.")
        assert await polite.is_alive()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { countdown }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($n: Int!) { countdown(start: $n) }", "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", "OPERATION_RESOLUTION_FAILURE"),
        ("{ " + "again { " * 12 + "hello" + " }" * 13, "QUERY_TOO_COMPLEX"),
        ("subscription { forbidden }", "FORBIDDEN"),
    ],
)
async def test_refused_operations_leave_the_socket_open(client: Client, query: str, code: str) -> None:
    await client.init()
    for _ in range(2):
        await client.subscribe("a", query)
        assert (await client.error("a"))["extensions"]["code"] == code
    assert await client.is_alive()


async def test_a_problem_in_the_stream_ends_the_operation(client: Client) -> None:
    await client.init()
    await client.subscribe("b", "subscription { behind }")
    assert await client.next("b") == {"data": {"behind": 1}}
    entry = await client.error("b")
    assert (entry["message"], entry["extensions"]) == (
        "Start over.",
        {"code": "RESYNC_REQUIRED", "httpStatus": 400, "oldest": "evt_9"},
    )
    assert await client.is_alive()


async def test_an_exception_in_the_stream_is_masked(client: Client) -> None:
    await client.init()
    with capture_logs() as logs:
        await client.subscribe("b", "subscription { broken }")
        await client.next("b")
        entry = await client.error("b")
    assert (entry["message"], entry["extensions"]["code"]) == ("Internal error.", "INTERNAL")
    assert [line["error_id"] for line in logs] == [entry["extensions"]["errorId"]]
    assert await client.is_alive()


async def test_persisted_queries(client: Client) -> None:
    await client.init()
    query = "{ hello }"
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(query.encode()).hexdigest()}}
    hashed = {"id": "a", "type": "subscribe", "payload": {"extensions": extensions}}
    await client.say(hashed)
    assert (await client.error("a"))["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    await client.subscribe("a", query, extensions=extensions)
    assert await client.next("a") == {"data": {"hello": "hello world"}}
    assert (await client.hear())["type"] == "complete"
    await client.say(hashed)
    assert await client.next("a") == {"data": {"hello": "hello world"}}


async def test_one_operation_too_many(client: Client) -> None:
    await client.init()
    for name in "abcde":
        await client.subscribe(name, "subscription { forever }")
        await client.next(name)
    await client.subscribe("f", "subscription { forever }")
    assert (await client.error("f"))["extensions"] == {"code": "RATE_LIMITED"}
    await client.say({"id": "a", "type": "complete"})
    await asyncio.sleep(0.01)
    await client.subscribe("f", "subscription { forever }")
    assert await client.next("f") == {"data": {"forever": 0}}


async def test_long_messages(client: Client) -> None:
    await client.init()
    await client.subscribe("a", "{ hello }" + " " * 10_000)
    assert await client.closed() == (1009, "The message is too long.")


async def test_a_source_that_never_waits_lets_others_run(api: Api) -> None:
    async with visiting(api, max_queue=None) as greedy, visiting(api) as other:
        await greedy.init()
        await greedy.subscribe("t", "subscription { torrent }")
        await greedy.next("t")
        await other.init()
        started = time.monotonic()
        assert await other.is_alive()
        assert time.monotonic() - started < 0.5
        await greedy.say({"id": "t", "type": "complete"})
        async with asyncio.timeout(5):
            while (await greedy.hear())["type"] != "pong":
                await greedy.say({"type": "ping"})


async def test_a_client_that_does_not_read_stops_its_source(api: Api) -> None:
    async with visiting(api, max_queue=1) as client:
        await client.init()
        await client.subscribe("t", "subscription { torrent(size: 100000) }")
        await until(lambda: api.world.drained > 2)
        await asyncio.sleep(0.3)
        drained = api.world.drained
        await asyncio.sleep(0.3)
        assert api.world.drained == drained
        assert drained < 300
        client.socket.transport.abort()
    await until(lambda: len(api.sockets) == 0)


async def test_a_client_that_does_not_read_is_dropped() -> None:
    async with serving(Api(patience=Patience(ping_interval=0.2))) as api, visiting(api, max_queue=1) as client:
        await client.init()
        await client.subscribe("t", "subscription { torrent(size: 100000) }")
        await until(lambda: len(api.sockets) == 0)
        client.socket.transport.abort()


async def test_shutdown_closes_every_socket(api: Api) -> None:
    async with visiting(api) as one, visiting(api) as two:
        await one.init()
        await one.subscribe("f", "subscription { forever }")
        await one.next("f")
        await api.sockets.close_all()
        assert len(api.sockets) == 0
        assert await one.closed() == (1012, "The server is restarting.")
        assert await two.closed() == (1012, "The server is restarting.")
        assert api.world.closed_sources == 1
        with pytest.raises(websockets.InvalidStatus):
            async with visiting(api):
                pass


async def test_a_socket_that_is_closing_is_closed_once(api: Api) -> None:
    with capture_logs() as logs:
        async with visiting(api) as client:
            await client.init()
            await client.say("null")
            for _ in range(20):
                api.sockets.close_where(lambda viewer: True, reason="Revoked.")
                await asyncio.sleep(0)
            code, _reason = await client.closed()
        await until(lambda: len(api.sockets) == 0)
    assert code in (4400, 4403)
    assert logs == []


async def test_sockets_of_one_viewer_can_be_closed(api: Api) -> None:
    async with visiting(api) as one, visiting(api) as other:
        await one.init(authorization="Bearer good-one")
        await other.init(authorization="Bearer good-other")
        api.sockets.close_where(lambda viewer: viewer.subject == "good-one", reason="Revoked.")
        assert await one.closed() == (4403, "Revoked.")
        assert await other.is_alive()


async def test_equal_subscriptions_share_the_execution_of_an_event(api: Api) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(20):
            clients.append(client := await stack.enter_async_context(visiting(api)))
            await client.init()
            await client.subscribe("s", "subscription { shared { number loaded } }")
        await asyncio.sleep(0.05)
        api.world.bell.set()
        assert [await client.next("s") for client in clients] == [{"data": {"shared": {"number": 1, "loaded": 0}}}] * 20
    assert api.engine.shares.executions == 1
