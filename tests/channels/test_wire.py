from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator

import orjson
import pytest

from channels.answers import Answer, verdict
from channels.egress import BlockedAddressError, Egress
from channels.errors import FailureKind, SendError
from channels.exchange import DEEPEST, EXCERPT, WIDEST, Exchange, StageName
from channels.wire import BODY_LIMIT, Wire, checked_url
from tests.provider_server import Garbage, ProviderServer, Reply, Reset, Silence, open_wire

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1"]


@pytest.fixture
async def provider() -> AsyncIterator[ProviderServer]:
    async with ProviderServer() as server:
        yield server


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with open_wire() as opened:
        yield opened


async def refusal(wire: Wire, url: str, exchange: Exchange | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await wire.call(exchange or Exchange(), "POST", url, json={"to": "someone"})
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    return caught.value


# ─── egress


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    with pytest.raises(BlockedAddressError):
        Egress().check(address)
    Egress(allow_private=True).check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    Egress().check(address)


def test_an_allowed_network_is_an_exception_to_the_rule() -> None:
    egress = Egress(allow_networks=["10.1.0.0/16", "fd00::/8"])
    egress.check("10.1.2.3")
    egress.check("::ffff:10.1.2.3")
    egress.check("fd00::1")
    for address in ("10.2.0.1", "fc00::1", "127.0.0.1"):
        with pytest.raises(BlockedAddressError):
            egress.check(address)


def test_the_socket_says_it_is_tcp_and_does_not_block() -> None:
    egress = Egress(allow_private=True)
    with egress.make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))) as made:
        assert (made.proto, made.getblocking()) == (socket.IPPROTO_TCP, False)


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", "ADDRESS_BLOCKED"),
        ("[::1]", "ADDRESS_BLOCKED"),
        ("[::ffff:127.0.0.1]", "ADDRESS_BLOCKED"),
        ("[::ffff:7f00:1]", "ADDRESS_BLOCKED"),
        ("localhost", "ADDRESS_BLOCKED"),
        ("0x7f.1", "ADDRESS_BLOCKED"),
        ("0x7f000001", "ADDRESS_BLOCKED"),
        ("0177.0.0.1", "INVALID_URL"),
        ("127.1", "INVALID_URL"),
        ("2130706433", "INVALID_URL"),
        ("１２７.0.0.1", "ADDRESS_BLOCKED"),
    ],
)
async def test_no_spelling_of_loopback_is_dialled(provider: ProviderServer, host: str, code: str) -> None:
    exchange = Exchange()
    async with open_wire(Egress()) as wire:
        failure = await refusal(wire, f"http://{host}:{provider.port}/", exchange)
    assert (failure.kind, failure.code) == (FailureKind.CONFIGURATION, code)
    assert (provider.connections, exchange.sent) == (0, False)


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
    async with open_wire(total_timeout=0.3) as wire:
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


@pytest.mark.parametrize("content", [{"a": "\ud800"}, {"a": 2**70}, {"a": object()}, {1: 2}], ids=repr)
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
    assert wire.http.trust_env is False


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


# ─── exchange

SECRET = 'S3cr/et+ "key"'
TEXT = ' Your code is 123456\n"é" '


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"wrong key {SECRET}!",
        "S3cr%2Fet%2B%20%22key%22",
        "S3cr%2Fet%2B+%22key%22",
        'S3cr/et+ \\"key\\"',
        TEXT,
        TEXT.strip(),
        f"Sent from your trial account - {TEXT}",
        'Your code is 123456\\n\\"\\u00e9\\"',
        'Your code is 123456\\n\\"é\\"',
    ],
)
def test_secrets_and_texts_are_absent_however_they_are_spelled(said: str) -> None:
    exchange = Exchange((SECRET,), (TEXT,))
    exchange.note("response", {"message": said, said: [said, {"x": said}]})
    exchange.add_stage(StageName.SUBMIT, False, 0.0, said)
    for shown in (orjson.dumps(exchange.record).decode(), str(exchange.stages), exchange.redact(said)):
        assert "S3cr" not in shown and "123456" not in shown


def test_a_text_rewritten_by_the_provider_is_hidden_by_its_name() -> None:
    exchange = Exchange((), ("Your code: 123456",))
    exchange.note("response", {"body": "Your code\u2013 123456", "result": {"Text": "code 123456"}, "status": "queued"})
    assert exchange.record["response"] == {"body": "[17 characters]", "result": {"Text": "[11 characters]"}, "status": "queued"}


def test_empty_secrets_and_short_texts_leave_the_record_readable() -> None:
    exchange = Exchange(("",), ("", "1", " "))
    exchange.note("response", "1 of 1")
    assert exchange.record == {"response": "1 of 1"}


async def test_a_hostile_answer_makes_a_small_and_plain_record(provider: ProviderServer, wire: Wire) -> None:
    deep, wide = (
        b"[" * 900 + b"]" * 900,
        orjson.dumps({"list": list(range(5000)), "nul\0": "a\0b", "long": "x" * 9000, "n": 1e308}),
    )
    for body in (deep, wide, b"[" * 5000, b'{"n": 1e999}', b"\xff\xfe\0"):
        provider.answer(Reply(200, body=body))
        exchange = Exchange()
        await wire.call(exchange, "GET", provider.url)
        record = orjson.dumps(exchange.record)
        assert len(record) < 10_000
        assert b"\\u0000" not in record
    exchange = Exchange()
    exchange.note("wide", orjson.loads(wide))
    assert len(exchange.record["wide"]["list"]) == WIDEST
    assert len(exchange.record["wide"]["long"]) == EXCERPT
    exchange.note("deep", orjson.loads(deep))
    assert str(exchange.record["deep"]).count("[") == DEEPEST
