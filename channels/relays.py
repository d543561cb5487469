"""A mail server and the connections kept to it.

Dialling goes through the egress policy, TLS is never optional when it is asked for, and every trouble leaves here as a
`SendError`. A kept connection is probed with RSET before it is used again, so that one the server has dropped costs a
reconnect and not a message.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPResponse, SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol
from pydantic import SecretStr

from channels.dialling import bare, dialled, resolved
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.hosts import certified
from channels.replies import UNREADABLE, failure, readable
from channels.wire import Wire

MOST_CONNECTIONS = 20
MOST_MAILS = 100  # per connection; servers cut longer ones
IDLE_SECONDS = 60.0
QUIT_SECONDS = 1.0


class SmtpSecurity(StrEnum):
    """How the connection is encrypted."""

    STARTTLS = "STARTTLS"
    TLS = "TLS"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    security: SmtpSecurity
    username: str | None = None
    password: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """One rendered message to one recipient. `international`: an address needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipient: str
    content: bytes = field(repr=False)
    international: bool = False

    @property
    def encoding(self) -> str:
        return "utf-8" if self.international else "ascii"


class Link:
    """One greeted and authenticated connection, used by one transaction at a time."""

    def __init__(self, client: SMTP, local: bool) -> None:
        self._client = client
        self.local = local  # whether the other end is this machine
        self.mails = 0
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self._client.is_connected and self.mails < MOST_MAILS

    async def answers(self, seconds: float) -> bool:
        """Whether the server still listens; leaves no transaction open."""
        try:
            async with asyncio.timeout(seconds):
                await self._client.rset()
        except (OSError, SMTPException):
            return False
        return True

    async def probe(self, mail: Mail) -> None:
        """Ask whether the server would take mail from this sender, without sending any."""
        await self._client.noop()
        await self._begin(mail)
        await self._client.rset()

    async def offer(self, mail: Mail, exchange: Exchange) -> None:
        """Write the whole mail, up to and including the final dot."""
        self.mails += 1
        await self._begin(mail)
        await self._client.rcpt(mail.recipient, encoding=mail.encoding)
        go_ahead = await self._client.execute_command(b"DATA")
        if go_ahead.code != 354:
            raise SMTPDataError(go_ahead.code, go_ahead.message)
        exchange.sent = True
        self._protocol.write(_dotted(mail.content))

    async def outcome(self) -> SMTPResponse:
        """The reply to the final dot."""
        reply = await self._protocol.read_response()
        if not 200 <= reply.code < 300:
            raise SMTPDataError(reply.code, reply.message)
        return reply

    @property
    def _protocol(self) -> SMTPProtocol:
        # `SMTP.data` does not tell a connection lost before the go-ahead from one lost after the final dot.
        if self._client.protocol is None:
            raise ConnectionResetError("Connection lost")
        return self._client.protocol

    async def _begin(self, mail: Mail) -> None:
        await self._client.mail(mail.sender, options=self._options(mail), encoding=mail.encoding)

    def _options(self, mail: Mail) -> list[str]:
        offered = self._client.esmtp_extensions
        if mail.international and "smtputf8" not in offered:
            raise SendError(
                FailureKind.RECIPIENT, "UNSUPPORTED_ADDRESS", "The mail server takes no address with non-ASCII letters."
            )
        limit = offered.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < len(mail.content):
            raise SendError(FailureKind.CONTENT, "MESSAGE_TOO_LARGE", f"The mail server takes at most {limit} bytes.")
        size = [f"SIZE={len(mail.content)}"] if "size" in offered else []
        return size + (["SMTPUTF8"] if mail.international else [])

    def drop(self) -> None:
        """Close without a word."""
        self._client.close()

    def leave(self) -> None:
        """Say QUIT and close without waiting for the answer."""
        if self._client.is_connected:
            self._protocol.write(b"QUIT\r\n")
        self._client.close()

    async def quit(self) -> None:
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await self._client.quit()
        except (OSError, SMTPException):
            pass
        finally:
            self._client.close()


