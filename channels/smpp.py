"""SMS through any SMSC that speaks SMPP 3.4: over a kept session, with receipts and messages to us on the same one.

Nothing deduplicates: a submit_sm whose answer is lost has an unknown outcome. A text of several parts is accepted when all of
them are; of one whose later part is refused, the recipient's telephone has only fragments, which it does not show.
"""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr, SecretStr, field_validator

from channels import contents, smpp_inbound, smpp_receipts
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    Outbound,
    Polled,
    Provider,
    Template,
)
from channels.checks import failed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.hosts import Host
from channels.phone import e164
from channels.smpp_codes import ALREADY_BOUND
from channels.smpp_pdu import DeliverSm, SubmitSm
from channels.smpp_receipts import Memory, Sent, SmppReceiptIds
from channels.smpp_session import Server, Session, SmppBind, SmppSecurity, asked_whether_alive, opened
from channels.smpp_submission import (
    MOST_PARTS,
    Form,
    SmppAlphabet,
    SmppLongText,
    SmppShortCode,
    parts_of,
    submissions,
)
from channels.wire import Wire

MAX_TEXT = 1530
LISTEN_SECONDS = 25.0
EARLY_SECONDS = 2.0

_SENDER = re.compile(r"\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9_&.-][A-Za-z0-9 _&+.-]{0,10}")
_CHECKS = {
    StageName.RESOLVE: ("dns", "The SMSC's name has an address."),
    StageName.CONNECT: ("tcp", "The SMSC accepts connections."),
    StageName.TLS: ("tls", "The connection is encrypted and the certificate is trusted."),
    StageName.AUTH: ("bind", "The SMSC accepts the system id and password."),
    StageName.SUBMIT: ("enquire_link", "The SMSC answers when it is asked."),
}


