"""A mail server's settings: what is hidden, what a check finds, what is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from channels.base import CheckStatus
from channels.exchange import Exchange
from channels.relays import SmtpSecurity
from channels.smtp import Smtp
from channels.wire import Wire
from tests.channels.mailing import CREDENTIALS, MAIL, connected, own_address, refused
from tests.channels.mailing import trust as trust
from tests.channels.mailing import wire as wire
from tests.mail_server import DROP, HANG, MailServer


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
        async with MailServer("none", host=own_address()) as server, connected(server) as provider:
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
            ("smtp_host", "smtp\r\nEHLO x", "must be a host name"),
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