class Relay:
    """The connections to one server. Safe for concurrent use; at most MOST_CONNECTIONS transactions run at once."""

    def __init__(self, server: Server, idle_seconds: float = IDLE_SECONDS) -> None:
        self._server = server
        self._idle_seconds = idle_seconds
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)
        self._idle: list[Link] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def submit(self, wire: Wire, exchange: Exchange, mail: Mail) -> str:
        """Hand in one mail; the server's final words. Raises SendError."""
        async with self._lent(wire, exchange) as link:
            with step(exchange, StageName.SUBMIT):
                await link.offer(mail, exchange)
            with step(exchange, StageName.ACCEPTED):
                reply = await link.outcome()
        text = f"{reply.code} {readable(reply.message)}"
        exchange.provider_status = reply.code
        exchange.note("reply", text)
        return exchange.redact(text)

    async def open(self, wire: Wire, exchange: Exchange) -> Link:
        """A new connection, greeted, encrypted and authenticated as configured. Raises SendError."""
        with step(exchange, StageName.RESOLVE):
            infos = await resolved(self._server.host, self._server.port)
        implicit = self._server.security is SmtpSecurity.TLS
        context = await self._context() if self._server.security is not SmtpSecurity.NONE else None
        with step(exchange, StageName.CONNECT):
            sock = await dialled(wire, infos)
            local = ipaddress.ip_address(bare(sock.getpeername())).is_loopback
            client = SMTP(
                hostname=certified(self._server.host),
                sock=sock,
                local_hostname=_address_literal(sock),
                timeout=None,
                use_tls=implicit,
                start_tls=False,
                tls_context=context,
            )
            if not implicit:
                await _hello(client)
        with _closed_on_error(client):
            if context is not None:
                with step(exchange, StageName.TLS):
                    await (_hello(client) if implicit else _start_tls(client, context))
            if self._server.username is not None and self._server.password is not None:
                with step(exchange, StageName.AUTH):
                    _allow_login(context is not None or local)
                    await _log_in(client, self._server.username, self._server.password.get_secret_value())
        return Link(client, local)

    async def close(self) -> None:
        """Leave every idle connection; those in use are left when their transaction ends."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        links, self._idle = self._idle, []
        await asyncio.gather(*(link.quit() for link in links))

    @asynccontextmanager
    async def _lent(self, wire: Wire, exchange: Exchange) -> AsyncIterator[Link]:
        async with self._slots:
            link = await self._kept(wire.connect_timeout) or await self.open(wire, exchange)
            try:
                yield link
            except SendError as refused:
                self._keep(link) if refused.code != UNREADABLE else link.drop()
                raise
            except BaseException:
                link.drop()
                raise
            self._keep(link)

    async def _kept(self, seconds: float) -> Link | None:
        """The idle connection used last, if it still answers."""
        while self._idle:
            link = self._idle.pop()
            if not link.usable:
                continue
            try:
                if await link.answers(seconds):
                    return link
            except BaseException:
                link.drop()
                raise
            link.drop()
            return None
        return None

    def _keep(self, link: Link) -> None:
        if self._closed or not link.usable:
            link.leave()
            return
        loop = asyncio.get_running_loop()
        link.idle_since = loop.time()
        self._idle.append(link)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._idle_seconds, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._idle_seconds
        for link in self._idle:
            if link.idle_since <= oldest:
                link.leave()
        self._idle = [link for link in self._idle if link.idle_since > oldest]
        self._sweeper = loop.call_later(self._idle_seconds / 4, self._sweep) if self._idle else None

    async def _context(self) -> ssl.SSLContext:
        # Read once from the machine's trust store (or SSL_CERT_FILE): it takes milliseconds of file reading.
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


@contextmanager
def step(exchange: Exchange, name: StageName) -> Iterator[None]:
    """A stage whose troubles leave as SendError."""
    with exchange.stage(name):
        try:
            yield
        except (OSError, SMTPException) as error:
            if isinstance(error, SMTPResponseException):
                exchange.provider_status = error.code
                exchange.note("reply", f"{error.code} {readable(error.message)}")
            raise failure(error, exchange) from None


@contextmanager
def _closed_on_error(client: SMTP) -> Iterator[None]:
    try:
        yield
    except BaseException:
        client.close()
        raise


def _address_literal(sock: socket.socket) -> str:
    """The name we greet with (RFC 5321 §4.1.3): a lookup of our own name may take seconds and tell a container's id."""
    address = bare(sock.getsockname())
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


async def _hello(client: SMTP) -> None:
    await client.connect()
    with _closed_on_error(client):
        await client.ehlo()


async def _start_tls(client: SMTP, context: ssl.SSLContext) -> None:
    if not client.supports_extension("starttls"):
        raise SendError(FailureKind.CONFIGURATION, "STARTTLS_UNAVAILABLE", "The mail server does not offer STARTTLS.")
    await client.starttls(tls_context=context)
    await client.ehlo()


def _allow_login(private: bool) -> None:
    if not private:
        text = "Credentials are not sent over an unencrypted connection."
        raise SendError(FailureKind.CONFIGURATION, "TLS_REQUIRED", text)


async def _log_in(client: SMTP, username: str, password: str) -> None:
    methods = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    method = next((call for name, call in methods.items() if name in client.server_auth_methods), None)
    if method is None:
        raise SendError(
            FailureKind.CONFIGURATION, "AUTHENTICATION_UNSUPPORTED", "The mail server offers no way to log in we know."
        )
    await method(username, password)


def _dotted(content: bytes) -> bytes:
    """`content`, whose lines end in CRLF, as DATA carries it (RFC 5321 §4.5.2)."""
    return re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"
