from __future__ import annotations

import gzip
import socket

import pytest

from channels.answers import Answer, verdict
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import BODY_LIMIT, Wire, checked_url
from tests.provider_server import Garbage, ProviderServer, Reply, Reset, Silence, open_wire, patience


async def refusal(wire: Wire, url: str, exchange: Exchange | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await wire.call(exchange or Exchange(), "POST", url, json={"to": "someone"})
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    return caught.value


# ─── addresses


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "ftp://example.com/", "file:///etc/passwd", "http://", "http://a:99999/", "http://[::1", "//host/path"],
)
async def test_what_is_not_an_http_url_is_a_configuration_error(wire: Wire, url: str) -> None:
    assert (await refusal(wire, url)).code == "INVALID_URL"


@pytest.mark.parametrize(
    "url", ["http://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/"]
)
def test_credentials_in_a_url_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must not hold credentials"):
        checked_url(url)


# ─── wire


async def test_json_goes_out_and_the_answer_comes_back(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(201, {"id": "1"}))
    exchange = Exchange()
    answer = await wire.call(exchange, "POST", f"{provider.url}/x", query={"n": "+1 2"}, json={"a": "é"}, headers={"X-K": "v"})
    assert (answer.status, answer.ok, answer.json()) == (201, True, {"id": "1"})
    [request] = provider.requests
    assert (request.method, request.path, request.query, request.json()) == ("POST", "/x", {"n": "+1 2"}, {"a": "é"})
    assert (request.headers["content-type"], request.headers["x-k"]) == ("application/json", "v")
    assert exchange.sent
    assert exchange.provider_status == 201
    assert exchange.record == {
        "request": {"method": "POST", "url": f"{provider.url}/x", "query": {"n": "+1 2"}, "content": {"a": "é"}},
        "response": {"status": 201, "content": {"id": "1"}},
    }


async def test_a_form_keeps_order_and_repeated_fields(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(200, {}))
    exchange = Exchange()
    form = [("To", "+44"), ("MediaUrl", "a"), ("MediaUrl", "b")]
    await wire.call(exchange, "POST", provider.url, form=form)
    assert provider.requests[0].form() == form
    assert provider.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert exchange.record["request"]["content"] == {"To": "+44", "MediaUrl": ["a", "b"]}


async def test_stages_tell_resolving_connecting_and_submitting_apart(provider: ProviderServer, wire: Wire) -> None:
    provider.default = Reply(200, {}, delay=0.05)
    exchange = Exchange()
    for _ in range(2):
        await wire.call(exchange, "POST", f"http://localhost:{provider.port}/", json={})
    assert [(stage.name, stage.ok) for stage in exchange.stages] == [
        (StageName.RESOLVE, True),
        (StageName.CONNECT, True),
        (StageName.SUBMIT, True),
        (StageName.SUBMIT, True),
    ]
    assert exchange.stages[1].duration_ms < 50 <= exchange.stages[2].duration_ms
    assert provider.connections == 1


async def test_redirects_are_answers_and_not_followed(provider: ProviderServer, wire: Wire) -> None:
    async with ProviderServer(default=Reply(200, {})) as other:
        for status in (301, 302, 303, 307, 308):
            provider.answer(Reply(status, headers={"Location": f"{other.url}/elsewhere"}))
            assert (await wire.call(Exchange(), "POST", provider.url, json={})).status == status
        assert (len(provider.requests), other.connections) == (5, 0)


@pytest.mark.parametrize("size", [BODY_LIMIT - 1, BODY_LIMIT, BODY_LIMIT + 1, 20 * 1024 * 1024])
async def test_a_body_is_read_to_its_limit(provider: ProviderServer, wire: Wire, size: int) -> None:
    provider.answer(Reply(200, body=b"x" * size))
    answer = await wire.call(Exchange(), "GET", provider.url)
    assert len(answer.body) == min(size, BODY_LIMIT)


