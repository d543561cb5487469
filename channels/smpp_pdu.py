"""SMPP 3.4 on the wire: PDUs as values and the bytes they are, without any connection (SMPP Protocol Specification v3.4, §3–5).

A PDU is a header of four big-endian words, mandatory fields in order, and tagged optional ones. What comes from the other side
may be anything: it is read within its own bounds or refused with `MalformedError`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple, Self

RESPONSE = 0x80000000
LAST_SEQUENCE = 0x7FFFFFFF
HEADER = struct.Struct(">IIII")
LONGEST_PDU = 70_000  # a message_payload may hold 65,535 octets
LONGEST_SHORT_MESSAGE = 254
VERSION = 0x34
UDHI = 0x40  # in esm_class: the text begins with a user data header

_OCTET = -1  # one octet; any other size is that of a C-octet string with its NUL


class MalformedError(ValueError):
    """Bytes that are no PDU."""


class Tag(IntEnum):
    """Optional parameters (§5.3.2)."""

    RECEIPTED_MESSAGE_ID = 0x001E
    SAR_MSG_REF_NUM = 0x020C
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


class Header(NamedTuple):
    """`length` counts the header too."""

    length: int
    command: int
    status: int
    sequence: int

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises MalformedError for a length no PDU has."""
        header = cls(*HEADER.unpack(data))
        if not HEADER.size <= header.length <= LONGEST_PDU:
            raise MalformedError("the length is none of a PDU")
        return header


@dataclass(frozen=True, slots=True)
class Pdu:
    """Base of the PDUs we know; without fields of its own."""

    COMMAND: ClassVar[int]
    LAYOUT: ClassVar[tuple[tuple[str, int], ...]] = ()

    tlvs: Mapping[int, bytes] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class GenericNack(Pdu):
    COMMAND = RESPONSE


@dataclass(frozen=True, slots=True)
class EnquireLink(Pdu):
    COMMAND = 0x15


@dataclass(frozen=True, slots=True)
class EnquireLinkResp(Pdu):
    COMMAND = 0x15 | RESPONSE


@dataclass(frozen=True, slots=True)
class Unbind(Pdu):
    COMMAND = 0x06


@dataclass(frozen=True, slots=True)
class UnbindResp(Pdu):
    COMMAND = 0x06 | RESPONSE


@dataclass(frozen=True, slots=True)
class Bind(Pdu):
    """What the three kinds of bind have in common."""

    LAYOUT = (
        ("system_id", 16),
        ("password", 65),  # nine by the book; operators hand out longer ones
        ("system_type", 13),
        ("interface_version", _OCTET),
        ("addr_ton", _OCTET),
        ("addr_npi", _OCTET),
        ("address_range", 41),
    )

    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    interface_version: int = VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""


@dataclass(frozen=True, slots=True)
class BindTransmitter(Bind):
    COMMAND = 0x02


@dataclass(frozen=True, slots=True)
class BindTransceiver(Bind):
    COMMAND = 0x09


@dataclass(frozen=True, slots=True)
class BindResp(Pdu):
    LAYOUT = (("system_id", 16),)

    system_id: str = ""


@dataclass(frozen=True, slots=True)
class BindTransmitterResp(BindResp):
    COMMAND = 0x02 | RESPONSE


@dataclass(frozen=True, slots=True)
class BindTransceiverResp(BindResp):
    COMMAND = 0x09 | RESPONSE


@dataclass(frozen=True, slots=True)
class ShortMessage(Pdu):
    """What submit_sm and deliver_sm have in common."""

    LAYOUT = (
        ("service_type", 6),
        ("source_addr_ton", _OCTET),
        ("source_addr_npi", _OCTET),
        ("source_addr", 21),
        ("dest_addr_ton", _OCTET),
        ("dest_addr_npi", _OCTET),
        ("destination_addr", 21),
        ("esm_class", _OCTET),
        ("protocol_id", _OCTET),
        ("priority_flag", _OCTET),
        ("schedule_delivery_time", 17),
        ("validity_period", 17),
        ("registered_delivery", _OCTET),
        ("replace_if_present_flag", _OCTET),
        ("data_coding", _OCTET),
        ("sm_default_msg_id", _OCTET),
    )

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = field(default=b"", repr=False)

    @property
    def content(self) -> bytes:
        """The text's octets, wherever they are."""
        return self.short_message or self.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")


