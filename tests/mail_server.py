"""A real mail server on loopback that records what it is given and misbehaves when it is told to.

    async with MailServer(credentials=("me", "secret")) as server:
        server.faults["RCPT"] = ["550 5.1.1 no such user"]     # once; then it behaves again
        server.faults["DOT"] = [DROP]                          # takes the message, answers nothing, hangs up

Faults stand for BANNER, DOT (after the final dot) and every command (EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, RSET, NOOP).
A client trusts the server when SSL_CERT_FILE names `server.certificate`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DROP = "drop the connection"
HANG = "say nothing"


@dataclass(frozen=True, slots=True)
class Received:
    """One message the server took."""

    sender: str
    recipient: str
    content: bytes
    options: tuple[str, ...]

    @property
    def message(self) -> EmailMessage:
        """The content parsed, with lines that end in \\n."""
        parsed = BytesParser(_class=EmailMessage, policy=default).parsebytes(self.content.replace(b"\r\n", b"\n"))
        assert isinstance(parsed, EmailMessage)
        return parsed


class MailServer:
    """`security` is "starttls", "tls" or "none"; with `credentials` a sender must log in first."""

    def __init__(
        self,
        security: str = "starttls",
        credentials: tuple[str, str] | None = None,
        international: bool = True,
        size_limit: int | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.security = security
        self.credentials = credentials
        self.international = international
        self.size_limit = size_limit
        self.host = host
        self.port = 0
        self.connections = 0
        self.logins = 0
        self.commands: list[str] = []
        self.received: list[Received] = []
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.pause = 0.0
        self.busiest = 0
        self._sessions: list[_Protocol] = []
        self._folder = tempfile.TemporaryDirectory()
        self.certificate = str(Path(self._folder.name) / "certificate.pem")

    async def __aenter__(self) -> Self:
        key = self._write_certificate()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        implicit = self.context if self.security == "tls" else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Protocol(self), self.host, 0, ssl=implicit)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop_all()
        await self._server.wait_closed()
        await asyncio.gather(*(session.ended() for session in self._sessions))
        self._folder.cleanup()

    @property
    def open_connections(self) -> int:
        return sum(session.transport is not None for session in self._sessions)

    def drop_all(self) -> None:
        """Cut every connection, as a restart of the server would."""
        for session in self._sessions:
            session.cut()

    def next_fault(self, where: str) -> str | None:
        return self.faults[where].pop(0) if self.faults[where] else None

    def joined(self, session: _Protocol) -> None:
        self.connections += 1
        self._sessions.append(session)
        self.busiest = max(self.busiest, self.open_connections)

    async def handle_DATA(self, server: _Protocol, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes) and envelope.mail_from is not None
        await asyncio.sleep(self.pause)
        fault = await server.suffer("DOT")
        if fault is not None:
            return fault
        options = tuple(envelope.mail_options)
        self.received += [Received(envelope.mail_from, to, envelope.content, options) for to in envelope.rcpt_tos]
        return f"250 2.0.0 queued as {len(self.received)}"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode())
        self.logins += given == self.credentials
        return AuthResult(success=given == self.credentials, handled=False)

    def _write_certificate(self) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        Path(self.certificate).write_bytes(_self_signed(key).public_bytes(serialization.Encoding.PEM))
        path = Path(self._folder.name) / "key.pem"
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(pem)
        return str(path)


class _Protocol(SMTP):
    """aiosmtpd's protocol with a gate before every command."""

    def __init__(self, owner: MailServer) -> None:
        super().__init__(
            owner,
            hostname="mail.test",
            data_size_limit=owner.size_limit,
            enable_SMTPUTF8=owner.international,
            tls_context=owner.context if owner.security == "starttls" else None,
            auth_require_tls=owner.security == "starttls",
            auth_exclude_mechanism=[] if owner.credentials else ["PLAIN", "LOGIN"],
            authenticator=owner.authenticate,
            loop=asyncio.get_running_loop(),
        )
        self._owner = owner
        self._smtp_methods = {name: self._gated(name, call) for name, call in self._smtp_methods.items()}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        is_new = self._original_transport is None
        super().connection_made(transport)
        if is_new:
            self._owner.joined(self)

    async def suffer(self, where: str) -> str | None:
        """The reply of the fault that is due, if it is one that talks."""
        fault = self._owner.next_fault(where)
        if fault == HANG:
            await asyncio.sleep(3600)
        if fault == DROP:
            self.cut()
            await asyncio.sleep(3600)
        return fault

    def cut(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def ended(self) -> None:
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
            await asyncio.wait([self._handler_coroutine])

    async def _handle_client(self) -> None:
        fault = await self.suffer("BANNER")
        if fault is None:
            await super()._handle_client()
            return
        await self.push(fault)
        self._writer.close()

    def _gated(self, name: str, call: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
        async def gate(argument: str) -> None:
            self._owner.commands.append(name)
            fault = await self.suffer(name)
            if fault is not None:
                await self.push(fault)
                if fault.startswith("421"):
                    self._writer.close()
            elif name == "MAIL" and self._owner.credentials and not (self.session and self.session.authenticated):
                await self.push("530 5.7.0 Authentication required")
            else:
                await call(argument)

        return gate


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    numbers = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    addresses = [*numbers, x509.DNSName("localhost")]
    public = key.public_key()
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, public, x509.random_serial_number(), now, now + dt.timedelta(days=1))
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(addresses), False),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
    ]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())
