"""The session kept with one SMSC: bound when it is first needed, bound again after it was lost, left when the provider closes.

After a failed bind the next one waits, longer each time: an SMSC that is away, or that refuses us, is not hammered. One that
asks to slow down is sent nothing for a while.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from channels.choices import Choice
from channels.dialling import dialled, resolved
from channels.egress import BlockedAddressError
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.hosts import certified
from channels.smpp_codes import INVALID_BIND, OK, THROTTLED, refusal
from channels.smpp_link import Deliver, Link, LinkLostError, Pace, RefusedError
from channels.smpp_pdu import BindTransceiver, BindTransmitter, DeliverSm, EnquireLink, SubmitSm, SubmitSmResp
from channels.wire import Wire


class SmppSecurity(Choice):
    """How the connection to the SMSC is encrypted."""

    TLS = "TLS", "TLS from the first byte, with a certificate that is trusted."
    NONE = "NONE", "Not at all: for a private line or a VPN."


class SmppBind(Choice):
    """What a session with the SMSC is for."""

    TRANSCEIVER = "TRANSCEIVER", "Messages go out; receipts and messages to you come in."
    TRANSMITTER = "TRANSMITTER", "Messages go out, nothing comes in."


@dataclass(frozen=True, slots=True)
class Server:
    """Where the SMSC is, and as whom we bind. `window` is the number of messages on their way at once."""

    host: str
    port: int
    security: SmppSecurity
    system_id: str
    password: SecretStr
    system_type: str
    bind: SmppBind
    window: int
    pace: Pace = field(default_factory=Pace)


class Session:
    """Safe for concurrent use. `deliver` gets what the SMSC delivers, with the wire of who opened the session."""

    def __init__(self, server: Server, deliver: Callable[[Wire, DeliverSm], Awaitable[None]]) -> None:
        self._server = server
        self._deliver = deliver
        self._opening = asyncio.Lock()
        self._link: Link | None = None
        self._closed = False
        self._trouble: SendError | None = None
        self._again = _Rest(server.pace)
        self._slower = _Rest(server.pace)

    async def submit(self, wire: Wire, exchange: Exchange, pdu: SubmitSm) -> SubmitSmResp:
        """Hand in one part. Raises SendError: not sent is TRANSIENT, sent without an answer UNKNOWN_OUTCOME."""
        if (seconds := self._slower.left) > 0:
            raise refusal(THROTTLED, seconds)
        link = await self.bound(wire, exchange)
        exchange.sent = False
        with exchange.stage(StageName.SUBMIT):
            answer = await self._asked(link, exchange, pdu)
        with exchange.stage(StageName.ACCEPTED):
            exchange.provider_status = answer if isinstance(answer, int) else OK
            if isinstance(answer, int):
                exchange.sent = False
                raise await self._refusal(link, answer)
        self._slower.over()
        return answer

    async def bound(self, wire: Wire, exchange: Exchange) -> Link:
        """The link, opened if there is none. Raises SendError; soon after a failure the same one again."""
        async with self._opening:
            if self._link is not None and self._link.alive:
                return self._link
            if self._closed:
                raise SendError(FailureKind.TRANSIENT, "SESSION_CLOSED", "The session with the SMSC was closed.")
            if self._trouble is not None and (seconds := self._again.left) > 0:
                raise _again_in(self._trouble, seconds)
            try:
                self._link = await opened(self._server, wire, exchange, lambda pdu: self._deliver(wire, pdu))
            except SendError as error:
                self._again.longer()
                self._trouble = error
                raise
            self._again.over()
            self._trouble = None
            return self._link

    async def settled(self, seconds: float) -> None:
        """Wait until what is under way now has its answers, at most so long."""
        if self._link is not None and self._link.outstanding:
            await asyncio.wait(self._link.outstanding, timeout=seconds)

    async def close(self) -> None:
        self._closed = True
        async with self._opening:
            if self._link is not None:
                await self._link.leave()

    async def _asked(self, link: Link, exchange: Exchange, pdu: SubmitSm) -> SubmitSmResp | int:
        """The answer, or the status that refuses."""

        def written() -> None:
            exchange.sent = True

        try:
            answer = await link.ask(pdu, written)
        except RefusedError as refused:
            return refused.status
        except LinkLostError as error:
            raise failure(error, exchange.sent) from None
        except ValueError as error:
            raise SendError(FailureKind.CONTENT, "NOT_ENCODABLE", f"The message does not fit into SMPP: {error}.") from None
        if not isinstance(answer, SubmitSmResp):
            raise failure(LinkLostError(), exchange.sent)
        return answer

    async def _refusal(self, link: Link, status: int) -> SendError:
        if status == INVALID_BIND:
            await link.drop()
        return refusal(status, self._slower.longer() if status == THROTTLED else None)


class _Rest:
    """A pause that doubles while the trouble lasts; in seconds."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._times = 0
        self._until = 0.0

    @property
    def left(self) -> float:
        return self._until - asyncio.get_running_loop().time() if self._times else 0.0

    def longer(self) -> float:
        """Begin anew, for longer than before; at the same time several may find the same trouble, which counts once."""
        if self.left <= 0:
            seconds = min(self._pace.longest_pause, self._pace.shortest_pause * 2.0 ** min(self._times, 30))
            self._times += 1
            self._until = asyncio.get_running_loop().time() + seconds * random.uniform(0.9, 1.1)
        return self.left

    def over(self) -> None:
        self._times = 0