class Smpp(Provider):
    """One account at one SMSC."""

    about: ClassVar[Template] = Template(
        slug="sms-smpp",
        key="smpp",
        channel=ChannelType.SMS,
        provider="SMPP",
        title="SMS through SMPP",
        documentation_url="https://smpp.org/SMPP_v3_4_Issue1_2.pdf",
        sender="fromNumber",
        capabilities=Capabilities(inbound=True, delivery_receipts=True, max_text_length=MAX_TEXT),
    )

    host: Host = Field(title="Host", description="Name or IP address of the SMSC.", examples=["smpp.example.com"])
    port: int = Field(3550, title="Port", description="Usually 3550 for TLS, 2775 without.", examples=[3550], ge=1, le=65535)
    security: SmppSecurity = Field(
        SmppSecurity.TLS,
        title="Security",
        description="TLS, or NONE, which sends the password and all texts in the clear.",
        examples=["TLS"],
    )
    system_id: str = Field(
        title="System ID",
        description="The account's name at the SMSC.",
        examples=["acme"],
        pattern=r"^[!-~]{1,15}$",
    )
    password: SecretStr = Field(
        title="Password", description="The account's password.", examples=["s3cret"], min_length=1, max_length=64
    )
    system_type: str = Field(
        "", title="System type", description="Only if the operator names one.", examples=["SMPP"], pattern=r"^[ -~]{0,12}$"
    )
    from_number: str = Field(
        title="From",
        description="The sender when a message names none: a number, a short code, or a name of up to 11 characters.",
        examples=["AcmeInc"],
    )
    bind: SmppBind = Field(
        SmppBind.TRANSCEIVER,
        title="Bind",
        description="TRANSCEIVER, or TRANSMITTER where the operator allows no more: then no receipts come.",
        examples=["TRANSCEIVER"],
    )
    long_text: SmppLongText = Field(
        SmppLongText.UDH,
        title="Long texts",
        description="How a text that needs several parts is sent: UDH, SAR or PAYLOAD.",
        examples=["UDH"],
    )
    default_alphabet: SmppAlphabet = Field(
        SmppAlphabet.GSM7,
        title="Default alphabet",
        description="What the SMSC takes data_coding 0 for: GSM7 or LATIN1.",
        examples=["GSM7"],
    )
    short_code: SmppShortCode = Field(
        SmppShortCode.NETWORK,
        title="Short codes",
        description="The type of number of a sender that is a short code: NETWORK (3) or UNKNOWN (0).",
        examples=["NETWORK"],
    )
    receipt_ids: SmppReceiptIds = Field(
        SmppReceiptIds.SAME,
        title="Ids in receipts",
        description="How receipts spell a message's id: SAME as the answer to it, in HEX or in DECIMAL.",
        examples=["SAME"],
    )
    window: int = Field(
        10, title="Window", description="How many messages may wait for the SMSC's answer at once.", examples=[10], ge=1, le=500
    )

    _session: Session = PrivateAttr()
    _memory: Memory = PrivateAttr(default_factory=Memory)
    _reference: int = PrivateAttr(default_factory=lambda: random.randrange(256))

    @field_validator("password")
    @classmethod
    def _printable(cls, value: SecretStr) -> SecretStr:
        if not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
            raise ValueError("must be printable ASCII")
        return value

    @field_validator("from_number")
    @classmethod
    def _sender(cls, value: str) -> str:
        return _checked_sender(value)

    def model_post_init(self, _context: Any, /) -> None:
        self._session = Session(self._server, self._delivered)

    @property
    def identifier(self) -> str | None:
        return self.from_number

    @property
    def listens(self) -> bool:
        return self.bind is SmppBind.TRANSCEIVER

    def destination(self, to: str) -> str:
        return e164(to)

    def check(self, message: Outbound) -> None:
        contents.check_text_only(message, MAX_TEXT)
        if (count := len(parts_of(message.body or "", self.default_alphabet)[1])) > MOST_PARTS:
            raise contents.refusal(
                "TOO_MANY_SEGMENTS", f"The text needs {count} parts; this channel sends at most {MOST_PARTS}."
            )
        if message.sender is not None:
            try:
                _checked_sender(message.sender)
            except ValueError as error:
                raise contents.refusal("INVALID_SENDER", f"The sender {error}.") from None

    async def verify(self, wire: Wire) -> list[Check]:
        """Connect, bind, ask whether it lives, unbind."""
        exchange = Exchange(self.hidden)
        trouble = None
        try:
            link = await opened(self._server, wire, exchange, _refuse)
            try:
                await asked_whether_alive(link, exchange)
            finally:
                await link.leave()
        except SendError as error:
            trouble = error
        return self._checks(exchange, trouble)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        self._reference = (self._reference + 1) % 256
        pdus = submissions(message, self._form, self._reference)
        exchange.note("server", {"host": self.host, "port": self.port, "security": self.security.value})
        exchange.note("request", {"to": message.to, "from": message.sender or self.from_number, "parts": len(pdus)})
        sent = Sent(message.id, len(pdus))
        try:
            async with asyncio.timeout(wire.total_timeout):
                for pdu in pdus:
                    part_id = await self._hand_in(wire, exchange, pdu, bool(sent.states))
                    if part_id:
                        self._memory.add(sent, part_id)
        except (TimeoutError, SendError) as error:
            self._memory.forget(sent)
            trouble = _out_of_time(exchange) if isinstance(error, TimeoutError) else error
            exchange.note("error", trouble.message)
            raise trouble from None
        exchange.note("response", {"status": 0, "messageIds": list(sent.states)})
        return Accepted(sent.provider_id if sent.states else None, segments=len(pdus))

    async def poll(self, wire: Wire, cursor: str | None) -> Polled:
        """Keep the session, for what the SMSC has to deliver; that is stored as it comes."""
        link = await self._session.bound(wire, Exchange(self.hidden))
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await link.ended.wait()
        except TimeoutError:
            return Polled((), cursor or "")
        raise SendError(FailureKind.TRANSIENT, "SESSION_LOST", "The SMSC ended the session.")

    async def close(self) -> None:
        await self._session.close()

    @property
    def _server(self) -> Server:
        account = (self.system_id, self.password, self.system_type)
        return Server(self.host, self.port, self.security, *account, self.bind, self.window)

    @property
    def _form(self) -> Form:
        return Form(self.from_number, self.long_text, self.default_alphabet, self.short_code, self.listens)

    async def _hand_in(self, wire: Wire, exchange: Exchange, pdu: SubmitSm, is_begun: bool) -> str:
        """The id of a part. Of a text that is begun, a part that comes too soon is tried again: the others cannot be taken
        back."""
        while True:
            try:
                return (await self._session.submit(wire, exchange, pdu)).message_id
            except SendError as error:
                if not is_begun or error.kind is not FailureKind.THROTTLED:
                    raise
                await asyncio.sleep(error.retry_after or 0)

    async def _delivered(self, wire: Wire, pdu: DeliverSm) -> None:
        if not smpp_receipts.is_receipt(pdu):
            await wire.report(smpp_inbound.heard(pdu, self.default_alphabet))
            return
        receipt = smpp_receipts.read(pdu)
        if receipt is None:
            return
        if self._memory.find(receipt.message_id) is None:
            await self._session.settled(EARLY_SECONDS)  # it may have overtaken the answer to its message
        told = smpp_receipts.report(receipt, self._memory, self.receipt_ids)
        if told is not None:
            await wire.report(told)

    def _checks(self, exchange: Exchange, trouble: SendError | None) -> list[Check]:
        done = {stage.name: stage.ok for stage in exchange.stages}
        found = {name: _assertion(name, done.get(name), trouble) for name in _CHECKS}
        if self.security is SmppSecurity.NONE:
            found[StageName.TLS] = Assertion("tls", CheckStatus.WARNING, "The connection is not encrypted.")
        if exchange.provider_status == ALREADY_BOUND:
            text = "The account is known, and bound already: it may have no second session."
            found[StageName.AUTH] = Assertion("bind", CheckStatus.WARNING, text)
        return [
            Check("connection", "Connection", (found[StageName.RESOLVE], found[StageName.CONNECT])),
            Check("tls", "Encryption", (found[StageName.TLS],)),
            Check("bind", "Session", (found[StageName.AUTH], found[StageName.SUBMIT])),
        ]


def _checked_sender(value: str) -> str:
    if not _SENDER.fullmatch(value):
        raise ValueError("must be a number, a short code, or a name of up to 11 characters")
    return value


def _assertion(name: StageName, done: bool | None, trouble: SendError | None) -> Assertion:
    label, sentence = _CHECKS[name]
    if done:
        return Assertion(label, CheckStatus.OK, sentence)
    if done is None or trouble is None:
        return Assertion(label, CheckStatus.INDETERMINATE, "Not reached.")
    return failed(label, trouble)


def _out_of_time(exchange: Exchange) -> SendError:
    if exchange.sent:
        return SendError(
            FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", "The message was sent but the SMSC did not answer in time."
        )
    return SendError(FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE", "The SMSC did not answer in time.")


async def _refuse(_pdu: DeliverSm) -> None:
    raise ConnectionError("a check takes nothing")  # what was to be delivered comes again
