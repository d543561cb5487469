"""E-mail through any SMTP server: submission with STARTTLS (587), implicit TLS (465) or, on trusted ground, no encryption.

SMTP tells no more than that the server took the message: SENT is the best final state. A `Message-ID` made of our message id
stays the same over all attempts, which lets people and bounce reports recognise a repeated message; no server deduplicates.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import re
from email.header import Header
from email.utils import format_datetime, quote
from functools import lru_cache
from typing import Any

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from channels import mime
from channels.addresses import UNPRINTABLE, one_line, parsed_address
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    Outbound,
    Provider,
    Template,
)
from channels.checks import failed
from channels.contents import refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.hosts import Host
from channels.relays import Mail, Relay, Server, SmtpSecurity, step
from channels.wire import Wire

_SHORT_SUBJECT = 66
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_CHECKS = {
    StageName.RESOLVE: ("dns", "The server's name has an address."),
    StageName.CONNECT: ("tcp", "The server accepts connections."),
    StageName.TLS: ("tls", "The connection is encrypted and the certificate is trusted."),
    StageName.AUTH: ("credentials", "The server accepts the username and password."),
    StageName.SUBMIT: ("sender", "The server takes mail from the sender address."),
}


class Smtp(Provider):
    """One mail server, one account, one sender address."""

    about = Template(
        slug="email-smtp",
        key="smtp",
        channel=ChannelType.EMAIL,
        provider="SMTP",
        title="E-mail through SMTP",
        documentation_url="https://www.rfc-editor.org/rfc/rfc6409",
        capabilities=Capabilities(text=True, subject=True),
    )

    smtp_host: Host = Field(
        title="SMTP host", description="Name or IP address of the mail server.", examples=["smtp.example.com"]
    )
    smtp_port: int = Field(
        587,
        title="SMTP port",
        description="587 for STARTTLS, 465 for TLS, 25 for a relay.",
        examples=[587],
        ge=1,
        le=65535,
    )
    username: str | None = Field(
        None,
        title="Username",
        description="Account at the mail server; given together with the password or not at all.",
        examples=["postmaster@example.com"],
        max_length=320,
    )
    password: SecretStr | None = Field(
        None, title="Password", description="Password or app password of the account.", max_length=1024
    )
    from_address: str = Field(
        title="From address",
        description="Address messages come from; bounces return to it.",
        examples=["no-reply@example.com"],
        max_length=320,
    )
    from_name: str | None = Field(
        None, title="From name", description="Name shown beside the address.", examples=["Example Ltd"], max_length=200
    )
    reply_to: str | None = Field(
        None, title="Reply-To", description="Address answers go to.", examples=["support@example.com"], max_length=320
    )
    security: SmtpSecurity = Field(
        SmtpSecurity.STARTTLS,
        title="Security",
        description="STARTTLS is required, not tried. NONE sends mail in clear text, and credentials to this machine only.",
        examples=["STARTTLS"],
    )

    _relay: Relay = PrivateAttr()

    @field_validator("username", "password", "from_name", "reply_to", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("smtp_port", mode="before")
    @classmethod
    def _whole_number(cls, value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 5:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError("must be a whole number from 1 to 65535")

    @field_validator("username", "from_address", "from_name", "reply_to")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return value and one_line(value)

    @field_validator("password")
    @classmethod
    def _one_line_secret(cls, value: SecretStr | None) -> SecretStr | None:
        return value and SecretStr(one_line(value.get_secret_value()))

    @field_validator("from_address", "reply_to")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return value and parsed_address(value).normalized

    @model_validator(mode="after")
    def _whole_credentials(self) -> Smtp:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password are given together or not at all")
        return self

    def model_post_init(self, _context: Any, /) -> None:
        self._relay = Relay(Server(self.smtp_host, self.smtp_port, self.security, self.username, self.password))

    @property
    def identifier(self) -> str:
        return self.from_address

    def secrets(self) -> tuple[str, ...]:
        """The password, and how it looks on the wire, should a server quote it."""
        plain = super().secrets()
        spoken = (*plain, *(f"\0{self.username}\0{secret}" for secret in plain))
        return plain + tuple(base64.b64encode(secret.encode()).decode() for secret in spoken)

    def destination(self, to: str) -> str:
        return parsed_address(one_line(to.strip())).normalized

    def check(self, message: Outbound) -> None:
        if message.media or message.template is not None:
            raise refusal("UNSUPPORTED_CONTENT", "E-mail through SMTP carries text and HTML, neither media nor templates.")
        if not message.texts():
            raise refusal("EMPTY_MESSAGE", "An e-mail needs a subject or a body.")
        if UNPRINTABLE.search(message.subject or ""):
            raise refusal("INVALID_SUBJECT", "The subject must be one line without control characters.")
        if any(_NO_TEXT.search(text) for text in message.texts()):
            raise refusal("INVALID_TEXT", "The message holds characters that are not text.")
        if message.sender is not None:
            _check_sender(message.sender)

    async def verify(self, wire: Wire) -> list[Check]:
        """Connect, encrypt, log in and offer the sender address; no message is begun."""
        exchange = Exchange(self.hidden)
        local, trouble = False, None
        try:
            async with asyncio.timeout(wire.total_timeout):
                local = await self._probe(wire, exchange)
        except SendError as error:
            trouble = error
        except TimeoutError:
            trouble = _out_of_time(exchange)
        return self._checks(exchange, trouble, local)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        message_id = f"{message.id}@{_envelope(self.from_address).rpartition('@')[2]}"
        mail = self._rendered(message, message_id)
        exchange.note("server", {"host": self.smtp_host, "port": self.smtp_port, "security": self.security.value})
        exchange.note("envelope", {"from": mail.sender, "to": mail.recipient, "size": len(mail.content)})
        exchange.note("messageId", message_id)
        try:
            async with asyncio.timeout(wire.total_timeout):
                reply = await self._relay.submit(wire, exchange, mail)
        except TimeoutError:
            exchange.note("error", "out of time")
            raise _out_of_time(exchange) from None
        except SendError as error:
            exchange.note("error", error.message)
            raise
        return Accepted(message_id, detail=reply)

    async def close(self) -> None:
        await self._relay.close()

    def _rendered(self, message: Outbound, message_id: str) -> Mail:
        sender, recipient = (_envelope(address) for address in (self.from_address, message.to))
        shown = _envelope(message.sender or self.from_address)
        international = not (sender + recipient + shown + (self.reply_to or "").partition("@")[0]).isascii()
        headers = [
            ("From", _shown(shown, self.from_name if shown == sender else None)),
            ("Subject", _encoded(message.subject or "")),
            ("To", recipient),
            *([("Reply-To", _envelope(self.reply_to))] if self.reply_to else []),
            ("Date", format_datetime(dt.datetime.now(dt.UTC))),
            ("Message-ID", f"<{message_id}>"),
            *_unsubscribing(message.unsubscribe_url),
        ]
        return Mail(sender, recipient, mime.rendered(headers, message.body, message.html), international)

    async def _probe(self, wire: Wire, exchange: Exchange) -> bool:
        """Whether the server that answered every question is on this machine."""
        sender = _envelope(self.from_address)
        link = await self._relay.open(wire, exchange)
        try:
            with step(exchange, StageName.SUBMIT):
                await link.probe(Mail(sender, sender, b"", not sender.isascii()))
            return link.local
        finally:
            await link.quit()

    def _checks(self, exchange: Exchange, trouble: SendError | None, local: bool) -> list[Check]:
        done = {stage.name: stage.ok for stage in exchange.stages}
        found = {name: _assertion(name, done.get(name), trouble) for name in _CHECKS}
        if self.security is SmtpSecurity.NONE:
            status = CheckStatus.OK if local else CheckStatus.WARNING
            found[StageName.TLS] = Assertion("tls", status, "The connection is not encrypted.")
        if self.username is None:
            found[StageName.AUTH] = Assertion("credentials", CheckStatus.OK, "The server is used without credentials.")
        return [
            Check("connection", "Connection", (found[StageName.RESOLVE], found[StageName.CONNECT])),
            Check("tls", "Encryption", (found[StageName.TLS],)),
            Check("authentication", "Authentication", (found[StageName.AUTH],)),
            Check("sender", "Sender address", (found[StageName.SUBMIT],)),
        ]


@lru_cache(maxsize=1024)
def _envelope(address: str) -> str:
    """The address with its domain in ASCII, as every server takes it."""
    parsed = parsed_address(address)
    return f"{parsed.local_part}@{parsed.ascii_domain}"


def _encoded(subject: str) -> str:
    """The Subject header's value, in RFC 2047 words unless it is plain and short."""
    if subject.isascii() and len(subject) <= _SHORT_SUBJECT and "=?" not in subject:
        return subject
    return Header(subject, "utf-8", header_name="Subject").encode()