async def opened(server: Server, wire: Wire, exchange: Exchange, deliver: Deliver) -> Link:
    """A new link, encrypted as configured and bound, within the wire's total timeout. Raises SendError."""
    try:
        async with asyncio.timeout(wire.total_timeout):
            link = await _connected(server, wire, exchange, deliver)
            try:
                with exchange.stage(StageName.AUTH):
                    await _bind(server, link, exchange)
            except BaseException:
                await link.drop()
                raise
            return link
    except OSError as error:
        raise failure(error, False) from None


async def asked_whether_alive(link: Link, exchange: Exchange) -> None:
    """enquire_link. Raises SendError."""
    try:
        with exchange.stage(StageName.SUBMIT):
            await link.ask(EnquireLink())
    except RefusedError as refused:
        raise refusal(refused.status) from None
    except LinkLostError as error:
        raise failure(error, False) from None


def failure(error: Exception, sent: bool) -> SendError:
    """The SendError for trouble with a connection."""
    if isinstance(error, BlockedAddressError):
        return SendError(FailureKind.CONFIGURATION, "ADDRESS_BLOCKED", "The SMSC's host is not at a public address.")
    if sent:
        return SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", "The message was sent but the SMSC's answer was lost.")
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"The SMSC's certificate is not trusted: {error.verify_message}."
        return SendError(FailureKind.CONFIGURATION, "TLS_CERTIFICATE_INVALID", text)
    if isinstance(error, ssl.SSLError):
        return SendError(FailureKind.TRANSIENT, "TLS_FAILED", "No secure connection to the SMSC.")
    what = "did not answer in time" if isinstance(error, TimeoutError) else "could not be reached"
    return SendError(FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", f"The SMSC {what} ({type(error).__name__}).")


async def _connected(server: Server, wire: Wire, exchange: Exchange, deliver: Deliver) -> Link:
    with exchange.stage(StageName.RESOLVE):
        infos = await resolved(server.host, server.port)
    with exchange.stage(StageName.CONNECT):
        sock = await dialled(wire, infos)
    try:
        if server.security is SmppSecurity.NONE:
            streams = await asyncio.open_connection(sock=sock)
        else:
            with exchange.stage(StageName.TLS):
                context = await asyncio.to_thread(ssl.create_default_context)
                streams = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=certified(server.host))
    except BaseException:
        sock.close()
        raise
    return Link(*streams, server.pace, server.window, deliver)


async def _bind(server: Server, link: Link, exchange: Exchange) -> None:
    kind = BindTransceiver if server.bind is SmppBind.TRANSCEIVER else BindTransmitter
    try:
        await link.ask(kind(server.system_id, server.password.get_secret_value(), server.system_type))
    except RefusedError as refused:
        exchange.provider_status = refused.status
        raise refusal(refused.status) from None


def _again_in(error: SendError, seconds: float) -> SendError:
    return SendError(
        error.kind,
        error.code,
        error.message,
        provider_code=error.provider_code,
        provider_message=error.provider_message,
        retry_after=seconds,
    )
