"""Mail is handed to a real server on loopback, which is told how to misbehave."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, DeliveryStatus, Media, Outbound, Report
from channels.egress import Egress
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.relays import MOST_CONNECTIONS, MOST_MAILS, Mail, Relay, Server, SmtpSecurity
from channels.smtp import Smtp
from channels.wire import Wire
from tests.mail_server import DROP, HANG, MailServer

CREDENTIALS = ("mailer@example.com", "correct horse battery")
MAIL = Outbound(id="msg_1", to="ada@example.org", subject="Hello", body="How are you?")


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async def report(_: Report) -> None:
        raise AssertionError("SMTP reports nothing later")

    async with aiohttp.ClientSession() as http:
        yield Wire(http, Egress(allow_private=True), report)


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[[MailServer], None]:
    return lambda server: monkeypatch.setenv("SSL_CERT_FILE", server.certificate)


def settings(server: MailServer, **others: Any) -> dict[str, Any]:
    login = dict(zip(("username", "password"), server.credentials, strict=True)) if server.credentials else {}
    return {
        "smtpHost": server.host,
        "smtpPort": server.port,
        "fromAddress": "noreply@example.com",
        "security": server.security.upper(),
        **login,
        **others,
    }


@asynccontextmanager
async def connected(server: MailServer, **others: Any) -> AsyncIterator[Smtp]:
    provider = Smtp.model_validate(settings(server, **others))
    try:
        yield provider
    finally:
        await provider.close()


async def refused(call: Awaitable[Any]) -> SendError:
    with pytest.raises(SendError) as caught:
        await call
    return caught.value


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def stages(exchange: Exchange) -> list[tuple[str, bool]]:
    return [(stage.name.value, stage.ok) for stage in exchange.stages]


class TestSending:
    @pytest.mark.parametrize(
        ("security", "expected"),
        [
            ("starttls", ["RESOLVE", "CONNECT", "TLS", "AUTH", "SUBMIT", "ACCEPTED"]),
            ("tls", ["RESOLVE", "CONNECT", "TLS", "AUTH", "SUBMIT", "ACCEPTED"]),
            ("none", ["RESOLVE", "CONNECT", "AUTH", "SUBMIT", "ACCEPTED"]),
        ],
    )
    async def test_a_message_arrives(
        self, wire: Wire, trust: Callable[[MailServer], None], security: str, expected: list[str]
    ) -> None:
        async with MailServer(security, CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            exchange = Exchange(provider.secrets(), MAIL.texts())
            accepted = await provider.send(wire, MAIL, exchange)
        assert accepted == Accepted("msg_1@example.com", DeliveryStatus.SENT, None, "250 2.0.0 queued as 1")
        assert stages(exchange) == [(name, True) for name in expected]
        assert exchange.sent and exchange.provider_status == 250
        (received,) = server.received
        assert (received.sender, received.recipient) == ("noreply@example.com", "ada@example.org")
        assert server.logins == 1

    async def test_headers_and_both_bodies(self, wire: Wire) -> None:
        mail = replace(MAIL, subject="Grüße 🎉 " + "lang " * 30, body="Zeile\n.Punkt\nœuvre", html="<p>œuvre</p>")
        async with MailServer("none") as server:
            names = {"fromName": 'Ünï "Q", Co', "replyTo": "help@example.com"}
            async with connected(server, **names) as provider:
                await provider.send(wire, mail, Exchange())
            (received,) = server.received
        message = received.message
        assert str(message["From"]) == '"Ünï \\"Q\\", Co" <noreply@example.com>'
        assert message["To"] == "ada@example.org"
        assert message["Reply-To"] == "help@example.com"
        assert message["Subject"] == mail.subject
        assert message["Message-ID"] == "<msg_1@example.com>"
        assert message["Date"].datetime.utcoffset() is not None
        assert message.get_content_type() == "multipart/alternative"
        text, html = message.iter_parts()
        assert (text.get_content_type(), text.get_content()) == ("text/plain", "Zeile\n.Punkt\nœuvre\n")
        assert (html.get_content_type(), html.get_content()) == ("text/html", "<p>œuvre</p>\n")
        assert received.content.isascii()
        assert max(map(len, received.content.split(b"\r\n"))) <= 998

    @pytest.mark.parametrize(
        ("body", "html", "kind", "content"),
        [
            ("plain", None, "text/plain", "plain\n"),
            (None, "<b>x</b>", "text/html", "<b>x</b>\n"),
            (None, None, "text/plain", "\n"),
        ],
    )
    async def test_one_body_is_not_a_multipart(
        self, wire: Wire, body: str | None, html: str | None, kind: str, content: str
    ) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            await provider.send(wire, replace(MAIL, body=body, html=html), Exchange())
            message = server.received[0].message
        assert (message.get_content_type(), message.get_content()) == (kind, content)

    async def test_long_headers_come_back_whole(self, wire: Wire) -> None:
        domain = "long-label-" * 5 + "x.example.org"
        subject = "Ваш заказ успешно оформлен и передан в службу доставки 🎉 " * 5 + "x" * 1500
        mail = replace(MAIL, to="c" * 60 + "@" + domain, subject=subject, body="y" * 5000)
        name = "Служба доставки заказов и прочих отправлений по всему миру и далее"
        async with MailServer("none") as server:
            async with connected(server, fromAddress=f"me@{domain}", fromName=name) as provider:
                await provider.send(wire, mail, Exchange())
            (received,) = server.received
        assert _as_written(received.content, "Subject") == subject
        assert _as_written(received.content, "From") == f"{name} <me@{domain}>"
        assert _as_written(received.content, "To") == mail.to
        assert _as_written(received.content, "Message-ID") == f"<msg_1@{domain}>"
        assert received.message.get_content() == "y" * 5000 + "\n"
        assert max(map(len, received.content.split(b"\r\n"))) <= 998

    @pytest.mark.parametrize("subject", ["=?utf-8?q?not_encoded?=", "plain", "two  spaces é  here", "x" * 67])
    async def test_a_subject_is_read_as_it_was_written(self, wire: Wire, subject: str) -> None:
        async with MailServer("none") as server, connected(server, fromName=subject) as provider:
            await provider.send(wire, replace(MAIL, subject=subject), Exchange())
            content = server.received[0].content
        assert _as_written(content, "Subject") == subject
        shown = _as_written(content, "From").replace('"', "")
        assert shown == f"{subject} <noreply@example.com>"

    async def test_lines_that_start_with_a_dot_survive(self, wire: Wire) -> None:
        body = ".\n..\n.end\nlast\n.\n"
        async with MailServer("none") as server, connected(server) as provider:
            await provider.send(wire, replace(MAIL, body=body), Exchange())
            assert server.received[0].message.get_content() == body

    async def test_a_sender_of_the_message_is_shown_and_bounces_still_return_to_us(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server, fromName="Shop") as provider:
            await provider.send(wire, replace(MAIL, sender="news@example.com"), Exchange())
            assert server.received[0].sender == "noreply@example.com"
            assert server.received[0].message["From"] == "news@example.com"

    async def test_the_message_id_is_the_same_at_every_attempt(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["DATA"] = ["451 4.3.0 later"]
            await refused(provider.send(wire, MAIL, Exchange()))
            await provider.send(wire, replace(MAIL, attempt=2), Exchange())
            assert server.received[0].message["Message-ID"] == "<msg_1@example.com>"

    async def test_international_addresses(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            await provider.send(wire, replace(MAIL, to="jörg@bücher.example.org"), Exchange())
            await provider.send(wire, replace(MAIL, to="ada@bücher.example.org"), Exchange())
        first, second = server.received
        assert (first.recipient, "SMTPUTF8" in first.options) == ("jörg@xn--bcher-kva.example.org", True)
        assert (second.recipient, "SMTPUTF8" in second.options) == ("ada@xn--bcher-kva.example.org", False)

    async def test_an_international_address_needs_a_server_that_takes_it(self, wire: Wire) -> None:
        async with MailServer("none", international=False) as server, connected(server) as provider:
            error = await refused(provider.send(wire, replace(MAIL, to="jörg@example.org"), Exchange()))
            assert (error.kind, error.code) == (FailureKind.RECIPIENT, "UNSUPPORTED_ADDRESS")
            await provider.send(wire, MAIL, Exchange())
        assert (server.connections, len(server.received)) == (1, 1)

    async def test_a_message_larger_than_the_server_says_is_not_offered(self, wire: Wire) -> None:
        async with MailServer("none", size_limit=2000) as server, connected(server) as provider:
            error = await refused(provider.send(wire, replace(MAIL, body="x" * 3000), Exchange()))
            assert (error.kind, error.code) == (FailureKind.CONTENT, "MESSAGE_TOO_LARGE")
            assert "MAIL" not in server.commands
            assert server.received == []


# The rows of the reply table: where it is said, what is said, and what it means.
REPLIES = [
    ("MAIL", "421 4.3.2 shutting down", FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "4.3.2"),
    ("DOT", "421 too many", FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "421"),
    ("RCPT", "450 4.2.1 busy", FailureKind.TRANSIENT, "TEMPORARILY_REFUSED", "4.2.1"),
    ("RCPT", "451 try later", FailureKind.TRANSIENT, "TEMPORARILY_REFUSED", "451"),
    ("RCPT", "452 4.2.2 over quota", FailureKind.TRANSIENT, "MAILBOX_FULL", "4.2.2"),
    ("DATA", "452 4.3.1 no space", FailureKind.TRANSIENT, "TEMPORARILY_REFUSED", "4.3.1"),
    ("AUTH", "454 4.7.0 temporary", FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "4.7.0"),
    ("STARTTLS", "454 4.7.0 no TLS now", FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "4.7.0"),
    ("MAIL", "530 5.7.0 log in", FailureKind.CONFIGURATION, "AUTHENTICATION_REQUIRED", "5.7.0"),
    ("AUTH", "534 5.7.9 too weak", FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", "5.7.9"),
    ("AUTH", "535 5.7.8 wrong", FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", "5.7.8"),
    ("AUTH", "538 encrypt first", FailureKind.CONFIGURATION, "AUTHENTICATION_REQUIRED", "538"),
    ("AUTH", "550 account disabled", FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", "550"),
    ("BANNER", "421 4.3.2 busy", FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "4.3.2"),
    ("BANNER", "554 5.7.1 go away", FailureKind.CONFIGURATION, "SERVICE_REFUSED", "5.7.1"),
    ("EHLO", "550 5.7.1 bad name", FailureKind.CONFIGURATION, "SERVICE_REFUSED", "5.7.1"),
    ("MAIL", "550 5.7.1 not yours", FailureKind.CONFIGURATION, "SENDER_REFUSED", "5.7.1"),
    ("MAIL", "552 5.3.4 too big", FailureKind.CONTENT, "MESSAGE_TOO_LARGE", "5.3.4"),
    ("RCPT", "550 5.1.1 unknown", FailureKind.RECIPIENT, "INVALID_RECIPIENT", "5.1.1"),
    ("RCPT", "550 5.1.2 no such host", FailureKind.RECIPIENT, "INVALID_RECIPIENT", "5.1.2"),
    ("RCPT", "550 5.1.10 null MX", FailureKind.RECIPIENT, "INVALID_RECIPIENT", "5.1.10"),
    ("RCPT", "551 not here", FailureKind.RECIPIENT, "RECIPIENT_REFUSED", "551"),
    ("RCPT", "553 5.1.3 syntax", FailureKind.RECIPIENT, "INVALID_RECIPIENT", "5.1.3"),
    ("RCPT", "550 5.1.8 your domain", FailureKind.CONFIGURATION, "SENDER_REFUSED", "5.1.8"),
    ("RCPT", "550 5.2.1 disabled", FailureKind.RECIPIENT, "RECIPIENT_REFUSED", "5.2.1"),
    ("RCPT", "550 no such user", FailureKind.RECIPIENT, "RECIPIENT_REFUSED", "550"),
    ("RCPT", "550 sorry, no mailbox. (#5.1.1)", FailureKind.RECIPIENT, "INVALID_RECIPIENT", "5.1.1"),
    ("RCPT", "552 5.2.2 mailbox full", FailureKind.TRANSIENT, "MAILBOX_FULL", "5.2.2"),
    ("DOT", "552 5.2.2 mailbox full", FailureKind.TRANSIENT, "MAILBOX_FULL", "5.2.2"),
    ("DOT", "552 5.3.4 too big", FailureKind.CONTENT, "MESSAGE_TOO_LARGE", "5.3.4"),
    ("RCPT", "552 5.2.3 too big for it", FailureKind.CONTENT, "MESSAGE_TOO_LARGE", "5.2.3"),
    ("DOT", "554 5.6.0 malformed", FailureKind.CONTENT, "MESSAGE_REFUSED", "5.6.0"),
    ("DOT", "550 5.7.1 spam", FailureKind.CONTENT, "POLICY_REFUSED", "5.7.1"),
    ("RCPT", "554 5.7.1 relaying denied", FailureKind.CONTENT, "POLICY_REFUSED", "5.7.1"),
    ("DOT", "554 no", FailureKind.CONTENT, "MESSAGE_REFUSED", "554"),
    ("DATA", "554 5.5.1 no recipients", FailureKind.CONTENT, "MESSAGE_REFUSED", "5.5.1"),
    ("RCPT", "354 what?", FailureKind.TRANSIENT, "ANSWER_UNREADABLE", "354"),
    ("RCPT", "bogus", FailureKind.TRANSIENT, "ANSWER_UNREADABLE", None),
    ("DOT", "bogus", FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE", None),
]


class TestRefusals:
    @pytest.mark.parametrize(("where", "reply", "kind", "code", "provider_code"), REPLIES)
    async def test_reply(
        self,
        wire: Wire,
        trust: Callable[[MailServer], None],
        where: str,
        reply: str,
        kind: FailureKind,
        code: str,
        provider_code: str | None,
    ) -> None:
        security = "starttls" if where == "STARTTLS" else "none"
        async with MailServer(security, CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            server.faults[where] = [reply]
            exchange = Exchange(provider.secrets())
            error = await refused(provider.send(wire, MAIL, exchange))
        assert (error.kind, error.code, error.provider_code) == (kind, code, provider_code)
        assert error.provider_message == (reply[4:] if reply[:3].isdigit() else f"Malformed SMTP response line: {reply}")
        assert error.retry_after is None
        assert server.received == []
        assert stages(exchange)[-1][1] is False
        assert exchange.sent == (where == "DOT")
        assert exchange.record["error"] == error.message

    @pytest.mark.parametrize("reply", ["451 4.7.1 wait", "450 4.2.0 Greylisted, see postgrey", "451 Graylisting in action"])
    async def test_a_greylisted_message_waits_five_minutes(self, wire: Wire, reply: str) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["RCPT"] = [reply]
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code, error.retry_after) == (FailureKind.TRANSIENT, "GREYLISTED", 300.0)

    async def test_strange_bytes_in_a_reply_become_text(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["RCPT"] = ["550 5.1.1 caf\u00e9 \x01\x00 nope"]
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert error.provider_message == "5.1.1 caf\u00e9 \ufffd\ufffd nope"

    async def test_wrong_credentials(self, wire: Wire, trust: Callable[[MailServer], None]) -> None:
        async with MailServer(credentials=CREDENTIALS) as server, connected(server, password="wrong one") as provider:
            trust(server)
            exchange = Exchange(provider.secrets())
            error = await refused(provider.send(wire, MAIL, exchange))
        assert (error.kind, error.code, error.provider_code) == (
            FailureKind.CONFIGURATION,
            "AUTHENTICATION_FAILED",
            "5.7.8",
        )
        assert stages(exchange) == [("RESOLVE", True), ("CONNECT", True), ("TLS", True), ("AUTH", False)]
        assert server.commands.count("AUTH") == 1
        assert "MAIL" not in server.commands

    async def test_a_server_without_login_is_not_given_one(self, wire: Wire) -> None:
        async with MailServer("none") as server:
            login = {"username": "me", "password": "secret"}
            async with connected(server, **login) as provider:
                error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "AUTHENTICATION_UNSUPPORTED")
        assert server.commands == ["EHLO"]

    async def test_credentials_stay_home_when_an_unencrypted_server_is_elsewhere(self, wire: Wire) -> None:
        async with MailServer("none", CREDENTIALS, host=_own_address()) as server, connected(server) as provider:
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_REQUIRED")
        assert server.commands == ["EHLO"]


class TestEncryption:
    async def test_a_server_without_starttls_gets_nothing(self, wire: Wire) -> None:
        async with MailServer("none", CREDENTIALS) as server, connected(server, security="STARTTLS") as provider:
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "STARTTLS_UNAVAILABLE")
        assert server.commands == ["EHLO"]

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    async def test_an_untrusted_certificate_ends_it(self, wire: Wire, security: str) -> None:
        async with MailServer(security, CREDENTIALS) as server, connected(server) as provider:
            exchange = Exchange()
            error = await refused(provider.send(wire, MAIL, exchange))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_CERTIFICATE_INVALID")
        assert error.message == "The mail server's certificate is not trusted: self-signed certificate."
        assert stages(exchange)[-1] == ("TLS", False)
        assert "AUTH" not in server.commands and "MAIL" not in server.commands

    async def test_a_certificate_of_another_name_ends_it(self, wire: Wire, trust: Callable[[MailServer], None]) -> None:
        async with MailServer("tls", host="127.0.0.2") as server, connected(server) as provider:
            trust(server)
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_CERTIFICATE_INVALID")
        assert "127.0.0.2" in error.message
        assert server.commands == []

    async def test_tls_to_a_port_that_speaks_plainly(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server, security="TLS") as provider:
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_FAILED")
        assert server.received == []

    async def test_what_is_used_is_the_default_context(self) -> None:
        context = ssl.create_default_context()
        assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED


class TestLosses:
    @pytest.mark.parametrize("where", ["BANNER", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("fault", [DROP, HANG])
    async def test_before_the_content_nothing_was_sent(
        self, wire: Wire, trust: Callable[[MailServer], None], where: str, fault: str
    ) -> None:
        async with MailServer(credentials=CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            server.faults[where] = [fault]
            exchange = Exchange()
            patient = replace(wire, total_timeout=0.4 if fault == HANG else 10)
            error = await refused(provider.send(patient, MAIL, exchange))
            assert (error.kind, error.code) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE")
            assert not exchange.sent
            await provider.send(wire, MAIL, Exchange())
        assert len(server.received) == 1

    @pytest.mark.parametrize("fault", [DROP, HANG])
    async def test_after_the_final_dot_nobody_knows(self, wire: Wire, fault: str) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["DOT"] = [fault]
            exchange = Exchange()
            error = await refused(provider.send(replace(wire, total_timeout=0.4), MAIL, exchange))
            assert (error.kind, error.code) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST")
            assert exchange.sent
            assert stages(exchange)[-1] == ("ACCEPTED", False)
            words = "Interrupted, or out of time." if fault == HANG else error.message
            assert exchange.stages[-1].detail == words
        assert server.commands.count("DATA") == 1

    async def test_nobody_listens(self, wire: Wire) -> None:
        async with MailServer("none") as server:
            provider = Smtp.model_validate(settings(server))
        exchange = Exchange()
        error = await refused(provider.send(wire, MAIL, exchange))
        assert (error.kind, error.code) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE")
        assert stages(exchange) == [("RESOLVE", True), ("CONNECT", False)]

    async def test_the_next_address_of_a_name_is_tried(self, wire: Wire) -> None:
        # `localhost` is ::1 and 127.0.0.1 where there is IPv6; the server listens on one of them only.
        async with MailServer("none") as server, connected(server, smtpHost="localhost") as provider:
            await provider.send(wire, MAIL, Exchange())
        assert len(server.received) == 1

    async def test_a_name_that_does_not_resolve(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server, smtpHost="nowhere.invalid") as provider:
            exchange = Exchange()
            error = await refused(provider.send(wire, MAIL, exchange))
        assert (error.kind, error.code) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE")
        assert stages(exchange) == [("RESOLVE", False)]

    async def test_an_address_the_policy_refuses_is_never_dialled(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            guarded = replace(wire, egress=Egress(allow_private=False))
            exchange = Exchange()
            error = await refused(provider.send(guarded, MAIL, exchange))
            checks = await provider.verify(guarded)
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "ADDRESS_BLOCKED")
        assert stages(exchange) == [("RESOLVE", True), ("CONNECT", False)]
        assert checks[0].status is CheckStatus.ERROR
        assert server.connections == 0


class TestConnections:
    async def test_one_connection_carries_many_messages(self, wire: Wire, trust: Callable[[MailServer], None]) -> None:
        async with MailServer(credentials=CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            for n in range(5):
                exchange = Exchange()
                await provider.send(wire, replace(MAIL, id=f"msg_{n}"), exchange)
            assert (server.connections, server.logins, len(server.received)) == (1, 1, 5)
            assert [name for name, _ in stages(exchange)] == ["SUBMIT", "ACCEPTED"]
        assert server.commands[-1] == "QUIT"

    async def test_a_connection_is_left_after_its_share(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            for n in range(MOST_MAILS + 1):
                await provider.send(wire, replace(MAIL, id=f"msg_{n}"), Exchange())
            assert (server.connections, len(server.received)) == (2, MOST_MAILS + 1)

    async def test_an_idle_connection_is_left(self, wire: Wire) -> None:
        async with MailServer("none") as server:
            relay = Relay(Server(server.host, server.port, SmtpSecurity.NONE), idle_seconds=0.05)
            mail = Mail("noreply@example.com", "ada@example.org", b"Subject: x\r\n\r\nx\r\n")
            await relay.submit(wire, Exchange(), mail)
            assert server.open_connections == 1
            await until(lambda: server.open_connections == 0)
            await relay.submit(wire, Exchange(), mail)
            await relay.close()
        assert (server.connections, len(server.received), server.commands.count("QUIT")) == (2, 2, 2)

    async def test_a_refusal_keeps_the_connection(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["RCPT"] = ["550 5.1.1 unknown"]
            await refused(provider.send(wire, MAIL, Exchange()))
            await provider.send(wire, MAIL, Exchange())
            assert (server.connections, len(server.received)) == (1, 1)

    @pytest.mark.parametrize("fault", ["421 4.4.2 idle too long", DROP, HANG])
    async def test_a_kept_connection_found_dead_costs_no_message(self, wire: Wire, fault: str) -> None:
        brisk = replace(wire, connect_timeout=0.3)
        async with MailServer("none") as server, connected(server) as provider:
            await provider.send(brisk, MAIL, Exchange())
            server.faults["RSET"] = [fault]
            exchange = Exchange()
            await provider.send(brisk, MAIL, exchange)
            assert (server.connections, len(server.received)) == (2, 2)
            assert all(ok for _, ok in stages(exchange))

    async def test_a_restarted_server_costs_no_message(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            await asyncio.gather(*(provider.send(wire, replace(MAIL, id=f"a{n}"), Exchange()) for n in range(5)))
            server.drop_all()
            await asyncio.gather(*(provider.send(wire, replace(MAIL, id=f"b{n}"), Exchange()) for n in range(5)))
            assert len(server.received) == 10

    async def test_many_senders_at_once(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.pause = 0.02
            mails = [replace(MAIL, id=f"msg_{n}", to=f"user{n}@example.org") for n in range(100)]
            accepted = await asyncio.gather(*(provider.send(wire, mail, Exchange()) for mail in mails))
            assert server.busiest == server.connections == MOST_CONNECTIONS
        assert [one.provider_id for one in accepted] == [f"msg_{n}@example.com" for n in range(100)]
        pairs = {(received.recipient, received.message["Message-ID"]) for received in server.received}
        assert pairs == {(f"user{n}@example.org", f"<msg_{n}@example.com>") for n in range(100)}

    async def test_waiting_for_a_connection_counts_as_not_sent(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.pause = 0.5
            first = [asyncio.create_task(provider.send(wire, MAIL, Exchange())) for _ in range(MOST_CONNECTIONS)]
            await asyncio.sleep(0.2)
            error = await refused(provider.send(replace(wire, total_timeout=0.05), MAIL, Exchange()))
            await asyncio.gather(*first)
        assert (error.kind, error.code) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE")
        assert len(server.received) == MOST_CONNECTIONS

    async def test_cancelling_a_send_gives_its_connection_up(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["RCPT"] = [HANG]
            task = asyncio.create_task(provider.send(wire, MAIL, Exchange()))
            await until(lambda: "RCPT" in server.commands)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await provider.send(wire, MAIL, Exchange())
            assert (server.connections, len(server.received)) == (2, 1)

    async def test_closing_is_bounded_and_final(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            await provider.send(wire, MAIL, Exchange())
            server.faults["QUIT"] = [HANG]
            await asyncio.wait_for(provider.close(), 3)
            await provider.send(wire, MAIL, Exchange())
            await until(lambda: server.open_connections == 0)
        assert (server.connections, len(server.received)) == (2, 2)


class TestSecrets:
    async def test_they_are_in_no_record_and_no_repr(self, wire: Wire, trust: Callable[[MailServer], None]) -> None:
        _, password = CREDENTIALS
        spoken = base64.b64encode("\0".join(("", *CREDENTIALS)).encode()).decode()
        async with MailServer(credentials=CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            server.faults["AUTH"] = [f"535 5.7.8 {password} is wrong, so is {spoken}"]
            exchange = Exchange(provider.secrets(), MAIL.texts())
            error = await refused(provider.send(wire, MAIL, exchange))
            checks = await provider.verify(wire)
        assert error.provider_message == "5.7.8 **** is wrong, so is ****"
        seen = repr((provider, vars(error), exchange.record, exchange.stages, checks, provider.model_dump()))
        for secret in (password, spoken):
            assert secret not in seen
        assert password not in provider.model_dump_json()

    async def test_the_text_is_in_no_record(self, wire: Wire) -> None:
        mail = replace(MAIL, subject="Your code", body="It is 482913")
        async with MailServer("none") as server, connected(server) as provider:
            server.faults["DOT"] = ["554 5.7.1 we do not like: It is 482913"]
            exchange = Exchange(provider.secrets(), mail.texts())
            error = await refused(provider.send(wire, mail, exchange))
        assert "482913" not in repr((exchange.record, exchange.stages, vars(error)))
        assert exchange.record["envelope"]["to"] == "ada@example.org"
        assert exchange.record["messageId"] == "msg_1@example.com"


class TestVerifying:
    async def test_all_is_well_and_nothing_is_sent(self, wire: Wire, trust: Callable[[MailServer], None]) -> None:
        async with MailServer(credentials=CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            checks = await provider.verify(wire)
        assert [(check.name, check.status.value) for check in checks] == [
            ("connection", "OK"),
            ("tls", "OK"),
            ("authentication", "OK"),
            ("sender", "OK"),
        ]
        assert [assertion.name for check in checks for assertion in check.assertions] == [
            "dns",
            "tcp",
            "tls",
            "credentials",
            "sender",
        ]
        assert server.commands == ["EHLO", "STARTTLS", "EHLO", "AUTH", "NOOP", "MAIL", "RSET", "QUIT"]
        assert server.received == []

    @pytest.mark.parametrize(
        ("where", "fault", "expected"),
        [
            ("BANNER", "554 no", ["ERROR", "INDETERMINATE", "INDETERMINATE", "INDETERMINATE"]),
            ("STARTTLS", "502 no", ["OK", "ERROR", "INDETERMINATE", "INDETERMINATE"]),
            ("AUTH", "535 5.7.8 wrong", ["OK", "OK", "ERROR", "INDETERMINATE"]),
            ("AUTH", "454 4.7.0 later", ["OK", "OK", "INDETERMINATE", "INDETERMINATE"]),
            ("AUTH", HANG, ["OK", "OK", "INDETERMINATE", "INDETERMINATE"]),
            ("MAIL", "550 5.7.1 not yours", ["OK", "OK", "OK", "ERROR"]),
            ("NOOP", DROP, ["OK", "OK", "OK", "INDETERMINATE"]),
        ],
    )
    async def test_trouble_is_told_where_it_was(
        self, wire: Wire, trust: Callable[[MailServer], None], where: str, fault: str, expected: list[str]
    ) -> None:
        async with MailServer(credentials=CREDENTIALS) as server, connected(server) as provider:
            trust(server)
            server.faults[where] = [fault]
            checks = await provider.verify(replace(wire, total_timeout=0.5))
        assert [check.status.value for check in checks] == expected
        assert server.received == []

    async def test_an_unencrypted_server_on_this_machine_is_fine(self, wire: Wire) -> None:
        async with MailServer("none") as server, connected(server) as provider:
            checks = await provider.verify(wire)
        assert [check.status for check in checks] == [CheckStatus.OK] * 4

    async def test_an_international_sender_needs_a_server_that_takes_it(self, wire: Wire) -> None:
        statuses = []
        for international in (True, False):
            async with MailServer("none", international=international) as server:
                async with connected(server, fromAddress="jörg@example.com") as provider:
                    checks = await provider.verify(wire)
            statuses.append(checks[3].status.value)
        assert statuses == ["OK", "ERROR"]

    async def test_an_unencrypted_server_elsewhere_is_a_warning(self, wire: Wire) -> None:
        async with MailServer("none", host=_own_address()) as server, connected(server) as provider:
            checks = await provider.verify(wire)
        assert [check.status.value for check in checks] == ["OK", "WARNING", "OK", "OK"]


class TestConfiguration:
    BASE = {"smtp_host": "smtp.example.com", "from_address": "noreply@example.com"}

    def test_defaults_and_both_spellings(self) -> None:
        provider = Smtp.model_validate({"smtpHost": "smtp.example.com", "fromAddress": "NoReply@EXAMPLE.com"})
        assert (provider.smtp_port, provider.security) == (587, SmtpSecurity.STARTTLS)
        assert provider.identifier == "NoReply@example.com"
        assert provider.about.ref == "email-smtp:1"
        assert Smtp.model_validate(self.BASE).smtp_host == "smtp.example.com"

    @pytest.mark.parametrize(("port", "expected"), [(1, 1), (65535, 65535), ("587", 587), ("00465", 465)])
    def test_ports(self, port: int | str, expected: int) -> None:
        assert Smtp.model_validate({**self.BASE, "smtp_port": port}).smtp_port == expected

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("smtp_port", "587; DROP", "must be a whole number from 1 to 65535"),
            ("smtp_port", "५८७", "must be a whole number from 1 to 65535"),
            ("smtp_port", 587.5, "must be a whole number from 1 to 65535"),
            ("smtp_port", True, "must be a whole number from 1 to 65535"),
            ("smtp_port", None, "must be a whole number from 1 to 65535"),
            ("smtp_port", 0, "greater than or equal to 1"),
            ("smtp_port", 65536, "less than or equal to 65535"),
            ("smtp_host", "", "at least 1 character"),
            ("smtp_host", "https://smtp.example.com", "must be a host name"),
            ("smtp_host", "smtp.example.com:25", "must be a host name"),
            ("smtp_host", "smtp example", "must be a host name"),
            ("smtp_host", "smtp\r\nEHLO x", "must be a host name"),
            ("smtp_host", "x" * 70, "must be a host name"),
            ("from_address", "nobody", "must be an e-mail address"),
            ("from_address", "a@example.com\r\nBcc: b@example.com", "must be one line"),
            ("from_address", "A <a@example.com>", "must be an e-mail address"),
            ("from_name", "Me\r\nBcc: b@example.com", "must be one line"),
            ("from_name", "Me\u2028you", "must be one line"),
            ("reply_to", "a@example.com\nX: y", "must be one line"),
            ("reply_to", "nobody", "must be an e-mail address"),
            ("security", "OPPORTUNISTIC", "'STARTTLS', 'TLS' or 'NONE'"),
            ("unknown", "x", "not permitted"),
        ],
    )
    def test_refused(self, field: str, value: Any, reason: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Smtp.model_validate({**self.BASE, field: value})
        (error,) = caught.value.errors()
        assert error["loc"][0] in (field, "smtpPort", "smtpHost", "fromAddress", "fromName", "replyTo")
        assert reason in error["msg"]

    @pytest.mark.parametrize("half", [{"username": "me"}, {"password": "secret"}, {"username": "me", "password": ""}])
    def test_credentials_come_in_pairs(self, half: dict[str, str]) -> None:
        with pytest.raises(ValidationError, match="username and password are given together or not at all") as caught:
            Smtp.model_validate({**self.BASE, **half})
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("login", [{"username": "me\n", "password": "a\0b"}, {"username": "m\0e", "password": "ab"}])
    def test_credentials_are_one_line(self, login: dict[str, str]) -> None:
        with pytest.raises(ValidationError, match="must be one line without control characters"):
            Smtp.model_validate({**self.BASE, **login})

    def test_an_empty_optional_field_is_an_absent_one(self) -> None:
        empty = {"username": "", "password": "", "from_name": "", "reply_to": ""}
        assert Smtp.model_validate({**self.BASE, **empty}).model_dump() == Smtp.model_validate(self.BASE).model_dump()

    @pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "::1", "mail_1.internal", "xn--bcher-kva.example"])
    def test_hosts(self, host: str) -> None:
        assert Smtp.model_validate({**self.BASE, "smtp_host": host}).smtp_host == host

    def test_an_international_host_is_kept_in_ascii(self) -> None:
        assert Smtp.model_validate({**self.BASE, "smtp_host": "bücher.example"}).smtp_host == "xn--bcher-kva.example"


class TestContent:
    PROVIDER = Smtp.model_validate({"smtpHost": "smtp.example.com", "fromAddress": "noreply@example.com"})

    @pytest.mark.parametrize(
        ("to", "expected"),
        [(" Ada@EXAMPLE.org ", "Ada@example.org"), ("jörg@bücher.example", "jörg@bücher.example")],
    )
    def test_destination(self, to: str, expected: str) -> None:
        assert self.PROVIDER.destination(to) == expected

    @pytest.mark.parametrize(
        "to",
        [
            "",
            "ada",
            "ada@",
            "a b@example.org",
            "ada@example.org\r\nRCPT TO:<x@y.z>",
            "a@example.org,b@example.org",
            "+15551234",
        ],
    )
    def test_no_destination(self, to: str) -> None:
        with pytest.raises(ValueError, match="must be"):
            self.PROVIDER.destination(to)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"subject": None, "body": None}, "EMPTY_MESSAGE"),
            ({"subject": "", "body": ""}, "EMPTY_MESSAGE"),
            ({"media": (Media("https://example.com/a.png"),)}, "UNSUPPORTED_CONTENT"),
            ({"template": {"name": "welcome"}}, "UNSUPPORTED_CONTENT"),
            ({"subject": "Hi\r\nBcc: b@example.com"}, "INVALID_SUBJECT"),
            ({"subject": "Hi\nthere"}, "INVALID_SUBJECT"),
            ({"subject": "Hi\u0085there"}, "INVALID_SUBJECT"),
            ({"body": "half \ud83d"}, "INVALID_TEXT"),
            ({"html": "<p>\x00</p>"}, "INVALID_TEXT"),
            ({"sender": "+15551234"}, "INVALID_SENDER"),
            ({"sender": "a@example.com\nBcc: b@example.com"}, "INVALID_SENDER"),
        ],
    )
    def test_refused(self, changes: dict[str, Any], code: str) -> None:
        with pytest.raises(SendError) as caught:
            self.PROVIDER.check(replace(MAIL, **changes))
        assert (caught.value.kind, caught.value.code) == (FailureKind.CONTENT, code)

    @pytest.mark.parametrize(
        "changes", [{}, {"subject": None}, {"body": None}, {"body": None, "html": "<p>x</p>"}, {"sender": "b@example.com"}]
    )
    def test_carried(self, changes: dict[str, Any]) -> None:
        self.PROVIDER.check(replace(MAIL, **changes))

    def test_the_test_message_is_carried(self) -> None:
        self.PROVIDER.check(self.PROVIDER.test_message("ada@example.org", "msg_1"))


def _as_written(content: bytes, header: str) -> str:
    """A header decoded to the letter (RFC 2047); the parser of `email.policy.default` drops some spaces."""
    return str(make_header(decode_header(message_from_bytes(content)[header]))).strip()


def _own_address() -> str:
    """An address of this machine that is not a loopback one; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def test_stage_names_are_those_of_the_api() -> None:
    assert [name.value for name in StageName] == ["RESOLVE", "CONNECT", "TLS", "AUTH", "SUBMIT", "ACCEPTED"]
