"""Requests byte for byte as they go over the wire, and answers of every shape, from a server that says what it is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from channels.answers import Answer
from channels.egress import Egress
from channels.http import Http, Request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """Gives each request the next answer; an empty one ends the connection."""

    answers: list[bytes]
    url: URL = field(default_factory=URL)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await _head(reader):
            length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0)
            self.requests.append(head + await reader.readexactly(length))
            answer = self.answers.pop(0)
            writer.write(answer)
            if not answer or b"Connection: close" in answer:
                break
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@asynccontextmanager
async def server(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    made = Server(list(answers))
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.url = URL.build(scheme="https" if tls else "http", host="127.0.0.1", port=listener.sockets[0].getsockname()[1])
    async with listener:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(Egress(allow_private=True)) as made:
        yield made


async def ask(http: Http, request: Request) -> Answer:
    return await http.request(request, 5, 2)


async def test_a_request_byte_for_byte(http: Http) -> None:
    async with server(OK, OK) as other:
        await ask(http, Request("POST", other.url / "a b" % {"q": "ü&"}, {"Authorization": "Bearer é"}, b'{"x":1}'))
        await ask(http, Request("GET", other.url / "", {"accept": "text/plain", "User-Agent": "Mine"}))
    assert other.requests == [
        f"POST /a%20b?q=%C3%BC%26 HTTP/1.1\r\nHost: 127.0.0.1:{other.url.port}\r\nAuthorization: Bearer é\r\n"
        "User-Agent: Patchbay/0.1\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        'Content-Length: 7\r\n\r\n{"x":1}'.encode(),
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{other.url.port}\r\naccept: text/plain\r\nUser-Agent: Mine\r\n"
        "Accept-Encoding: identity\r\n\r\n".encode(),
    ]
    assert other.connections == 1


async def test_what_may_have_a_body_says_that_it_has_none(http: Http) -> None:
    async with server(OK, OK) as other:
        for method in ("POST", "DELETE"):
            await ask(http, Request(method, other.url, {}))
    assert [b"\r\nContent-Length: 0\r\n" in request for request in other.requests] == [True, True]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Key": "a\r\nX-Other: b"},
        {"X-Key": "a\nb"},
        {"X-Key": "a\0b"},
        {"X Key": "a"},
        {"X-Key: a\r\nX-Other": "b"},
        {"": "a"},
        {"host": "other.example"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"connection": "close"},
    ],
)
async def test_a_header_that_makes_another_request_of_it_is_not_sent(http: Http, headers: dict[str, str]) -> None:
    async with server(OK) as other:
        with pytest.raises(ValueError, match=r"cannot be sent|not the caller's"):
            await ask(http, Request("POST", other.url, headers, b"x"))
    assert other.connections == 0


@pytest.mark.parametrize(
    ("answer", "body", "is_kept"),
    [
        (OK, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + OK, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789ten more..", b"0123456789", False),
        (OK + OK, b"ok", False),
    ],
    ids=["length", "chunks", "empty", "interim", "until the end", "old", "over the limit", "one too many"],
)
async def test_answers_of_every_shape(http: Http, answer: bytes, body: bytes, is_kept: bool) -> None:
    async with server(answer, OK) as other:
        found = await ask(http, Request("POST", other.url, {}, b"x", body_limit=10))
        assert (await ask(http, Request("POST", other.url, {}, b"x"))).body == b"ok"
    assert found.body == body
    assert other.connections == (1 if is_kept else 2)


async def test_a_redirect_is_an_answer_and_no_cookie_is_kept(http: Http) -> None:
    async with server(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", OK) as other:
        assert (await ask(http, Request("GET", other.url / "a", {}))).status == 302
        await ask(http, Request("GET", other.url / "c", {}))
    assert len(other.requests) == 2
    assert b"cookie" not in other.requests[1].lower()


@pytest.mark.parametrize(("method", "asked"), [("GET", 3), ("POST", 2)])
async def test_only_what_changes_nothing_is_asked_again_when_a_kept_connection_ends(
    http: Http, method: str, asked: int
) -> None:
    async with server(OK, b"", OK) as other:
        await ask(http, Request(method, other.url, {}))
        if method == "GET":
            assert (await ask(http, Request(method, other.url, {}))).body == b"ok"
        else:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await ask(http, Request(method, other.url, {}))
    assert len(other.requests) == asked


async def test_a_request_given_up_leaves_no_connection_to_be_taken_by_the_next(http: Http) -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", OK) as other:
        with pytest.raises(TimeoutError):
            await http.request(Request("POST", other.url, {}, b"x"), 0.2, 2)
        assert (await ask(http, Request("POST", other.url, {}, b"x"))).body == b"ok"
    assert other.connections == 2


async def test_no_more_connections_than_allowed() -> None:
    async with Http(Egress(allow_private=True), limit_per_host=2) as http, server(*[OK] * 8) as other:
        found = await asyncio.gather(*(ask(http, Request("POST", other.url, {}, b"x")) for _ in range(8)))
    assert [answer.body for answer in found] == [b"ok"] * 8
    assert other.connections == 2


async def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_said(http: Http, tmp_path: Path) -> None:
    async with server(OK, tls=self_signed(tmp_path)) as other:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(http, Request("POST", other.url, {"Authorization": "secret"}, b"x"))
    assert other.requests == []


def self_signed(folder: Path) -> ssl.SSLContext:
    """TLS with a certificate of its own making."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context
