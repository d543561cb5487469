"""Subscriptions over HTTP, against a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from toy_api import AUTHORIZED, Api, serving

from gateway.streams import Streams
from resolvers.viewer import Viewer
from tests import make
from tests.harness import Gateway, eventually

EVENTS = "text/event-stream"
MULTIPART = 'multipart/mixed;boundary=graphql;subscriptionSpec="1.0"'
PART = "\r\ncontent-type: application/json\r\n\r\n"
GRAPHQL = "application/graphql-response+json"
QUICK = 0.1


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving(Api(origins=("https://console.example",), streams=Streams(most=3))) as running:
        yield running


@contextlib.asynccontextmanager
async def posting(api: Api, query: str, accept: str = EVENTS, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    given = {**AUTHORIZED, "accept": accept, **headers}
    async with aiohttp.ClientSession() as client, client.post(api.url, json={"query": query}, headers=given) as response:
        yield response


async def text_of(api: Api, query: str, accept: str = EVENTS, **headers: str) -> str:
    """The whole stream of an operation that ends."""
    async with posting(api, query, accept, **headers) as response:
        assert response.status == 200
        return await asyncio.wait_for(response.text(), 5)


async def refused(api: Api, query: str, accept: str = EVENTS, **headers: str) -> tuple[int, str]:
    """Status and code of an answer that is no stream."""
    async with posting(api, query, accept, **headers) as response:
        assert response.content_type in ("application/json", GRAPHQL)
        return response.status, (await response.json(content_type=None))["errors"][0]["extensions"]["code"]


async def frame(response: aiohttp.ClientResponse) -> str:
    """The next server-sent event or comment."""
    return (await asyncio.wait_for(response.content.readuntil(b"\n\n"), 5)).decode()


async def opened(response: aiohttp.ClientResponse) -> None:
    assert await frame(response) == ":\n\n"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_server_sent_events(api: Api) -> None:
    async with posting(api, "subscription { countdown(start: 2) }") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert len(response.headers["x-request-id"]) == 32
        text = await response.text()
    assert text == (
        ':\n\nevent: next\ndata: {"data":{"countdown":2}}\n\nevent: next\ndata: {"data":{"countdown":1}}\n\n'
        "event: complete\ndata:\n\n"
    )


async def test_multipart(api: Api) -> None:
    async with posting(api, "subscription { countdown(start: 2) }", MULTIPART) as response:
        assert response.headers["content-type"] == 'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0'
        text = await response.text()
    assert text == (
        f'\r\n--graphql{PART}{{"payload":{{"data":{{"countdown":2}}}}}}\r\n--graphql'
        f'{PART}{{"payload":{{"data":{{"countdown":1}}}}}}\r\n--graphql--\r\n'
    )


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (EVENTS, EVENTS),
        (f"{MULTIPART}, {GRAPHQL}, application/json", "multipart/mixed"),
        (f"{EVENTS}, multipart/mixed", EVENTS),
        (f"{MULTIPART}, {EVENTS}", EVENTS),
        (f"{MULTIPART}, {EVENTS};q=0.5", "multipart/mixed"),
        (f"{GRAPHQL}, application/json, {EVENTS}, multipart/mixed", EVENTS),
    ],
)
async def test_the_client_chooses(api: Api, accept: str, kind: str) -> None:
    async with posting(api, "subscription { countdown(start: 1) }", accept) as response:
        assert (response.status, response.content_type) == (200, kind)


async def test_by_get(api: Api) -> None:
    given = {"headers": {**AUTHORIZED, "accept": EVENTS}, "params": {"query": "subscription { countdown(start: 1) }"}}
    async with aiohttp.ClientSession() as client, client.get(api.url, **given) as response:
        assert (await response.text()).endswith('{"countdown":1}}\n\nevent: complete\ndata:\n\n')
    given["params"]["query"] = "mutation { count }"
    async with aiohttp.ClientSession() as client, client.get(api.url, **given) as response:
        assert (response.status, response.headers["allow"], api.world.counter) == (405, "POST", 0)


async def test_queries_and_mutations_for_clients_that_only_take_streams(api: Api) -> None:
    assert await text_of(api, "{ hello }") == (
        ':\n\nevent: next\ndata: {"data":{"hello":"hello world"}}\n\nevent: complete\ndata:\n\n'
    )
    assert '{"payload":{"data":{"count":1}}}' in await text_of(api, "mutation { count }", MULTIPART)


async def test_queries_of_clients_that_take_streams_too_are_answered_plainly(api: Api) -> None:
    accept = f"{GRAPHQL}, application/graphql+json, application/json, {EVENTS}, multipart/mixed"
    async with posting(api, "{ hello }", accept) as response:
        assert (response.content_type, await response.json(content_type=None)) == (GRAPHQL, {"data": {"hello": "hello world"}})


@pytest.mark.parametrize("query", ["{", "{ nothing }", "subscription { countdown }", "subscription { forbidden }"])
async def test_a_refused_operation_is_one_answer_of_the_stream(api: Api, query: str) -> None:
    opening, answer, end, _ = (await text_of(api, query)).split("\n\n")
    assert (opening, end) == (":", "event: complete\ndata:")
    assert set(json.loads(answer.removeprefix("event: next\ndata: "))) == {"errors"}


async def test_a_refused_document_is_answered_plainly_where_that_is_taken(api: Api) -> None:
    assert await refused(api, "subscription { nothing }", f"{MULTIPART}, application/json") == (
        200,
        "GRAPHQL_VALIDATION_FAILED",
    )
    assert await refused(api, "{", f"{GRAPHQL}, {EVENTS}") == (400, "GRAPHQL_PARSE_FAILED")


async def test_nothing_is_streamed_without_credentials(api: Api) -> None:
    assert await refused(api, "subscription { forever }", authorization="Bearer wrong") == (401, "UNAUTHENTICATED")
    assert len(api.http.streams) == 0


async def test_a_problem_in_the_stream_ends_it(api: Api) -> None:
    text = await text_of(api, "subscription { behind }")
    assert '"extensions":{"oldest":"evt_9","code":"RESYNC_REQUIRED","httpStatus":400}}]}\n\nevent: complete\n' in text
    assert text.count("event: next") == 2


async def test_an_exception_in_the_stream_is_masked(api: Api) -> None:
    with capture_logs() as logs:
        text = await text_of(api, "subscription { broken }", **{"x-request-id": "req-1"})
    assert "hunter2" not in text
    assert '"code":"INTERNAL"' in text
    assert [line["event"] for line in logs] == ["internal_error"]


async def test_every_event_has_a_context_of_its_own(api: Api) -> None:
    text = await text_of(api, "subscription { readings { number loaded } }")
    for number in range(3):
        assert f'{{"number":{number},"loaded":{number + 1}}}' in text


async def test_equal_subscriptions_share_the_execution_of_an_event(api: Api) -> None:
    asked = "subscription { shared { number loaded } }"
    async with posting(api, asked) as one, posting(api, asked, MULTIPART) as two, posting(api, asked) as three:
        await asyncio.sleep(0.05)
        api.world.bell.set()
        texts = [await response.text() for response in (one, two, three)]
    assert all('{"data":{"shared":{"number":1,"loaded":0}}}' in text for text in texts)
    assert api.engine.shares.executions == 1


async def test_leaving_ends_the_source(api: Api) -> None:
    with capture_logs() as logs:
        for accept in EVENTS, MULTIPART:
            async with posting(api, "subscription { forever }", accept) as response:
                await response.content.readuntil(b'{"forever":0}}')
                assert len(api.http.streams) == 1
                response.close()
            await until(lambda: len(api.http.streams) == 0)
    assert (api.world.closed_sources, logs) == (2, [])


@pytest.mark.parametrize(("accept", "heartbeat"), [(EVENTS, ":\n\n"), (MULTIPART, f"{PART}{{}}\r\n--graphql")])
async def test_heartbeats(accept: str, heartbeat: str) -> None:
    async with (
        serving(Api(streams=Streams(interval=QUICK))) as api,
        posting(api, "subscription { forever }", accept) as response,
    ):
        await asyncio.wait_for(response.content.readuntil((heartbeat * 3).encode()), 5)


async def test_a_stream_does_not_outlive_its_token(api: Api) -> None:
    for accept in EVENTS, MULTIPART:
        started = time.monotonic()
        text = await text_of(api, "subscription { forever }", accept, authorization="Bearer lasting 0.3")
        assert 0.25 < time.monotonic() - started < 2
        error = {"message": "The credentials have expired.", "extensions": {"code": "UNAUTHENTICATED"}}
        ended = {"payload": None, "errors": [error]}
        if accept == EVENTS:
            assert text.endswith('{"forever":0}}\n\n: UNAUTHENTICATED The credentials have expired.\n\n')
        else:
            assert text.endswith(f"{PART}{json.dumps(ended, separators=(',', ':'))}\r\n--graphql--\r\n")
    assert api.world.closed_sources == 2


async def test_shutdown_ends_every_stream(api: Api) -> None:
    async with posting(api, "subscription { forever }") as one, posting(api, "subscription { forever }", MULTIPART) as two:
        await one.content.readuntil(b'{"forever":0}}')
        await two.content.readuntil(b'{"forever":0}}')
        await api.http.streams.close_all()
        assert (len(api.http.streams), api.world.closed_sources) == (0, 2)
        assert (await one.text()).endswith("\n\n: UNAVAILABLE The server is restarting.\n\n")
        assert (await two.text()).endswith(
            '[{"message":"The server is restarting.","extensions":{"code":"UNAVAILABLE"}}]}\r\n--graphql--\r\n'
        )
    assert await refused(api, "subscription { forever }") == (503, "UNAVAILABLE")
    assert await refused(api, "mutation { count }") == (503, "UNAVAILABLE")
    assert api.world.counter == 0


async def test_streams_of_one_viewer_can_be_closed(api: Api) -> None:
    async with posting(api, "subscription { forever }", authorization="Bearer good-one") as one:
        async with posting(api, "subscription { forever }", authorization="Bearer good-other") as other:
            await until(lambda: len(api.http.streams) == 2)
            api.http.streams.close_where(lambda viewer: viewer.subject == "good-one", "Revoked.")
            assert (await one.text()).endswith(": UNAUTHENTICATED Revoked.\n\n")
            await opened(other)
            assert await frame(other) == 'event: next\ndata: {"data":{"forever":0}}\n\n'
            assert len(api.http.streams) == 1


async def test_a_revoked_key_ends_its_streams(gateway: Gateway) -> None:
    key_id, text = await make.api_key(gateway)
    asked = {"json": {"query": "subscription { events { id } }"}, "headers": {"x-api-key": text, "accept": EVENTS}}
    async with gateway.http.post(f"{gateway.url}/graphql", **asked) as response:
        await opened(response)
        await make.mutate(gateway, "apiKeyRevoke", id=key_id)
        assert await asyncio.wait_for(response.text(), 5) == ": UNAUTHENTICATED The API key was revoked.\n\n"
    async with gateway.http.post(f"{gateway.url}/graphql", **asked) as response:
        assert response.status == 401


async def test_a_stream_goes_on_from_a_cursor(gateway: Gateway) -> None:
    text = "subscription { events { type cursor } }"
    asked = {"headers": {"authorization": f"Bearer {gateway.token()}", "accept": EVENTS}}
    async with gateway.http.post(f"{gateway.url}/graphql", json={"query": text}, **asked) as response:
        await opened(response)
        await make.working(gateway)
        seen = [json.loads((await frame(response)).partition("data: ")[2])["data"]["events"] for _ in range(2)]
    again = text.replace("events {", f'events(after: "{seen[0]["cursor"]}") {{')
    async with gateway.http.post(f"{gateway.url}/graphql", json={"query": again}, **asked) as response:
        await opened(response)
        assert json.loads((await frame(response)).partition("data: ")[2])["data"]["events"] == seen[1]


async def test_leaving_leaves_nothing_behind(gateway: Gateway) -> None:
    application = gateway.application
    asked = {"json": {"query": "subscription { events { id } }"}, "headers": {"authorization": f"Bearer {gateway.token()}"}}

    async def watch(accept: str) -> None:
        given = {**asked, "headers": {**asked["headers"], "accept": accept}}
        async with aiohttp.ClientSession() as client, client.post(f"{gateway.url}/graphql", **given) as response:
            await response.content.readany()
            await asyncio.Event().wait()

    watching = [asyncio.create_task(watch(accept)) for accept in (EVENTS, MULTIPART) for _ in range(5)]

    async def there() -> bool:
        tail = application.tails.get(gateway.demo.id)
        return len(application.endpoint.streams) == 10 and tail is not None and tail.followers == 10

    await eventually(there)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)

    async def gone() -> bool:
        tasks = [repr(task.get_coro()) for task in asyncio.all_tasks()]
        return application.tails.get(gateway.demo.id) is None and not any("Stream." in task for task in tasks)

    await eventually(gone)


async def test_a_gateway_that_drains_ends_its_streams(gateway: Gateway) -> None:
    asked = {"json": {"query": "subscription { events { id } }"}, "headers": {"authorization": f"Bearer {gateway.token()}"}}
    asked["headers"]["accept"] = EVENTS
    async with gateway.http.post(f"{gateway.url}/graphql", **asked) as response:
        await opened(response)
        await gateway.application.drain()
        assert await asyncio.wait_for(response.text(), 5) == ": UNAVAILABLE The server is restarting.\n\n"
    async with gateway.http.post(f"{gateway.url}/graphql", **asked) as response:
        assert (response.status, response.headers["retry-after"]) == (503, "1")


async def test_one_stream_too_many(api: Api) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(posting(api, "subscription { forever }"))
        assert await refused(api, "subscription { forever }") == (429, "RATE_LIMITED")
        assert await refused(api, "mutation { count }") == (429, "RATE_LIMITED")
        assert api.world.counter == 0
        async with posting(api, "subscription { forever }", authorization="Bearer good-other") as other:
            await opened(other)
        async with posting(api, "mutation { count }", "application/json") as plain:
            assert await plain.json() == {"data": {"count": 1}}
    await until(lambda: len(api.http.streams) == 0)
    async with posting(api, "subscription { forever }") as again:
        await opened(again)


async def test_a_client_that_does_not_read_stops_its_source(api: Api) -> None:
    async with posting(api, "subscription { torrent(size: 100000) }"):
        await until(lambda: api.world.drained > 2)
        await asyncio.sleep(0.3)
        drained = api.world.drained
        await asyncio.sleep(0.3)
        assert api.world.drained == drained
        assert drained < 300
    await until(lambda: len(api.http.streams) == 0)


async def test_a_source_that_never_waits_lets_others_run(api: Api) -> None:
    async with posting(api, "subscription { torrent }") as greedy:
        await greedy.content.readuntil(b"event: next")
        started = time.monotonic()
        async with posting(api, "{ hello }", "application/json") as other:
            assert other.status == 200
        assert time.monotonic() - started < 1


async def test_pages_of_listed_origins_may_read(api: Api) -> None:
    async with posting(api, "subscription { forever }", origin="https://console.example") as response:
        assert response.headers["access-control-allow-origin"] == "https://console.example"
    async with posting(api, "subscription { forever }", origin="https://evil.example") as response:
        assert "access-control-allow-origin" not in response.headers


async def test_what_is_closed_is_forgotten() -> None:
    streams = Streams(most=1)
    viewer = Viewer("a", "wsp_1", "org_1", frozenset(), expires_at=dt.datetime.now(dt.UTC))
    api: Any = Api(streams=streams)
    async with serving(api):
        for _ in range(3):
            await text_of(api, "subscription { countdown(start: 1) }")
    assert (len(streams), streams._by_subject) == (0, {})
    with pytest.raises(Exception, match="restarting"):
        streams.admit(viewer)
