"""GraphQL over HTTP, against a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
import structlog
from http_caller import GRAPHQL, JSON, Caller, calling
from structlog.testing import capture_logs
from toy_api import AUTHORIZED, Api

from schema.documents import Request


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling() as caller:
        yield caller


@pytest.fixture
def api(call: Caller) -> Api:
    return call.api


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


@pytest.mark.parametrize(
    "accept", ["text/html", "multipart/mixed", "application/json;q=0", "image/*, text/plain", "text/event-stream;q=0"]
)
async def test_nothing_acceptable(call: Caller, accept: str) -> None:
    reply = await call.post({"query": "{ hello }"}, accept=accept)
    assert (reply.status, reply.code) == (406, "NOT_ACCEPTABLE")
    assert call.api.world.greeted == []


async def test_subscription_needs_a_client_that_takes_a_stream(call: Caller) -> None:
    text = "subscription { forever }"
    for accept in "", "*/*", GRAPHQL, "application/json, multipart/mixed", "application/json, text/event-stream;q=0":
        for reply in await call.post({"query": text}, accept=accept), await call.get({"accept": accept}, query=text):
            assert (reply.status, reply.code) == (406, "NOT_ACCEPTABLE")
    assert call.api.world.closed_sources == 0


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
        assert reply.headers["vary"] == "Accept, Accept-Encoding, Origin"


@pytest.mark.parametrize(
    ("encodings", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("gzip;q=0, *", False),
        ("identity, br", False),
        ("gzip;q=x", False),
    ],
)
@pytest.mark.parametrize("size", [2_000, 200_000])
async def test_long_answers_are_compressed_for_whom_takes_it(api: Api, encodings: str, packed: bool, size: int) -> None:
    body = orjson.dumps({"query": "query($n: Int) { items(first: $n) { hello } }", "variables": {"n": size // 22}})
    headers = {**AUTHORIZED, **JSON, "accept-encoding": encodings}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.post(api.url, data=body, headers=headers) as reply,
    ):
        answer = await reply.read()
        assert reply.headers.get("content-encoding") == ("gzip" if packed else None)
        assert int(reply.headers["content-length"]) == len(answer)
        assert reply.headers["vary"] == "Accept, Accept-Encoding, Origin"
    plain = gzip.decompress(answer) if packed else answer
    assert len(orjson.loads(plain)["data"]["items"]) == size // 22
    assert len(answer) < size / 5 if packed else len(answer) == len(plain)


async def test_short_answers_are_sent_as_they_are(call: Caller) -> None:
    reply = await call.post({"query": "{ hello }"}, **{"accept-encoding": "gzip"})
    assert "content-encoding" not in reply.headers


async def test_cors(call: Caller) -> None:
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    listed = await call.send("OPTIONS", {"origin": "https://console.example", **ask})
    assert (listed.status, listed.body) == (204, b"")
    assert listed.headers["access-control-allow-origin"] == "https://console.example"
    assert listed.headers["access-control-allow-methods"] == "GET, POST"
    allowed = listed.headers["access-control-allow-headers"].split(", ")
    assert {"accept", "authorization", "content-type", "x-api-key", "x-request-id"} == set(allowed)
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
