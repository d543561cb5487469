"""Mail is handed to a real server on loopback, which is told how to misbehave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header
from typing import Any

import pytest

from channels.base import Accepted, DeliveryStatus, Media
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.smtp import Smtp
from channels.wire import Wire
from tests.channels.mailing import CREDENTIALS, MAIL, connected, own_address, refused, stages
from tests.channels.mailing import trust as trust
from tests.channels.mailing import wire as wire
from tests.mail_server import MailServer


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
        async with MailServer("none", CREDENTIALS, host=own_address()) as server, connected(server) as provider:
            error = await refused(provider.send(wire, MAIL, Exchange()))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_REQUIRED")
        assert server.commands == ["EHLO"]


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


def test_stage_names_are_those_of_the_api() -> None:
    assert [name.value for name in StageName] == ["RESOLVE", "CONNECT", "TLS", "AUTH", "SUBMIT", "ACCEPTED"]