@dataclass(frozen=True, slots=True)
class SubmitSm(ShortMessage):
    COMMAND = 0x04


@dataclass(frozen=True, slots=True)
class SubmitSmResp(Pdu):
    COMMAND = 0x04 | RESPONSE
    LAYOUT = (("message_id", 65),)

    message_id: str = ""


@dataclass(frozen=True, slots=True)
class DeliverSm(ShortMessage):
    COMMAND = 0x05


@dataclass(frozen=True, slots=True)
class DeliverSmResp(Pdu):
    COMMAND = 0x05 | RESPONSE
    LAYOUT = (("message_id", 65),)

    message_id: str = ""


KNOWN: Mapping[int, type[Pdu]] = {
    kind.COMMAND: kind
    for kind in (
        GenericNack,
        EnquireLink,
        EnquireLinkResp,
        Unbind,
        UnbindResp,
        BindTransmitter,
        BindTransmitterResp,
        BindTransceiver,
        BindTransceiverResp,
        SubmitSm,
        SubmitSmResp,
        DeliverSm,
        DeliverSmResp,
    )
}


def encoded(pdu: Pdu, sequence: int, status: int = 0) -> bytes:
    """The whole PDU. Raises ValueError for a value its field cannot hold."""
    body = b"".join(_field(name, size, getattr(pdu, name)) for name, size in pdu.LAYOUT)
    if isinstance(pdu, ShortMessage):
        if len(pdu.short_message) > LONGEST_SHORT_MESSAGE:
            raise ValueError(f"short_message: longer than {LONGEST_SHORT_MESSAGE} octets")
        body += bytes([len(pdu.short_message)]) + pdu.short_message
    body += b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in pdu.tlvs.items())
    return HEADER.pack(HEADER.size + len(body), pdu.COMMAND, status, sequence) + body


def decoded(header: Header, body: bytes) -> Pdu | None:
    """The PDU these bytes are; None for a command we do not know. An answer may lack its body, as refusals do.
    Raises MalformedError."""
    kind = KNOWN.get(header.command)
    if kind is None:
        return None
    if not body and header.command & RESPONSE:
        return kind()
    reader = _Reader(body)
    values: dict[str, Any] = {name: reader.octet() if size == _OCTET else reader.text() for name, size in kind.LAYOUT}
    if issubclass(kind, ShortMessage):
        values["short_message"] = reader.take(reader.octet())
    return kind(**values, tlvs=reader.tlvs())


def _field(name: str, size: int, value: int | str) -> bytes:
    if isinstance(value, int):
        if not 0 <= value <= 0xFF:
            raise ValueError(f"{name}: not an octet")
        return bytes([value])
    octets = value.encode("latin-1")
    if len(octets) >= size or 0 in octets:
        raise ValueError(f"{name}: at most {size - 1} characters, none of them NUL")
    return octets + b"\0"


class _Reader:
    """Takes a body apart from front to back."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._body[self._at : self._at + count]
        if len(taken) < count:
            raise MalformedError("the PDU ends within a field")
        self._at += count
        return taken

    def octet(self) -> int:
        return self.take(1)[0]

    def text(self) -> str:
        end = self._body.find(b"\0", self._at)
        if end < 0:
            raise MalformedError("a text has no end")
        return self.take(end + 1 - self._at)[:-1].decode("latin-1")

    def tlvs(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        while self._at < len(self._body):
            tag, length = struct.unpack(">HH", self.take(4))
            found[tag] = self.take(length)
        return found
