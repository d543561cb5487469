"""Connections to a mail server: secured, lost, kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from channels.base import CheckStatus
from channels.egress import Egress
from channels.errors import FailureKind
from channels.exchange import Exchange
from channels.relays import MOST_CONNECTIONS, MOST_MAILS, Mail, Relay, Server, SmtpSecurity
from channels.smtp import Smtp
from channels.wire import Wire
from tests.channels.mailing import CREDENTIALS, MAIL, connected, refused, settings, stages, until
from tests.channels.mailing import trust as trust
from tests.channels.mailing import wire as wire
from tests.mail_server import DROP, HANG, MailServer


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
            patient = replace(wire, total_timeout=1.0 if fault == HANG else 10)
            error = await refused(provider.send(patient, MAIL, exchange))
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
