"""A message as the submit_sm PDUs it becomes: encoding, parts, addresses and times (SMPP 3.4, §4.4 and §7.1)."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Outbound
from channels.choices import Choice
from channels.smpp_pdu import UDHI, SubmitSm, Tag
from channels.sms_text import TextEncoding, pack, pack_ucs2, unpacked

MOST_PARTS = 10
LONGEST_VALIDITY = 7 * 24 * 3600

_DEFAULT, _UCS2 = 0x00, 0x08
_RECEIPT = 1  # on success or failure


class SmppLongText(Choice):
    """How a text of several parts is sent through SMPP."""

    UDH = "UDH", "Each part begins with a user data header that says which it is."
    SAR = "SAR", "Tagged parameters say which part it is; the SMSC writes the header."
    PAYLOAD = "PAYLOAD", "In one message_payload, which the SMSC splits."


class SmppAlphabet(Choice):
    """What an SMSC takes data_coding 0 for."""

    GSM7 = "GSM7", "The GSM default alphabet, one septet in each octet."
    LATIN1 = "LATIN1", "ISO-8859-1; what it lacks is sent as UCS-2."


class SmppShortCode(Choice):
    """The type of number a short code has as the sender."""

    NETWORK = "NETWORK", "Network specific (3)."
    UNKNOWN = "UNKNOWN", "Unknown (0)."


@dataclass(frozen=True, slots=True)
class Form:
    """How a connector writes its messages."""

    sender: str
    long_text: SmppLongText
    alphabet: SmppAlphabet
    short_code: SmppShortCode
    wants_receipts: bool


def submissions(message: Outbound, form: Form, reference: int) -> list[SubmitSm]:
    """One PDU for each part; `reference` (0–255) tells the parts of this text from those of others."""
    coding, parts = parts_of(message.body or "", form.alphabet)
    if form.long_text is SmppLongText.PAYLOAD and len(parts) > 1:
        return [_submission(message, form, coding, b"", 0, {Tag.MESSAGE_PAYLOAD: b"".join(parts)})]
    if len(parts) == 1:
        return [_submission(message, form, coding, parts[0], 0, {})]
    if form.long_text is SmppLongText.SAR:
        return [
            _submission(message, form, coding, part, 0, _segment(reference, len(parts), number))
            for number, part in enumerate(parts, 1)
        ]
    return [
        _submission(message, form, coding, bytes([5, 0, 3, reference, len(parts), number]) + part, UDHI, {})
        for number, part in enumerate(parts, 1)
    ]


def parts_of(text: str, alphabet: SmppAlphabet) -> tuple[int, tuple[bytes, ...]]:
    """The data_coding and the octets of each part. Raises UnicodeEncodeError for unpaired surrogates."""
    packed = pack(text)
    if packed.encoding is TextEncoding.UCS2:
        return _UCS2, packed.parts
    if alphabet is SmppAlphabet.GSM7:
        return _DEFAULT, packed.parts
    try:
        return _DEFAULT, tuple(unpacked(part).encode("latin-1") for part in packed.parts)
    except UnicodeEncodeError:
        return _UCS2, pack_ucs2(text).parts


def address(text: str, short_code: SmppShortCode) -> tuple[int, int, str]:
    """Type of number, numbering plan and address: international digits, a short code, or a name."""
    digits = text.removeprefix("+")
    if not digits.isdecimal():
        return 5, 0, text
    if text.startswith("+") or len(digits) > 8:
        return 1, 1, digits
    return (3 if short_code is SmppShortCode.NETWORK else 0), 0, digits


def validity(seconds: int | None) -> str:
    """A relative time (§7.1.1.2); empty for the SMSC's own."""
    if seconds is None:
        return ""
    minutes, left = divmod(min(max(seconds, 1), LONGEST_VALIDITY), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"0000{days:02}{hours:02}{minutes:02}{left:02}000R"


def _segment(reference: int, total: int, number: int) -> dict[int, bytes]:
    return {
        Tag.SAR_MSG_REF_NUM: reference.to_bytes(2, "big"),
        Tag.SAR_TOTAL_SEGMENTS: bytes([total]),
        Tag.SAR_SEGMENT_SEQNUM: bytes([number]),
    }


def _submission(message: Outbound, form: Form, coding: int, octets: bytes, esm_class: int, tlvs: dict[int, bytes]) -> SubmitSm:
    source_ton, source_npi, source = address(message.sender or form.sender, form.short_code)
    ton, npi, destination = address(message.to, form.short_code)
    return SubmitSm(
        source_addr_ton=source_ton,
        source_addr_npi=source_npi,
        source_addr=source,
        dest_addr_ton=ton,
        dest_addr_npi=npi,
        destination_addr=destination,
        esm_class=esm_class,
        validity_period=validity(message.validity_seconds),
        registered_delivery=_RECEIPT if form.wants_receipts else 0,
        data_coding=coding,
        short_message=octets,
        tlvs=tlvs,
    )
