"""Messages to us that an SMSC delivers, whole or in parts (SMPP 3.4, §5.2.12; user data headers: 3GPP TS 23.040).

A part says in its header, or in the SAR parameters, of which message it is; whoever stores it joins it with the others.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from channels import parts
from channels.base import Inbound, Part
from channels.phone import e164
from channels.smpp_pdu import UDHI, DeliverSm, Tag
from channels.smpp_submission import SmppAlphabet
from channels.sms_text import SmsCoding, read

_SHORT_REFERENCE, _LONG_REFERENCE = 0x00, 0x08  # information elements
_UCS2, _DEFAULT = 0x08, 0x00


class Place(NamedTuple):
    """Which part of which message: `reference` is the sender's number for that, with what kind of number it is."""

    reference: tuple[int, int]
    total: int
    number: int


def heard(pdu: DeliverSm, alphabet: SmppAlphabet) -> Inbound:
    """A message to us, or a part of one. SMPP gives it no id: the same text from the same number within a minute is taken for a
    repetition."""
    at = dt.datetime.now(dt.UTC)
    said = f"{pdu.source_addr}:{pdu.destination_addr}:{at:%Y%m%d%H%M}".encode() + pdu.content
    return Inbound(
        event_id=hashlib.sha256(said).hexdigest(),
        sender=_number(pdu.source_addr, pdu.source_addr_ton),
        to=_number(pdu.destination_addr, pdu.dest_addr_ton),
        text=text_of(pdu, alphabet),
        occurred_at=at,
        part=_part(pdu, alphabet),
    )


def text_of(pdu: DeliverSm, alphabet: SmppAlphabet) -> str:
    """The text without its user data header."""
    return read(_split(pdu)[1], _coding(pdu, alphabet))


def _part(pdu: DeliverSm, alphabet: SmppAlphabet) -> Part | None:
    header, content = _split(pdu)
    place = next(_places(header), None) or _segment(pdu)
    if place is None:
        return None
    names = (pdu.source_addr_ton, pdu.source_addr, pdu.dest_addr_ton, pdu.destination_addr, *place.reference)
    return parts.part(names, place.number, place.total, content, _coding(pdu, alphabet))


def _split(pdu: DeliverSm) -> tuple[bytes, bytes]:
    """The user data header without its length, and the text's octets."""
    octets = pdu.content
    if not (pdu.esm_class & UDHI and octets):
        return b"", octets
    return octets[1 : 1 + octets[0]], octets[1 + octets[0] :]


def _places(header: bytes) -> Iterator[Place]:
    """Where a header says that it is a part."""
    while len(header) >= 2:
        kind, length = header[0], header[1]
        data, header = header[2 : 2 + length], header[2 + length :]
        if len(data) < length:
            return
        if kind == _SHORT_REFERENCE and length == 3:
            yield Place((kind, data[0]), data[1], data[2])
        elif kind == _LONG_REFERENCE and length == 4:
            yield Place((kind, int.from_bytes(data[:2], "big")), data[2], data[3])


def _segment(pdu: DeliverSm) -> Place | None:
    tags = (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)
    if not all(tag in pdu.tlvs for tag in tags):
        return None
    reference, total, number = (int.from_bytes(pdu.tlvs[tag], "big") for tag in tags)
    return Place((Tag.SAR_MSG_REF_NUM, reference), total, number)


def _coding(pdu: DeliverSm, alphabet: SmppAlphabet) -> SmsCoding:
    if pdu.data_coding == _UCS2:
        return SmsCoding.UCS2
    is_septets = pdu.data_coding == _DEFAULT and alphabet is SmppAlphabet.GSM7
    return SmsCoding.GSM7 if is_septets else SmsCoding.LATIN1


def _number(digits: str, ton: int) -> str:
    """As one would send to it; a short code or a name stays as it is."""
    try:
        return e164(f"+{digits.removeprefix('+')}") if ton in (0, 1) else digits
    except ValueError:
        return digits