def _shown(address: str, name: str | None) -> str:
    """The From header's value."""
    if not name:
        return address
    if name.isascii() and "=?" not in name:
        return f'"{quote(name)}" <{address}>'
    return f"{Header(name, 'utf-8', header_name='From').encode()} <{address}>"


def _unsubscribing(url: str | None) -> list[tuple[str, str]]:
    """What lets a mail program opt its reader out in one click, after RFC 8058."""
    return [("List-Unsubscribe", f"<{url}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")] if url else []


def _check_sender(sender: str) -> None:
    try:
        parsed_address(one_line(sender))
    except ValueError:
        raise refusal("INVALID_SENDER", "The sender is not an e-mail address.") from None


def _assertion(name: StageName, ok: bool | None, trouble: SendError | None) -> Assertion:
    label, good = _CHECKS[name]
    if ok:
        return Assertion(label, CheckStatus.OK, good)
    if ok is None or trouble is None:
        return Assertion(label, CheckStatus.INDETERMINATE, "Not reached, because an earlier step failed.")
    return failed(label, trouble)


def _out_of_time(exchange: Exchange) -> SendError:
    if exchange.sent:
        text = "The message was sent but the mail server did not answer in time."
        return SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", text)
    return SendError(FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", "The mail server did not answer in time.")