async def test_a_compressed_bomb_is_cut_too(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(200, body=gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"}))
    answer = await wire.call(Exchange(), "GET", provider.url)
    assert len(answer.body) == BODY_LIMIT
    assert provider.requests[0].headers["accept-encoding"] == "identity"


async def test_nothing_listening_is_transient_and_not_sent(wire: Wire) -> None:
    async with ProviderServer() as gone:
        url = gone.url
    exchange = Exchange()
    failure = await refusal(wire, url, exchange)
    assert (failure.kind, failure.code, exchange.sent) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", False)
    assert [(stage.name, stage.ok) for stage in exchange.stages] == [(StageName.CONNECT, False)]


async def test_an_unknown_host_fails_at_resolving(wire: Wire) -> None:
    exchange = Exchange()
    failure = await refusal(wire, "http://host.invalid/", exchange)
    assert (failure.kind, failure.code, exchange.sent) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", False)
    assert [(stage.name, stage.ok) for stage in exchange.stages] == [(StageName.RESOLVE, False)]


async def test_no_tls_on_the_other_side_is_transient_and_not_sent(provider: ProviderServer, wire: Wire) -> None:
    exchange = Exchange()
    failure = await refusal(wire, f"https://127.0.0.1:{provider.port}/", exchange)
    assert (failure.kind, failure.code, exchange.sent) == (FailureKind.TRANSIENT, "TLS_FAILED", False)
    assert [(stage.name, stage.ok) for stage in exchange.stages] == [(StageName.TLS, False)]
    assert provider.requests == []


async def test_a_connection_that_is_never_taken_up_times_out_unsent() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        exchange = Exchange()
        async with open_wire(connect_timeout=0.1) as wire:
            failure = await refusal(wire, f"http://127.0.0.1:{full.getsockname()[1]}/", exchange)
        for filler in fillers:
            filler.close()
    assert (failure.kind, failure.code, exchange.sent) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", False)
    assert failure.message.startswith("The provider did not answer in time")


@pytest.mark.parametrize(
    "action",
    [
        Silence(),
        Reply(200, {"ok": True}, stall=True),
        Reply(200, delay=5),
        Reset(),
        Garbage(),
        Garbage(b""),
        Garbage(b"HTTP/1.1 2"),
    ],
    ids=["silence", "stalled body", "late", "reset", "garbage", "closed", "half a status line"],
)
async def test_a_lost_answer_is_an_unknown_outcome(provider: ProviderServer, action: Reply) -> None:
    provider.answer(action)
    exchange = Exchange()
    async with open_wire(total_timeout=patience(action)) as wire:
        failure = await refusal(wire, provider.url, exchange)
    assert (failure.kind, failure.code, exchange.sent) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", True)
    assert len(provider.requests) == 1
    assert exchange.record["error"] == failure.message
    assert [(stage.name, stage.ok) for stage in exchange.stages][-1] == (StageName.SUBMIT, False)


async def test_a_reset_on_connecting_reads_nothing_and_is_not_repeated(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reset(on_connect=True))
    failure = await refusal(wire, provider.url)
    assert failure.kind in (FailureKind.UNKNOWN_OUTCOME, FailureKind.TRANSIENT)  # a race between our bytes and the reset
    assert (provider.requests, provider.connections) == ([], 1)


async def test_each_call_tells_anew_whether_it_was_sent(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(200, {}))
    exchange = Exchange()
    await wire.call(exchange, "POST", provider.url, json={})
    assert (await refusal(wire, "http://host.invalid/", exchange)).kind == FailureKind.TRANSIENT


@pytest.mark.parametrize(
    "content", [{"a": "\ud800"}, {"a": 2**70}, {"a": object()}, {1: 2}], ids=["lone surrogate", "number", "object", "key"]
)
async def test_what_cannot_be_encoded_is_a_content_error(provider: ProviderServer, wire: Wire, content: object) -> None:
    with pytest.raises(SendError) as caught:
        await wire.call(Exchange(), "POST", provider.url, json=content)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONTENT, "NOT_ENCODABLE")
    with pytest.raises(SendError, match="cannot be encoded"):
        await wire.call(Exchange(), "POST", provider.url, form=[("a", "\ud800")])
    assert provider.connections == 0


async def test_no_cookie_is_kept_and_no_proxy_is_asked(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(200, {}, headers={"Set-Cookie": "a=b; Path=/"}), Reply(200, {}))
    for _ in range(2):
        await wire.call(Exchange(), "GET", provider.url)
    assert "cookie" not in provider.requests[1].headers


# ─── answers


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5.0), (" 7 ", 7.0), ("999999", 3600.0), ("-1", None), ("1.5", None), ("soon", None), ("9" * 40, None), ("", None)],
)
def test_retry_after_is_a_number_within_reason(header: str, seconds: float | None) -> None:
    assert Answer(429, {"Retry-After": header}, b"").retry_after == seconds


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (200, FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
        (302, FailureKind.CONFIGURATION, "UNEXPECTED_REDIRECT"),
        (400, FailureKind.CONTENT, "REJECTED"),
        (401, FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (403, FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
        (404, FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND"),
        (422, FailureKind.CONTENT, "REJECTED"),
        (429, FailureKind.THROTTLED, "RATE_LIMITED"),
        (500, FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (502, FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (503, FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
        (504, FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (999, FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
    ],
)
def test_a_status_says_what_it_can(status: int, kind: FailureKind, code: str) -> None:
    assert verdict(status) == (kind, code)
