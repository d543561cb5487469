"""GraphQL over HTTP, against a real server on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
import structlog
from structlog.testing import capture_logs
from toy_api import AUTHORIZED, Api, serving

from schema.documents import Request

GRAPHQL = "application/graphql-response+json"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving(Api(origins=("https://console.example",), max_body=10_000)) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(skip_auto_headers=("Accept", "Content-Type")) as session:
        yield session


class Reply:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        (error,) = self.json["errors"]
        assert set(self.json) <= {"errors", "data"}
        assert len(error["message"]) >= 5
        code: str = error["extensions"]["code"]
        return code


class Caller:
    def __init__(self, api: Api, client: aiohttp.ClientSession) -> None:
        self.api = api
        self.client = client

    async def send(self, method: str, headers: dict[str, str], data: Any = None, query: str = "") -> Reply:
        async with self.client.request(method, self.api.url + query, headers=headers, data=data) as response:
            return Reply(response, await response.read())

    async def post(self, body: Any, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send("POST", {**AUTHORIZED, **JSON, **headers}, data)

    async def get(self, headers: dict[str, str] | None = None, **parameters: str) -> Reply:
        return await self.send("GET", {**AUTHORIZED, **(headers or {})}, query="?" + urlencode(parameters))

    async def ask(self, query: str, **variables: Any) -> Any:
        return (await self.post({"query": query, "variables": variables})).json


@pytest.fixture
def call(api: Api, client: aiohttp.ClientSession) -> Caller:
    return Caller(api, client)


async def test_query_with_variables_and_context(call: Caller) -> None:
    answer = await call.ask("query Q($n: String!) { hello(name: $n) subject }", n="Ada")
    assert answer == {"data": {"hello": "hello Ada", "subject": "good"}}


async def test_mutation_runs_by_post(call: Caller) -> None:
    assert await call.ask("mutation { a: count b: count }") == {"data": {"a": 1, "b": 2}}


async def test_get_runs_queries_only(call: Caller) -> None:
    assert (await call.get(query="query($n: String!) { hello(name: $n) }", variables='{"n":"é"}')).json == {
        "data": {"hello": "hello é"}
    }
    refused = await call.get(query="mutation { count }")
    assert (refused.status, refused.code, refused.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")
    assert call.api.world.counter == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods(call: Caller, method: str) -> None:
    reply = await call.send(method, dict(AUTHORIZED))
    assert (reply.status, reply.headers["allow"]) == (405, "GET, POST, OPTIONS")


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        (GRAPHQL, GRAPHQL),
        (f"application/json, {GRAPHQL}", GRAPHQL),
        (f"application/json, {GRAPHQL};q=0.5", "application/json"),
        (f"Application/GraphQL-Response+JSON;q=x, application/*;q=0.1, {GRAPHQL};q=0", "application/json"),
        (f"{GRAPHQL}, application/graphql+json, application/json, text/event-stream, multipart/mixed", GRAPHQL),
    ],
)
async def test_answer_type(call: Caller, accept: str, answered: str) -> None:
    headers = {"accept": accept} if accept else {}
    reply = await call.post({"query": "{ __typename }"}, **headers)
    assert (reply.status, reply.headers["content-type"]) == (200, f"{answered}; charset=utf-8")


@pytest.mark.parametrize("accept", ["text/html", "text/event-stream", "application/json;q=0", "image/*, text/plain"])
async def test_nothing_acceptable(call: Caller, accept: str) -> None:
    reply = await call.post({"query": "{ hello }"}, accept=accept)
    assert (reply.status, reply.code) == (406, "NOT_ACCEPTABLE")
    assert call.api.world.greeted == []


async def test_subscription_is_not_served_over_http(call: Caller) -> None:
    for reply in await call.post({"query": "subscription { forever }"}), await call.get(query="subscription { forever }"):
        assert (reply.status, reply.code) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/graphql"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_unsupported_content(call: Caller, headers: dict[str, str]) -> None:
    reply = await call.send("POST", {**AUTHORIZED, **headers}, b'{"query":"{ hello }"}')
    assert (reply.status, reply.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert call.api.world.greeted == []


async def test_content_type_is_case_insensitive(call: Caller) -> None:
    reply = await call.post({"query": "{ __typename }"}, **{"content-type": "Application/JSON; Charset=UTF-8"})
    assert (reply.status, reply.json) == (200, {"data": {"__typename": "Query"}})


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic Z29vZA=="])
@pytest.mark.parametrize("query", ["{ __typename }", "{ __schema { queryType { name } } }", "{"])
async def test_nothing_is_told_without_credentials(call: Caller, token: str, query: str) -> None:
    headers = {"authorization": token} if token else {}
    reply = await call.send("POST", {**JSON, **headers}, orjson.dumps({"query": query}))
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
    assert reply.headers["www-authenticate"] == 'Bearer realm="patchbay"' + (', error="invalid_token"' if token else "")
    assert reply.json["errors"][0]["extensions"]["httpStatus"] == 401


async def test_throttled_credentials_name_the_wait(call: Caller) -> None:
    reply = await call.post({"query": "{ hello }"}, authorization="Bearer throttled")
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (429, "RATE_LIMITED", "7")


async def test_page_is_public_and_only_for_browsers(call: Caller) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    reply = await call.send("GET", browser)
    assert (reply.status, reply.body) == (200, b"<!doctype html>")
    assert (await call.send("GET", browser, query="?query={hello}")).status == 401
    assert (await call.send("GET", {**browser, **AUTHORIZED}, query="?query={hello}")).json == {
        "data": {"hello": "hello world"}
    }
    assert (await call.send("GET", dict(AUTHORIZED))).status == 400


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: Int!) { items(first: $n) { hello } }", "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", "OPERATION_RESOLUTION_FAILURE"),
        ("{ " + "again { " * 12 + "hello" + " }" * 13, "QUERY_TOO_COMPLEX"),
    ],
)
async def test_refused_documents(call: Caller, query: str, code: str) -> None:
    for accept, status in ("application/json", 200), (GRAPHQL, 400):
        reply = await call.post({"query": query}, accept=accept)
        assert (reply.status, reply.code, set(reply.json)) == (status, code, {"errors"})
    assert call.api.world.greeted == []


async def test_suggestions_are_hidden(call: Caller) -> None:
    for query in "{ helo }", "{ hello(nane: 1) }", "query($x: Strin) { hello(name: $x) }":
        assert b"Did you mean" not in (await call.post({"query": query})).body


async def test_unexpected_errors_are_masked_and_logged_once(call: Caller) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        reply = await call.post({"query": "query Q { hello boom }"}, **{"x-request-id": "req-7"})
    (error,) = reply.json["errors"]
    assert (reply.status, reply.json["data"]) == (200, {"hello": "hello world", "boom": None})
    assert (error["message"], error["path"], error["extensions"]["code"]) == ("Internal error.", ["boom"], "INTERNAL")
    assert b"hunter2" not in reply.body
    (line,) = logs
    assert (line["event"], line["operation"], line["request_id"]) == ("internal_error", "Q", "req-7")
    assert line["error_id"] == error["extensions"]["errorId"]
    assert isinstance(line["exc_info"], RuntimeError)


@pytest.mark.parametrize("query", ["{ crooked }", "{ unwritable }"])
async def test_values_that_do_not_fit_are_our_fault(call: Caller, query: str) -> None:
    with capture_logs() as logs:
        reply = await call.post({"query": query})
    assert reply.code == "INTERNAL"
    assert b"not a number" not in reply.body
    assert len(logs) == 1


async def test_failing_authentication_is_masked(call: Caller) -> None:
    with capture_logs() as logs:
        reply = await call.post({"query": "{ hello }"}, authorization="Bearer crash")
    assert (reply.status, reply.code, len(logs)) == (500, "INTERNAL", 1)
    assert b"hunter2" not in reply.body


async def test_problems_of_resolvers(call: Caller) -> None:
    with capture_logs() as logs:
        reply = await call.post({"query": "{ throttled invalid }"})
    throttled, first, second = reply.json["errors"]
    assert throttled["extensions"] == {"code": "RATE_LIMITED", "httpStatus": 429, "retryAfter": 2.5}
    assert reply.headers["retry-after"] == "3"
    assert (first["message"], first["extensions"]) == ("First.", {"code": "VALIDATION_ERROR", "httpStatus": 400})
    assert (second["path"], second["extensions"]["code"]) == (["invalid"], "INVALID_STATE")
    assert logs == []


async def test_request_ids(call: Caller) -> None:
    assert (await call.post({"query": "{ hello }"}, **{"x-request-id": "abc-1.2:3"})).headers["x-request-id"] == "abc-1.2:3"
    for insane in "", "with space", "x" * 129, '"><script>':
        made = (await call.post({"query": "{ hello }"}, **{"x-request-id": insane})).headers["x-request-id"]
        assert len(made) == 32
        assert made != insane


async def test_security_headers(call: Caller) -> None:
    for reply in await call.post({"query": "{ hello }"}), await call.post(b"null"), await call.send("PUT", {}):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert reply.headers["vary"] == "Accept, Origin"


async def test_cors(call: Caller) -> None:
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    listed = await call.send("OPTIONS", {"origin": "https://console.example", **ask})
    assert (listed.status, listed.body) == (204, b"")
    assert listed.headers["access-control-allow-origin"] == "https://console.example"
    assert listed.headers["access-control-allow-methods"] == "GET, POST"
    assert "authorization" in listed.headers["access-control-allow-headers"]
    answer = await call.post({"query": "{ hello }"}, origin="https://console.example")
    assert answer.headers["access-control-allow-origin"] == "https://console.example"
    assert (await call.send("POST", {"origin": "https://console.example"})).headers["access-control-allow-origin"]
    for foreign in "https://evil.example", "null", "https://console.example.evil.example":
        refused = await call.send("OPTIONS", {"origin": foreign, **ask})
        assert not [name for name in refused.headers if name.lower().startswith("access-control")]
        answer = await call.post({"query": "{ hello }"}, origin=foreign)
        assert "access-control-allow-origin" not in answer.headers


async def test_persisted_queries(call: Caller) -> None:
    query = "{ hello }"
    digest = hashlib.sha256(query.encode()).hexdigest()
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
    unknown = await call.post({"extensions": extensions})
    assert (unknown.status, unknown.code) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert unknown.json["errors"][0]["message"] == "PersistedQueryNotFound"
    assert (await call.post({"query": "{ subject }", "extensions": extensions})).code == "BAD_USER_INPUT"
    assert (await call.post({"extensions": extensions})).code == "PERSISTED_QUERY_NOT_FOUND"
    known = {"data": {"hello": "hello world"}}
    assert (await call.post({"query": query, "extensions": extensions})).json == known
    assert (await call.post({"extensions": extensions})).json == known
    assert (await call.get(extensions=json.dumps(extensions))).json == known


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


async def test_a_known_document_is_neither_parsed_nor_validated_again(call: Caller) -> None:
    documents = call.api.engine.documents
    for name in "a", "b", "c":
        await call.ask("query($n: String!) { hello(name: $n) }", n=name)
    assert documents.misses == 1
    loop = asyncio.get_running_loop()
    before = loop.time()
    for _ in range(1_000):
        call.api.engine.prepare(Request("query($n: String!) { hello(name: $n) }"))
    assert (loop.time() - before) / 1_000 < 50e-6
